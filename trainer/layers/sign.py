# SPDX-License-Identifier: Apache-2.0
"""The binary activation. Stands behind batch norm in every network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from picobnn.trainer.estimators import sign_ste
from picobnn.trainer.layers.binary_weight import all_ones


class Sign(nn.Module):
    """``y = channel_mask[c] * sign(x)``, sign(0) = +1.

    ``channel_mask`` (C,) holds 1 for kept and 0 for removed channels: a removed channel is 0, which no later layer
    can tell from an absent one. Ask for its gradient (``requires_grad_``) to rank channels by sensitivity.

    Gradient: :func:`sign_ste`, times the mask.
    Shape: (N, C, ...) -> same shape and dtype, values -1, +1, and 0 in removed channels.
    Lowers to: a threshold per channel, together with the batch norm in front of it.
    Source: Courbariaux et al. (arXiv 1602.02830).
    """

    channel_mask: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("channel_mask", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = sign_ste(x)
        if all_ones(self.channel_mask):
            return y
        return y * self.channel_mask.to(y.dtype).view(1, -1, *([1] * (x.dim() - 2)))

    def extra_repr(self) -> str:
        return f"{self.channels}"
