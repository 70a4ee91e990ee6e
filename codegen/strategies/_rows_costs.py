# SPDX-License-Identifier: Apache-2.0
"""What one run of strategy ``rows`` visits and selects, on average and at worst. Used by ``rows.py`` and the
modules of its tables and bounds.

``_rows_bound.py`` has the bound on their cycles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program, Step
from picobnn.codegen.strategies._common import NO_POOL, IndexArray, input_density, is_pointwise, window_places
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
    """With bits that are set or clear each on its own, with the density that the program's statistics say: the set bits
    of a line (row of positions, or position of a dense layer) under its windows are then nearly normal, and the fewer
    kind of them selects."""
    shape, density = program.tensors[step.input].shape, input_density(step, program)
    if isinstance(step, BinaryConv2dStep) and not is_per_pixel(step, program):
        seen, window = seen_by(step, program), step.window
        inside = window_heights(step, program)
        kinds = [
            (rows, seen.row_taps * (rows if step.pad_mode is PadMode.ZERO else window.height), seen.columns)
            for rows in inside.tolist()
        ]
    else:
        lines = walk.positions
        kinds = [
            (1, walk.listed_pixels * shape.channels // lines, np.ones(walk.listed_pixels // lines, np.int64))
        ] * lines
    listed = outside = selected = 0.0
    known: dict[int, tuple[float, float, float]] = {}
    for rows, taps, columns in kinds:
        if rows not in known:
            known[rows] = _mean_line(rows, taps, columns, shape.channels, density)
        share, clear, chosen = known[rows]
        pixels = rows * int((columns > 0).sum()) * shape.channels
        listed += share * pixels
        outside += clear * (walk.all_listed * shape.channels / len(kinds) - pixels)
        selected += chosen
    return Selection(listed, outside if _padding_selects(step) else 0.0, selected)


def _mean_line(rows: int, taps: int, columns: IndexArray, channels: int, density: float) -> tuple[float, float, float]:
    """The share of the map's bits that select, the probability that clear bits do, and the rows selected."""
    inside = rows * channels * int(columns.sum())
    spread = math.sqrt(2.0 * density * (1.0 - density) * rows * channels * int((columns**2).sum()))
    above = density * inside - taps / 2.0
    clear = 0.5 * (1.0 + math.erf(above / spread)) if spread else float(above > 0)
    distance = (
        above * math.erf(above / spread) + spread * math.exp(-((above / spread) ** 2)) / math.sqrt(math.pi)
        if spread
        else abs(above)
    )
    selected = taps / 2.0 - distance
    share = (selected - clear * (taps - inside)) / inside if inside else 0.0
    return max(share, 0.0), clear, selected


def worst_selection(step: Step, program: Program, walk: Walk, mean: Selection) -> Selection:
    """Half of the taps that count, and of lists half or what the mean has: an estimate, for cores without bounds."""
    channels = program.tensors[step.input].shape.channels
    taps = walk.window_pixels if not _padding_selects(step) else walk.all_taps
    return Selection(max(0.5 * channels * walk.listed_pixels, mean.listed), mean.outside, 0.5 * channels * taps)


def _padding_selects(step: Step) -> bool:
    """With clear bits: padding of -1 does."""
    return isinstance(step, BinaryConv2dStep) and step.pad_mode is PadMode.MINUS_ONE


def window_heights(step: BinaryConv2dStep, program: Program) -> IndexArray:
    """Per row of positions that runs, the rows of the map under its windows."""
    shape, window = program.tensors[step.input].shape, step.window
    rows, _ = window.output_size(shape.height, shape.width)
    pool = step.pool.window if step.pool is not None else NO_POOL
    outputs = program.tensors[step.output].shape.height
    tops = window_places(outputs, pool.stride_y, pool.pad_top, pool.height, rows) * window.stride_y - window.pad_top
    inside: IndexArray = np.minimum(tops + window.height, shape.height) - np.maximum(tops, 0)
    return inside.clip(min=0)


def is_per_pixel(step: Step, program: Program) -> bool:
    """Whether every pixel of the map is the input of a dense layer."""
    return isinstance(step, BinaryConv2dStep) and is_pointwise(step, program) and not step.window.has_padding


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the windows of one row of positions hold. ``columns``: per column of the map, how many of them hold it;
    ``row_taps``: taps that count, per kernel row that counts."""

    columns: IndexArray
    row_taps: int


def seen_by(step: BinaryConv2dStep, program: Program) -> Seen:
    """Of the positions that a pool window covers, each once."""
    shape, window = program.tensors[step.input].shape, step.window
    _, width = window.output_size(shape.height, shape.width)
    pool = step.pool.window if step.pool is not None else NO_POOL
    outputs = program.tensors[step.output].shape.width
    covered = np.unique(window_places(outputs, pool.stride_x, pool.pad_left, pool.width, width))
    columns = np.bincount(
        window_places(covered, window.stride_x, window.pad_left, window.width, shape.width), minlength=shape.width
    )
    taps = int(columns.sum()) if step.pad_mode is PadMode.ZERO else covered.size * window.width
    return Seen(columns, shape.channels * taps)
