# SPDX-License-Identifier: Apache-2.0
"""Margin-energy pruning: keep the filters with which the network tells the right class from the next best.

EDropout (Salehinejad and Valaee, arXiv 2006.04270; TNNLS 2021) and EPruning (arXiv 2102.13188), as read in their code
(methods.md 2.4). Unlike ``ising`` it uses labels, and a generation costs one forward pass per state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from picobnn.trainer.fit import StepCallback
from picobnn.trainer.modes import probing
from picobnn.trainer.pruning.differential_evolution import Energy
from picobnn.trainer.pruning.filter_states import FilterStates, Keep
from picobnn.trainer.pruning.state_pruning import SearchSettings, StatePruning

MARGIN_SCALE = 10.0


class EDropout(StatePruning):
    """All filters take part (the release masks the second convolution of each block only). Without a goal nothing but
    the margin and the first states' density decides how many stay; with a quota every state of the search has its
    counts (inferred: this energy has no linear term to set)."""

    name: ClassVar[str] = "edropout"
    stays_valid: ClassVar[bool] = False

    def __init__(
        self,
        settings: SearchSettings | None = None,
        *,
        after_step: Sequence[StepCallback] = (),
    ) -> None:
        super().__init__(settings or SearchSettings(), after_step)

    def energy(
        self, model: nn.Module, states: FilterStates, images: Tensor, labels: Tensor, keep: Keep | None  # noqa: ARG002
    ) -> Energy:  # fmt: skip
        """-10 times the mean margin of the masked network on these images."""

        def score(population: Tensor) -> Tensor:
            energies = []
            with probing(model), torch.no_grad():
                for state in population:
                    states.write(state)
                    energies.append(margin_energy(model(images), labels))
            return torch.stack(energies)

        return score


def margin_energy(logits: Tensor, labels: Tensor) -> Tensor:
    """``-10 * mean(z_y - max over c != y of z_c)``, a float64 scalar. logits (N, classes), two classes or more."""
    values = logits.double()
    own = values.gather(1, labels[:, None])
    others = values.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True)
    return -MARGIN_SCALE * (own - others).mean()
