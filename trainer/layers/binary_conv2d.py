# SPDX-License-Identifier: Apache-2.0
"""Convolution of +-1 activations with +-1 weights. Used by every convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from picobnn.trainer.layers.binary_weight import BinaryWeightLayer, all_ones, exact_accumulator, full_precision
from picobnn.trainer.layers.pad_mode import PadMode


class BinaryConv2d(BinaryWeightLayer):
    """``acc = sum(x * sign(weight))`` over the window; outside the map x is -1, or 0 with ``PadMode.ZERO``.

    A bit has no zero, hence -1 padding. It costs no padded copy: ``acc = conv(x + 1, zero padding) - sum(sign(w))``,
    the second term being the convolution's bias. ``input_mask`` (I,) holds 1 for kept and 0 for removed input
    channels; a removed channel takes no part, its padding included, so that compaction may drop it without changing
    a sum.

    Gradient: to ``x`` that of a convolution, to ``weight`` through :func:`sign_ste`.
    Shape: (N, I, H, W) of -1, +1, and 0 in removed channels -> (N, O, Ho, Wo), Ho = (H + 2*padding - kernel)//stride
    + 1; integers of magnitude at most I * kernel**2, float32 in eval mode.
    Lowers to: the program's binary convolution (strategies ``xnor``, later ``planes`` and ``rows``).
    Source: Courbariaux et al. (arXiv 1602.02830).
    """

    input_mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        pad_mode: PadMode = PadMode.MINUS_ONE,
    ) -> None:
        super().__init__((out_channels, in_channels, kernel_size, kernel_size), largest_input=2)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.pad_mode = pad_mode
        self.register_buffer("input_mask", torch.ones(in_channels))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.binary_weight()
        if not all_ones(self.input_mask):
            weight = weight * self.input_mask.view(1, -1, 1, 1)
        if self.training:
            return self._convolve(x, weight)
        with full_precision(x):
            return exact_accumulator(self._convolve(x.float(), weight))

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.padding == 0 or self.pad_mode is PadMode.ZERO:
            return functional.conv2d(x, weight, stride=self.stride, padding=self.padding)
        bias = -weight.sum(dim=(1, 2, 3))
        return functional.conv2d(x + 1, weight, bias, stride=self.stride, padding=self.padding)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, pad_mode={self.pad_mode.value}"
        )
