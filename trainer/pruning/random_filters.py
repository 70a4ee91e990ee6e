# SPDX-License-Identifier: Apache-2.0
"""Remove filters at random: the control every other method must beat at equal counts per layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from picobnn.trainer.pruning.method import RankingMethod
from picobnn.trainer.pruning.structure import FilterGroup
from picobnn.trainer.pruning.training import Batches


class RandomFilters(RankingMethod):
    """Uniform scores from a generator of its own; the same seed and calls remove the same filters."""

    name: ClassVar[str] = "random"

    def __init__(self, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def scores(self, model: nn.Module, groups: Sequence[FilterGroup], batches: Batches) -> dict[str, Tensor]:  # noqa: ARG002
        return {group.name: torch.rand(group.filters, generator=self._generator) for group in groups}
