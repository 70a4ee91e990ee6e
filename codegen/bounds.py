# SPDX-License-Identifier: Apache-2.0
"""Which accumulator values a layer can reach, per output channel, over all inputs and all positions of its map.

Invariant: exact. At one position an accumulator runs over an arithmetic progression (stride 2 for bits, 1 for bytes);
positions differ only by which taps lie in the padding. Called by ``program.py`` (ranges) and by the pass
``canonical_thresholds``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.vocabulary import BitArray, PadMode, Window

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Values ``low, low + stride, ..., high`` per padding pattern and channel. low, high: int64 (P, O)."""

    low: Int64Array
    high: Int64Array
    stride: int

    def bounds(self) -> tuple[Int64Array, Int64Array]:
        """Least and greatest reachable value per channel, int64 (O,)."""
        return self.low.min(axis=0), self.high.max(axis=0)

    def next_reachable(self, values: npt.NDArray[np.integer]) -> Int64Array:
        """Per channel the least reachable value that is not below ``values`` (O,); above the greatest: one more
        than the greatest."""
        wanted = np.maximum(values.astype(np.int64), self.low)
        steps = -((self.low - wanted) // self.stride)
        found = self.low + steps * self.stride
        beyond = self.high.max(axis=0) + 1
        result: Int64Array = np.where(found > self.high, beyond, found).min(axis=0)
        return result


def reach_of_input_conv(weights: BitArray, window: Window, height: int, width: int, zero_point: int) -> Reach:
    """Image convolution: a pixel adds -zero_point to 255 - zero_point, or 0 where it lies in the padding."""
    ones, taps = _taps_inside(weights, window, height, width)
    clear = taps[:, None] - ones
    most = 255 - zero_point
    return Reach(-zero_point * ones - most * clear, most * ones + zero_point * clear, 1)


def reach_of_binary_conv(weights: BitArray, window: Window, height: int, width: int, pad_mode: PadMode) -> Reach:
    """Binary convolution: padding adds -w (``MINUS_ONE``) or nothing (``ZERO``)."""
    ones, taps = _taps_inside(weights, window, height, width)
    inside = taps[:, None]
    centre = np.zeros_like(ones)
    if pad_mode is PadMode.MINUS_ONE:
        all_ones = weights.sum(axis=(1, 2, 3), dtype=np.int64)
        outside_sum = 2 * (all_ones - ones) - (weights[0].size - inside)
        centre = -outside_sum
    return Reach(centre - inside, centre + inside, 2)


def reach_of_dense(weights: BitArray) -> Reach:
    """Dense layer: -K to K over K inputs."""
    extent = np.full((1, len(weights)), weights[0].size, np.int64)
    return Reach(-extent, extent, 2)


def _taps_inside(weights: BitArray, window: Window, height: int, width: int) -> tuple[Int64Array, Int64Array]:
    """Per padding pattern the set weight bits (P, O) and the number of taps (P,) that lie inside the map."""
    rows, columns = window.output_size(height, width)
    top, bottom = _spans(rows, window.stride_y, window.pad_top, window.height, height)
    left, right = _spans(columns, window.stride_x, window.pad_left, window.width, width)
    table = np.zeros((len(weights), window.height + 1, window.width + 1), np.int64)
    table[:, 1:, 1:] = weights.sum(axis=3, dtype=np.int64).cumsum(axis=1).cumsum(axis=2)
    low_y, high_y, low_x, high_x = top[:, None], bottom[:, None], left[None, :], right[None, :]
    ones = table[:, high_y, high_x] - table[:, low_y, high_x] - table[:, high_y, low_x] + table[:, low_y, low_x]
    taps = (high_y - low_y) * (high_x - low_x) * weights.shape[3]
    return ones.reshape(len(weights), -1).T, taps.reshape(-1)


def _spans(positions: int, stride: int, pad: int, size: int, extent: int) -> tuple[Int64Array, Int64Array]:
    """Distinct half-open ranges of taps inside the map, over all positions of one axis."""
    starts = np.arange(positions, dtype=np.int64) * stride - pad
    low = np.clip(-starts, 0, size)
    high = np.maximum(np.clip(extent - starts, 0, size), low)
    spans = np.unique(np.stack([low, high], axis=1), axis=0)
    return spans[:, 0], spans[:, 1]
