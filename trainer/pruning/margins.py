# SPDX-License-Identifier: Apache-2.0
"""What latent weights do in training: how far they are from their binary values, and how often they change sign.

Data for reports and benches; nothing here trains. Used by ``binary_l2.py`` and ``bench/methods.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from picobnn.trainer.fit import StepRecord
from picobnn.trainer.layers import BinaryWeightLayer
from picobnn.trainer.pruning.report import LayerMargins

BINS = 20
DECIDED = 0.9
"""A weight beyond this magnitude counts as decided (methods.md 4.5; inferred there)."""


@torch.no_grad()
def measure_margins(model: nn.Module, bins: int = BINS) -> tuple[LayerMargins, ...]:
    """The margins of every layer with binary weights, first and last included, in order of definition."""
    found = []
    for name, layer in model.named_modules():
        if isinstance(layer, BinaryWeightLayer):
            margins = 1 - layer.weight.detach().float().abs().cpu().flatten()
            counts = torch.histc(margins, bins, 0.0, 1.0).to(torch.int64)
            decided = float((margins < 1 - DECIDED).float().mean())
            found.append(LayerMargins(name, float(margins.mean()), decided, tuple(counts.tolist())))
    return tuple(found)


class SignFlips:
    """A step callback that counts, over all binary layers, the weights whose sign another step has changed.

    ``rates[i]``: flips in epoch ``i`` of the ``epochs`` that training has, over the number of weights.
    """

    def __init__(self, epochs: int) -> None:
        self.rates = [0.0] * epochs
        self._signs: list[Tensor] = []

    def __call__(self, model: nn.Module, place: StepRecord) -> None:
        signs = [layer.weight.detach() >= 0 for layer in model.modules() if isinstance(layer, BinaryWeightLayer)]
        if place.step:
            flips = sum(int((now != before).sum()) for now, before in zip(signs, self._signs, strict=True))
            epoch = place.step * len(self.rates) // place.steps
            self.rates[epoch] += flips / sum(each.numel() for each in signs)
        self._signs = signs
