# SPDX-License-Identifier: Apache-2.0
"""What inputs of ``rows`` and ``rows_mve`` cost by the exact counts of its parts, many inputs at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from picobnn.codegen.strategies._common import IndexArray
from picobnn.codegen.strategies._rows_counts import Adder, Line, Plan, list_counts, outside_counts, window_lists
from picobnn.codegen.vocabulary import BitArray

FloatArray = npt.NDArray[np.float64]


class Cycles:
    """What the parts that depend on the input cost, for inputs of so many bits per pixel as ``spread`` lays them."""

    def __init__(self, plan: Plan, adder: Adder, parts: Mapping[str, float], height: int) -> None:
        self.plan, self.parts = plan, parts
        self.holds = np.zeros((len(plan.lines), height), np.int64)
        for number, line in enumerate(plan.lines):
            self.holds[number, max(line.top, 0) : max(line.top, 0) + line.inside] = 1
        self.under = plan.columns[plan.on_map == 1]
        every = spread(np.arange(plan.channels + 1), plan.channels)
        self.listing = np.array(
            [[self._sum_of(list_counts(bits ^ clear, adder)) for bits in every[:, None]] for clear in (0, 1)]
        )
        self.outside = np.array([self._sum_of(outside_counts(plan, line)) for line in plan.lines])
        self.taps = np.array([line.taps for line in plan.lines])
        most = plan.segment_rows * plan.window_width // 8 + 3
        eights, odd, lists = np.meshgrid(np.arange(most), np.arange(3), (1, 2), indexing="ij")
        self.adding = np.zeros(eights.shape)
        for name, count in adder.counts(eights, odd, lists).items():
            self.adding += parts[name] * count

    def of(self, counts: IndexArray, is_clear: IndexArray) -> FloatArray:
        """Per input of ``counts`` (N, H, W): set bits, or clear ones where ``is_clear`` (N,)."""
        plan, is_clear = self.plan, is_clear[:, None]
        ones = (counts @ plan.seen.columns) @ self.holds.T
        inside = self.holds.sum(axis=1)[:, None]
        full = plan.channels * int(plan.seen.columns.sum()) * inside[:, 0]
        clear = 2 * np.where(is_clear, full - ones, ones) > self.taps
        in_columns = self.holds @ counts[:, :, self.under]
        in_columns = np.where(is_clear[..., None], inside * plan.channels - in_columns, in_columns)
        lengths = np.zeros((*clear.shape, plan.columns.size), np.int64)
        padded = np.array([padded_rows(plan, line, clear=True) for line in plan.lines])[:, None]
        turned = padded + inside * plan.channels - in_columns
        lengths[:, :, plan.on_map == 1] = np.where(clear[:, :, None], turned, in_columns)
        if not plan.pad_is_zero:
            lengths[:, :, plan.on_map == 0] = plan.segment_rows * clear[:, :, None]
        adding = self.of_lists(lengths.reshape(-1, plan.columns.size)).reshape(clear.shape)
        listed = [(each[counts[:, :, self.under]].sum(axis=2)) @ self.holds.T for each in self.listing]
        found = np.where(clear == is_clear, listed[0], listed[1]) + adding + clear * self.outside
        total: FloatArray = found.sum(axis=1)
        return total

    def of_lists(self, lengths: IndexArray) -> FloatArray:
        """What adding costs where the columns of lines list ``lengths`` (N, columns) rows."""
        turns, first, second = window_lists(self.plan, lengths)
        is_split = (second >= 0).astype(np.int64)
        eights, seconds = -(-first // 8), -(-second // 8)
        adding = self.adding[eights + seconds, eights % 2 + seconds % 2, is_split].sum(axis=1)
        found: FloatArray = adding + self.parts["wrap"] * turns + self.parts["split"] * is_split.sum(axis=1)
        return found

    def _sum_of(self, counts: Mapping[str, float]) -> float:
        return sum(self.parts[name] * count for name, count in counts.items())


def padded_rows(plan: Plan, line: Line, *, clear: bool) -> int:
    """Rows of padding above and below the map that each column of a line lists."""
    return 0 if plan.pad_is_zero or not clear else (line.above + line.below) * plan.channels


def spread(counts: IndexArray, channels: int) -> BitArray:
    """So many set bits per pixel: the lowest bit of every word first."""
    rank = np.argsort(np.argsort(np.arange(channels) % 32, kind="stable"), kind="stable")
    return (rank < counts[..., None]).astype(np.uint8)
