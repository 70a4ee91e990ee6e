# SPDX-License-Identifier: Apache-2.0
"""What all layers with binary weights share: the latent weight, its initial values, and exact accumulators.

Invariant: in eval mode a layer computes in float32, outside any autocast, and rounds to integers. Every partial sum
of its integer products is below 2**24 in magnitude, so the result is the exact integer accumulator whatever the
memory format, batch size or number of threads. Called by the layers beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.estimators import sign_ste
from picobnn.trainer.layers.filter_gate import FilterGate
from picobnn.trainer.layers.two_values import TwoValues

EXACT_LIMIT = 2**24  # float32 holds every integer up to here
INIT_RANGE = 0.05  # latent weights start uniform in +-INIT_RANGE; only learning rate / INIT_RANGE counts


class BinaryWeightLayer(nn.Module):
    """Base of the layers whose weights are the signs of a float ``weight`` (the latent weight); no bias.

    The fit loop clips latent weights to [-1, +1] after every optimizer step: outside, the estimator passes no
    gradient and a weight would never flip again. ``train_binarizer`` makes the signs in train mode; eval mode always
    takes those of the latent weights.
    """

    def __init__(self, weight_shape: tuple[int, ...], largest_input: int) -> None:
        super().__init__()
        if min(weight_shape) < 1:
            raise PicobnnError(
                ErrorId.BAD_INPUT,
                f"Weight shape {weight_shape} has an empty dimension.",
                where=type(self).__name__,
                remedy="Give every layer at least one channel and a kernel of at least 1x1.",
            )
        self._largest_sum = math.prod(weight_shape[1:]) * largest_input
        self._require_exact(self._largest_sum)
        self.values: TwoValues | None = None
        self.gate: FilterGate | None = None
        self.train_binarizer: Callable[[Tensor], Tensor] = sign_ste
        self.weight = nn.Parameter(torch.empty(weight_shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the latent weights uniform in +-INIT_RANGE from torch's global generator."""
        nn.init.uniform_(self.weight, -INIT_RANGE, INIT_RANGE)

    def learn_values(self, shift: int) -> None:
        """Let the weight bits stand for two learned values, on a grid of ``shift`` fractional bits; again: start over.

        Raises BAD_INPUT when float32 cannot hold the accumulators.
        """
        self._require_exact(self._largest_sum << shift)
        self.values = TwoValues(shift).to(self.weight.device)

    def binary_weight(self) -> Tensor:
        """The weights used: -1.0 or +1.0, or the two integers of ``values``, and 0 in filters that ``gate`` switches
        off; shape and dtype of ``weight``, with the straight-through gradient."""
        weights = self.train_binarizer(self.weight) if self.training else sign_ste(self.weight)
        if self.values is not None:
            weights = self.values(weights)
        return weights if self.gate is None else self.gate(weights)

    def _require_exact(self, bound: int) -> None:
        if bound >= EXACT_LIMIT:
            raise PicobnnError(
                ErrorId.BAD_INPUT,
                f"An accumulator can reach {bound}; float32 is exact only below {EXACT_LIMIT}.",
                where=type(self).__name__,
                remedy="Use fewer input channels, a smaller kernel or fewer fractional bits.",
            )


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context in which autocast is off on the device of ``x``."""
    return torch.autocast(x.device.type, enabled=False)


def exact_accumulator(acc: Tensor) -> Tensor:
    """Integers, as float32, from float sums that may be off by a rounding error far below one half."""
    return acc.round()


def all_ones(mask: Tensor) -> bool:
    """True when the mask removes nothing and nobody asks for its gradient, so that multiplying by it can be skipped."""
    return not mask.requires_grad and bool((mask == 1).all())
