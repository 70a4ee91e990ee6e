# SPDX-License-Identifier: Apache-2.0
"""Words shared by the graph (ir.py) and the program (program.py): shapes, windows, paddings, epilogues.

Tensors are H, W, C. A set bit is +1, a clear bit is -1. Accumulators are int32.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

BitArray = npt.NDArray[np.uint8]  # values 0 and 1
Int32Array = npt.NDArray[np.int32]


class ElementKind(Enum):
    """What one element of a tensor is."""

    UINT8 = "u8"
    BIT = "bit"
    INT32 = "i32"


class PadMode(Enum):
    """What a binary convolution sees outside the map. The input convolution always pads with its zero point."""

    MINUS_ONE = "minus_one"
    ZERO = "zero"


class PoolStage(Enum):
    """Where the max pool of a step sits: on accumulators before the threshold, or on bits after it.

    With ``c = (acc >= T)``: ``ACC`` is ``OR(c) xor flip``; ``BIT`` is ``max(c xor flip)``, that is OR where flip is
    clear and ``NOT AND(c)`` where it is set. Pool padding never wins.
    """

    ACC = "acc"
    BIT = "bit"


@dataclass(frozen=True, slots=True)
class Shape:
    """Height, width, channels; all positive."""

    height: int
    width: int
    channels: int

    @property
    def elements(self) -> int:
        return self.height * self.width * self.channels

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels}"


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window over height and width: size, stride and padding per side, in pixels."""

    height: int
    width: int
    stride_y: int = 1
    stride_x: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0

    @property
    def has_padding(self) -> bool:
        return bool(self.pad_top or self.pad_left or self.pad_bottom or self.pad_right)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Output height and width (floor mode); not positive when the window does not fit."""
        rows = (height + self.pad_top + self.pad_bottom - self.height) // self.stride_y + 1
        columns = (width + self.pad_left + self.pad_right - self.width) // self.stride_x + 1
        return rows, columns


@dataclass(frozen=True, slots=True)
class Pool:
    """A max pool that is part of a step."""

    window: Window
    stage: PoolStage


@dataclass(frozen=True, slots=True)
class WeightDomain:
    """The two values a stored weight bit stands for: ``acc = 2**shift * sum(x where u=1) + ratio * sum(x)``.

    Both sums run over the taps that are kept. A clear bit stands for ``ratio``, a set bit for ``2**shift + ratio``.
    """

    shift: int
    ratio: int

    @property
    def values(self) -> tuple[int, int]:
        """What a clear and a set bit stand for."""
        return self.ratio, 2**self.shift + self.ratio


PLUS_MINUS_ONE = WeightDomain(shift=1, ratio=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Threshold:
    """``bit = (acc >= thresholds[o]) xor flip[o]``. thresholds: int32 (O,); flip: uint8 0/1 (O,)."""

    thresholds: Int32Array
    flip: BitArray


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """``logit = acc * multiplier[o] + bias[o]``, int32. multiplier, bias: int32 (O,)."""

    multiplier: Int32Array
    bias: Int32Array


Epilogue = Threshold | Scale
