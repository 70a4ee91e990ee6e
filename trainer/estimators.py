# SPDX-License-Identifier: Apache-2.0
"""Binarizing functions with surrogate gradients, free of modules and parameters.

The forward values are exact: every result is -1 or +1, and sign(0) = +1 as everywhere in picobnn. Called by the
layers of ``trainer.layers``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# The window |x| <= 1 with both ends inside: the kernel below compares strictly, and no float32 or bfloat16 value
# lies between 1 and this bound.
_WINDOW = 1.0 + 2.0**-23


def hard_sign(x: Tensor) -> Tensor:
    """-1 where x < 0, else +1; same shape, dtype and memory format as ``x``, no gradient.

    One comparison written straight into the float result: ``torch.where`` costs twenty times as much on CPU.
    """
    return torch.ge(x, 0, out=torch.empty_like(x)).mul_(2).sub_(1)


class _SignSte(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return hard_sign(x.detach())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grad, x, -_WINDOW, _WINDOW)


def sign_ste(x: Tensor) -> Tensor:
    """Sign with the straight-through estimator.

    Forward: ``y = +1 if x >= 0 else -1``. Gradient: ``dx = dy`` where ``|x| <= 1``, else 0.
    Shape: any, kept; dtype float32 or bfloat16, kept.
    Source: Courbariaux et al., "Binarized Neural Networks" (arXiv 1602.02830).
    """
    result: Tensor = _SignSte.apply(x)
    return result


class _DrawnSignSte(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        chance = (x.detach() + 1) / 2  # a draw lies in [0, 1): it is below 1 always and never below 0
        return torch.lt(torch.rand_like(x), chance, out=torch.empty_like(x)).mul_(2).sub_(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grad, x, -_WINDOW, _WINDOW)


def drawn_sign_ste(x: Tensor) -> Tensor:
    """Sign drawn at random, with the straight-through estimator: +1 with the probability of the hard sigmoid.

    Forward: ``y = +1`` with ``p = clip((x + 1) / 2, 0, 1)``, else -1; drawn from torch's global generator.
    Gradient: ``dx = dy`` where ``|x| <= 1``, else 0.
    Shape: any, kept; dtype float32, kept.
    Source: Courbariaux et al., "BinaryConnect" (arXiv 1511.00363).
    """
    result: Tensor = _DrawnSignSte.apply(x)
    return result
