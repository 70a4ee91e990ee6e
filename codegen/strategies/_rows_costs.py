# SPDX-License-Identifier: Apache-2.0
"""What one run of strategy ``rows`` visits and selects, on average and at worst. Used by ``rows.py`` only.

Invariant: no input selects more than :func:`worst_selection`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program, Step
from picobnn.codegen.strategies._common import NO_POOL, IndexArray, input_density, window_places
from picobnn.codegen.vocabulary import PadMode

LIST_PADDING = 7
"""Entries at most that fill a list up to a multiple of 8."""


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """What one run visits. ``positions`` that the adder runs for; ``columns``: input columns of every row of positions,
    ``lists`` of those with pixels in them; ``listed``, ``windows``: per pixel of the map (H, W), how many lists and how
    many positions' windows hold it; ``all_listed``, ``all_taps``: pixels of lists and of windows, padding included;
    ``merged``: pooled pixels over all positions that they hold."""

    positions: int
    columns: int
    lists: int
    listed: IndexArray
    windows: IndexArray
    all_listed: int
    all_taps: int
    merged: int

    @property
    def listed_pixels(self) -> int:
        return int(self.listed.sum())

    @property
    def window_pixels(self) -> int:
        return int(self.windows.sum())


def walk_of(step: Step, program: Program) -> Walk:
    shape = program.tensors[step.input].shape
    if isinstance(step, BinaryDenseStep):
        pixels = shape.height * shape.width
        once = np.ones((shape.height, shape.width), np.int64)
        return Walk(1, 1, 1, once, once, pixels, pixels, 0)
    window, pool = step.window, step.pool.window if step.pool is not None else NO_POOL
    output = program.tensors[step.output].shape
    rows, columns = window.output_size(shape.height, shape.width)
    visited = window_places(output.height, pool.stride_y, pool.pad_top, pool.height, rows)
    pooled_columns = window_places(output.width, pool.stride_x, pool.pad_left, pool.width, columns)
    covered = np.unique(pooled_columns)
    row_taps = window_places(visited, window.stride_y, window.pad_top, window.height, shape.height)
    column_taps = window_places(covered, window.stride_x, window.pad_left, window.width, shape.width)
    under = np.unique(covered[:, None] * window.stride_x - window.pad_left + np.arange(window.width))
    on_map = under[(under >= 0) & (under < shape.width)]
    per_row = np.bincount(row_taps, minlength=shape.height)
    has_pixels = [
        len(window_places(visited[i : i + 1], window.stride_y, window.pad_top, window.height, shape.height)) > 0
        for i in range(len(visited))
    ]
    return Walk(
        positions=visited.size * covered.size,
        columns=visited.size * under.size,
        lists=sum(has_pixels) * on_map.size,
        listed=per_row[:, None] * np.bincount(on_map, minlength=shape.width),
        windows=per_row[:, None] * np.bincount(column_taps, minlength=shape.width),
        all_listed=visited.size * window.height * under.size,
        all_taps=visited.size * covered.size * window.height * window.width,
        merged=0 if step.pool is None else visited.size * pooled_columns.size,
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows that an input selects: ``listed`` by its bits and ``outside`` by padding, over all lists; ``selected`` over
    all positions."""

    listed: float
    outside: float
    selected: float


@dataclass(frozen=True, slots=True)
class Additions:
    """What the adder makes of a selection. ``padding``: entries that fill up the list of a position."""

    selection: Selection
    calls: int
    groups: int
    positions: int
    padding: float

    @property
    def added(self) -> float:
        return self.groups * (self.selection.selected + self.padding * self.positions)

    @property
    def carries(self) -> float:
        return self.calls * math.ceil(self.added / max(self.calls, 1) / 128)


def mean_selection(step: Step, program: Program, walk: Walk) -> Selection:
    """With the set bits that the program's statistics say, spread evenly."""
    shape, density = program.tensors[step.input].shape, input_density(step, program)
    clear = density * shape.elements > flip_above(step, program)
    share = (1.0 - density if clear else density) * shape.channels
    return _selection(step, program, walk, share * walk.listed_pixels, share * walk.window_pixels, clear=clear)


def worst_selection(step: Step, program: Program, walk: Walk) -> Selection:
    """The most that any input selects: as many bits as the choice between set and clear ones allows, where most windows
    hold them."""
    shape = program.tensors[step.input].shape
    bits, limit = shape.elements, flip_above(step, program)
    worst = [
        _selection(
            step,
            program,
            walk,
            _greatest(walk.listed, shape.channels, count),
            _greatest(walk.windows, shape.channels, count),
            clear=clear,
        )
        for clear, count in ((False, limit), (True, bits - limit))
    ]
    return Selection(
        max(each.listed for each in worst), max(each.outside for each in worst), max(each.selected for each in worst)
    )


def _selection(step: Step, program: Program, walk: Walk, listed: float, selected: float, *, clear: bool) -> Selection:
    """Padding of -1 is clear."""
    channels = program.tensors[step.input].shape.channels
    if not clear or not isinstance(step, BinaryConv2dStep) or step.pad_mode is PadMode.ZERO:
        return Selection(listed, 0.0, selected)
    outside = channels * (walk.all_taps - walk.window_pixels)
    return Selection(listed, channels * (walk.all_listed - walk.listed_pixels), selected + outside)


def _greatest(counts: IndexArray, channels: int, bits: int) -> float:
    """The greatest sum of the counts of ``bits`` bits, of which each pixel has ``channels``."""
    descending = np.sort(counts.reshape(-1))[::-1]
    whole, rest = divmod(bits, channels)
    return float(channels * descending[:whole].sum() + (rest * descending[whole] if rest else 0))


def flip_above(step: Step, program: Program) -> int:
    """Set bits of the map from which on the clear bits select fewer rows, those of a padding of -1 included.

    With the share p of the bits set, set bits select p * inside taps and clear ones (1 - p) * inside + outside.
    """
    bits = program.tensors[step.input].shape.elements
    if not isinstance(step, BinaryConv2dStep) or step.pad_mode is PadMode.ZERO:
        return bits // 2
    walk = walk_of(step, program)
    return min(bits, bits * walk.all_taps // max(2 * walk.window_pixels, 1))
