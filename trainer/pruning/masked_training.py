# SPDX-License-Identifier: Apache-2.0
"""Training through masks: only what the kept filters own learns, the rest waits as it is.

Called by ``state_pruning`` and ``random_state``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from picobnn.trainer.fit import StepRecord
from picobnn.trainer.models import Network
from picobnn.trainer.pruning.masks import spread_to_inputs
from picobnn.trainer.pruning.structure import FilterGroup
from picobnn.trainer.step import Objective


class MaskedTraining:
    """Objective and step callback for ``Training.fit`` under the masks that the network has at each step."""

    def __init__(self, groups: Sequence[FilterGroup], objective: Objective) -> None:
        self._groups = groups
        self._objective = objective
        self._rested = Rested(groups)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The objective of the masked network."""
        self._rested = Rested(self._groups)
        return self._objective(model, images, labels)

    def after_step(self, _model: Network, _place: StepRecord) -> None:
        self._rested.restore()


class Rested:
    """Keeps what a masked filter owns from moving in a step: its kernel, its scales and shifts, and the weights of its
    readers for it (methods.md 2.6: pruned ones survive and can return). The release multiplies gradients by the state;
    Adam also moves weights that have none, by its momentum, hence a copy that is put back."""

    def __init__(self, groups: Sequence[FilterGroup]) -> None:
        kept = {id(group.layer): group.kept() for group in groups}
        inputs = {id(reader): (group, reader) for group in groups for reader in group.readers}
        layers = {id(layer): layer for group in groups for layer in (group.layer, *group.readers)}
        moving: list[tuple[nn.Parameter, Tensor]] = []
        for key, layer in layers.items():
            mask = torch.ones_like(layer.weight, dtype=torch.bool)
            if key in kept:
                mask &= _along(kept[key], 0, mask)
            if key in inputs:
                group, reader = inputs[key]
                mask &= _along(spread_to_inputs(group, reader, kept[id(group.layer)]), 1, mask)
            moving.append((layer.weight, mask))
        for group in groups:
            for norm in group.norms:
                if norm.weight is not None:
                    moving += [(each, kept[id(group.layer)]) for each in (norm.weight, norm.bias)]
        self._saved = [(each, mask, each.detach().clone()) for each, mask in moving if not bool(mask.all())]

    @torch.no_grad()
    def restore(self) -> None:
        """After the optimizer step: put back what should have rested."""
        for parameter, mask, before in self._saved:
            parameter.copy_(torch.where(mask, parameter, before))


def _along(flags: Tensor, dim: int, like: Tensor) -> Tensor:
    return flags.view([-1 if axis == dim else 1 for axis in range(like.dim())])
