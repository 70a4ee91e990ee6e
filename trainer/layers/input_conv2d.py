# SPDX-License-Identifier: Apache-2.0
"""The first layer: 8-bit image in, binary weights, integer accumulator out. Used by every network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.layers.binary_weight import BinaryWeightLayer, exact_accumulator, full_precision


class InputConv2d(BinaryWeightLayer):
    """``acc = sum((q - zero_point) * sign(weight))`` over the window; outside the image ``q = zero_point``.

    Gradient: to ``weight`` through :func:`sign_ste`; the image gets none when it is uint8.
    Shape: (N, I, H, W) uint8, or float holding 0..255 -> (N, O, Ho, Wo), Ho = (H + 2*padding - kernel)//stride + 1;
    integers of magnitude at most 255 * I * kernel**2, float32 in eval mode.
    Lowers to: the program's input convolution (strategies ``direct`` and later ``subset``).
    Source: integer input layer of FINN (arXiv 1612.07119); bfloat16 holds q - zero_point exactly (|.| <= 255).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        zero_point: int = 128,
    ) -> None:
        super().__init__((out_channels, in_channels, kernel_size, kernel_size), largest_input=255)
        if not 0 <= zero_point <= 255:
            raise PicobnnError(
                ErrorId.BAD_INPUT,
                f"zero_point is {zero_point}.",
                where="InputConv2d",
                remedy="Choose a zero point from 0 to 255; 128 costs nothing on the device.",
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.zero_point = zero_point

    def forward(self, image: Tensor) -> Tensor:
        weight = self.binary_weight()
        if self.training:
            return self._convolve(image, weight)
        with full_precision(image):
            return exact_accumulator(self._convolve(image, weight))

    def _convolve(self, image: Tensor, weight: Tensor) -> Tensor:
        centred = image.to(torch.float32) - self.zero_point
        return functional.conv2d(centred, weight, stride=self.stride, padding=self.padding)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, zero_point={self.zero_point}"
        )
