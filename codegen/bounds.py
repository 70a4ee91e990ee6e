# SPDX-License-Identifier: Apache-2.0
"""Which accumulator values a layer can reach, per output channel, over all inputs and all positions of its map.

Invariant: least and greatest value are exact. At one position every value lies on an arithmetic progression: stride 1
for bytes, for bits twice the greatest common divisor of the weight values in use. With -1 and +1 every value of the
progression is reached; with two values of different size some may not be, and what is decided on the progression holds
for them too. Positions differ only by which taps lie in the padding. Called by ``program.py`` (ranges) and by the pass
``canonical_thresholds``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.vocabulary import BitArray, PadMode, WeightDomain, Window

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class WeightValues:
    """Weight bits (O, ...) with the taps that are kept (None: all) and what the bits stand for."""

    bits: BitArray
    kept: BitArray | None
    domain: WeightDomain


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Values ``low, low + stride, ..., high`` per padding pattern and channel. low, high, stride: int64 (P, O)."""

    low: Int64Array
    high: Int64Array
    stride: Int64Array

    def bounds(self) -> tuple[Int64Array, Int64Array]:
        """Least and greatest reachable value per channel, int64 (O,)."""
        return self.low.min(axis=0), self.high.max(axis=0)

    def next_reachable(self, values: npt.NDArray[np.integer]) -> Int64Array:
        """Per channel the least value of the progressions that is not below ``values`` (O,); above the greatest: one
        more than the greatest."""
        wanted = np.maximum(values.astype(np.int64), self.low)
        steps = -((self.low - wanted) // self.stride)
        found = self.low + steps * self.stride
        beyond = self.high.max(axis=0) + 1
        result: Int64Array = np.where(found > self.high, beyond, found).min(axis=0)
        return result


def reach_of_input_conv(weights: BitArray, window: Window, height: int, width: int, zero_point: int) -> Reach:
    """Image convolution: a pixel adds -zero_point to 255 - zero_point, or 0 where it lies in the padding."""
    ones = _sums_inside(weights, window, height, width)
    clear = _sums_inside(1 - weights, window, height, width)
    most = 255 - zero_point
    low, high = -zero_point * ones - most * clear, most * ones + zero_point * clear
    return Reach(low, high, np.ones_like(low))


def reach_of_binary_conv(values: WeightValues, window: Window, height: int, width: int, pad_mode: PadMode) -> Reach:
    """Binary convolution: padding adds -w (``MINUS_ONE``) or nothing (``ZERO``)."""
    clear, ones = (_sums_inside(bits, window, height, width) for bits in _kept_bits(values))
    centre = np.zeros_like(ones)
    if pad_mode is PadMode.MINUS_ONE:
        all_clear, all_ones = (bits.sum(axis=(1, 2, 3), dtype=np.int64) for bits in _kept_bits(values))
        clear_value, set_value = values.domain.values
        centre = -(clear_value * (all_clear - clear) + set_value * (all_ones - ones))
    return _reach_around(centre, clear, ones, values.domain)


def reach_of_dense(values: WeightValues) -> Reach:
    """Dense layer: no padding."""
    clear, ones = (bits.reshape(1, len(bits), -1).sum(axis=2, dtype=np.int64) for bits in _kept_bits(values))
    return _reach_around(np.zeros_like(ones), clear, ones, values.domain)


def _kept_bits(values: WeightValues) -> tuple[BitArray, BitArray]:
    """Kept taps whose weight bit is clear, and those whose bit is set."""
    kept = np.ones_like(values.bits) if values.kept is None else values.kept
    return kept - values.bits, values.bits


def _reach_around(centre: Int64Array, clear: Int64Array, ones: Int64Array, domain: WeightDomain) -> Reach:
    """Sums of ``clear`` and ``ones`` taps (P, O) with x -1 or +1, shifted by ``centre``."""
    sizes = np.abs(np.array(domain.values, np.int64))
    extent = sizes[0] * clear + sizes[1] * ones
    common = np.gcd(np.where(clear > 0, sizes[0], 0), np.where(ones > 0, sizes[1], 0))
    return Reach(centre - extent, centre + extent, 2 * np.maximum(common, 1))


def _sums_inside(bits: BitArray, window: Window, height: int, width: int) -> Int64Array:
    """Per padding pattern and filter the number of ones among the taps inside the map, int64 (P, O)."""
    rows, columns = window.output_size(height, width)
    top, bottom = _spans(rows, window.stride_y, window.pad_top, window.height, height)
    left, right = _spans(columns, window.stride_x, window.pad_left, window.width, width)
    table = np.zeros((len(bits), window.height + 1, window.width + 1), np.int64)
    table[:, 1:, 1:] = bits.sum(axis=3, dtype=np.int64).cumsum(axis=1).cumsum(axis=2)
    low_y, high_y, low_x, high_x = top[:, None], bottom[:, None], left[None, :], right[None, :]
    ones = table[:, high_y, high_x] - table[:, low_y, high_x] - table[:, high_y, low_x] + table[:, low_y, low_x]
    return ones.reshape(len(bits), -1).T


def _spans(positions: int, stride: int, pad: int, size: int, extent: int) -> tuple[Int64Array, Int64Array]:
    """Distinct half-open ranges of taps inside the map, over all positions of one axis."""
    starts = np.arange(positions, dtype=np.int64) * stride - pad
    low = np.clip(-starts, 0, size)
    high = np.maximum(np.clip(extent - starts, 0, size), low)
    spans = np.unique(np.stack([low, high], axis=1), axis=0)
    return spans[:, 0], spans[:, 1]
