# SPDX-License-Identifier: Apache-2.0
"""Rank filters by the scale of their latent weights: ``score[c] = mean |weight[c]|``.

After binarization this scale is all the magnitude a filter keeps; batch norm makes it invisible to the loss, so that
this is a baseline, not a good criterion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from picobnn.trainer.pruning.method import RankingMethod
from picobnn.trainer.pruning.structure import FilterGroup
from picobnn.trainer.pruning.training import Batches


class FilterScale(RankingMethod):
    """Mean absolute latent weight per filter."""

    name: ClassVar[str] = "scale"

    def scores(self, model: nn.Module, groups: Sequence[FilterGroup], batches: Batches) -> dict[str, Tensor]:  # noqa: ARG002
        return {group.name: group.layer.weight.detach().abs().flatten(1).mean(1).cpu() for group in groups}
