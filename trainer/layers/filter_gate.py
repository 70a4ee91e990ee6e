# SPDX-License-Identifier: Apache-2.0
"""One learned on/off switch per filter, on the weights. Put into binary layers while a pruning method trains it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class _GateSte(torch.autograd.Function):
    """1 where m > 0, else 0; the gradient is half the hard-tanh window's, open at |m| = 1."""

    @staticmethod
    def forward(ctx: Any, m: Tensor) -> Tensor:
        ctx.save_for_backward(m)
        return (m > 0).to(m.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (m,) = ctx.saved_tensors
        return 0.5 * grad * (m.abs() < 1)


class FilterGate(nn.Module):
    """Weights (O, ...) -> ``g[o] * weights[o]``, ``g = (1 + sign(m)) / 2``: m > 0 keeps a filter, m <= 0 deletes it.

    Gradient: ``dL/dm[o] = 1/2 * [|m[o]| < 1] * <dL/dweights_out[o], weights[o]>``; to the weights ``g[o]`` times it, so
    that a deleted filter's weights rest. A gate at 1 multiplies by 1.0: the network without gates, bit for bit.
    Shape: any with O in front, kept; values of ``weights`` or 0.
    Source: the subsidiary component of Xu et al. (CVPR 2019, arXiv 1812.04210), equations from the authors' release
    (methods.md 1.3). There the sign of 0 is 0; here m = 0 deletes.
    """

    pruning_method: ClassVar[str] = "gates"

    def __init__(self, m: Tensor) -> None:
        super().__init__()
        self.m = nn.Parameter(m.detach().clone())

    def forward(self, weights: Tensor) -> Tensor:
        gates: Tensor = _GateSte.apply(self.m)
        return weights * gates.view(-1, *([1] * (weights.dim() - 1)))

    def kept(self) -> Tensor:
        """Bool (O,): the filters whose gate is 1."""
        return self.m.detach() > 0

    def extra_repr(self) -> str:
        return f"{len(self.m)}"
