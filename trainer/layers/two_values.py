# SPDX-License-Identifier: Apache-2.0
"""The two values {alpha, beta} that a layer's weight bits stand for, learned. Used inside the binary layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError

MAX_SHIFT = 12
_LEAST_TAU = 1e-3  # keeps alpha below beta: with tau <= 0 ones and zeros would swap their meaning


class _RoundSte(torch.autograd.Function):
    """Round to the nearest integer, ties to even; the gradient passes."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.round()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:  # noqa: ARG004
        return grad


class TwoValues(nn.Module):
    """Signs of latent weights -> weights ``2**shift * (u + rho)``, u = 1 where the sign is +1, else 0.

    The layer's weights are ``tau * sign + phi``: alpha = phi - tau for u = 0, beta = phi + tau for u = 1, with two
    learned scalars per layer that start at tau = 1, phi = 0 (SBNN, arXiv 2306.13515; methods.md 3.3, from the authors'
    release). Batch norm takes out any scale, so the layer returns them divided by ``(beta - alpha) / 2**shift``: what
    is left is ``rho = alpha / (beta - alpha) = (phi - tau) / (2 * tau)``. rho is snapped to the grid of 1 / 2**shift
    in every forward pass, with the gradient of the unsnapped one, so that training and the integer program compute the
    same sums (kernels.md section 7; the release knows no grid: inferred). tau stays above 0 (the release does not
    ensure it).

    Gradient: to the signs times ``2**(shift - 1)``; to tau and phi by ordinary backprop through rho.
    Shape: any, kept; values are the two integers ``2**shift + ratio`` and ``ratio``.
    """

    shift: Tensor

    def __init__(self, shift: int) -> None:
        super().__init__()
        if not 1 <= shift <= MAX_SHIFT:
            raise PicobnnError(
                ErrorId.BAD_INPUT, f"{shift} fractional bits for the weight values.", where=type(self).__name__,
                remedy=f"Use 1 to {MAX_SHIFT}.",
            )  # fmt: skip
        self.tau = nn.Parameter(torch.tensor(1.0))
        self.phi = nn.Parameter(torch.tensor(0.0))
        self.register_buffer("shift", torch.tensor(shift))

    def forward(self, signs: Tensor) -> Tensor:
        half = 2.0 ** (int(self.shift) - 1)
        ratio: Tensor = _RoundSte.apply(self._rho() * 2 * half)
        return signs * half + (half + ratio).to(signs.dtype)

    def _rho(self) -> Tensor:
        tau = self.tau.clamp_min(_LEAST_TAU)
        return ((self.phi - tau) / (2 * tau)).clamp(-1.0, 1.0)

    @property
    def ratio(self) -> int:
        """r of ``acc = 2**shift * sum(x where u=1) + r * sum(x)``: from -2**shift to 2**shift."""
        return round(float(self._rho().detach()) * 2 ** int(self.shift))

    @torch.no_grad()
    def start_from(self, alpha: float, beta: float) -> None:
        """Set the two values, alpha < beta, as a closed form or another network gives them."""
        self.tau.fill_((beta - alpha) / 2)
        self.phi.fill_((beta + alpha) / 2)

    def extra_repr(self) -> str:
        return f"shift={int(self.shift)}, ratio={self.ratio}"


def best_two_values(weights: Tensor, ones: int | None = None) -> tuple[float, float]:
    """alpha < beta of least squared error to ``weights``, by the closed form of methods.md 3.3 (derived there).

    With the weights sorted, the largest ``ones`` of them become beta = their mean, the others alpha = theirs; without
    ``ones`` the split with the largest ``p (1 - p) (beta - alpha)**2`` is taken. BAD_INPUT for fewer than two different
    weights or for ``ones`` outside 1 to n - 1.
    """
    values = weights.detach().double().flatten().sort().values
    count = len(values)
    if count < 2 or values[0] == values[-1] or (ones is not None and not 1 <= ones < count):
        raise PicobnnError(
            ErrorId.BAD_INPUT, f"{count} weights cannot be split into two values with {ones} ones.",
            where="two weight values", remedy="Give at least two different weights and 1 to n - 1 ones.",
        )  # fmt: skip
    below = values.cumsum(0)[:-1]
    zeros = torch.arange(1, count, dtype=torch.float64)
    alphas, betas = below / zeros, (values.sum() - below) / (count - zeros)
    gains = zeros * (count - zeros) * (betas - alphas).square()
    split = int(gains.argmax()) if ones is None else count - ones - 1
    return float(alphas[split]), float(betas[split])


def fractional_bits(share_of_ones: float) -> int:
    """Bits of rho's grid for an expected share of ones: rho of zero-mean weights is minus the share, and the grid needs
    a step at or below it."""
    return min(MAX_SHIFT, max(1, math.ceil(-math.log2(share_of_ones) - 1e-9)))
