# SPDX-License-Identifier: Apache-2.0
"""Sizes, weight rows, border positions and starts of the counters of strategy ``rows``. Used by ``rows.py``,
``rows_mve.py`` and ``_rows_counts.py``.

Invariant: starts are those of ``picobnn_rows.h``, of any two weight values included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picobnn.codegen.pack import WordArray, pack_words
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.strategies._common import IndexArray, fan_in, inside_taps, thresholds_within
from picobnn.codegen.strategies._interface import Table
from picobnn.codegen.strategies._rows_costs import LIST_PADDING, is_per_pixel, seen_by
from picobnn.codegen.vocabulary import BitArray, PadMode, Scale, WeightDomain

MIN_PLANES = 9
LANES = 32


@dataclass(frozen=True, slots=True)
class Phases:
    """How the number of selected rows, s, enters a count: ``ratio * s`` is ``2**fraction`` times the addend plus the
    phase, and each phase has starts of its own. ``ratio`` is odd, or 0, or ``fraction`` is 0."""

    ratio: int
    fraction: int

    @property
    def count(self) -> int:
        return 1 << self.fraction

    @property
    def is_plain(self) -> bool:
        """The addend is minus the number of selected rows, as with -1 and +1: nothing is to do for it."""
        return self.ratio == -1 and self.fraction == 0


def phases_of(domain: WeightDomain) -> Phases:
    """A row weighs 2**shift and enters a count at bit 1, so that shift - 1 bits of ``ratio * s`` are below the count;
    those which are always 0 need no phases."""
    if domain.shift == 0:
        return Phases(2 * domain.ratio, 0)
    below = domain.shift - 1
    zeros = below if domain.ratio == 0 else min(below, (domain.ratio & -domain.ratio).bit_length() - 1)
    return Phases(domain.ratio >> zeros, below - zeros)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Fields of ``picobnn_rows_filters``."""

    groups: int
    reach: int
    planes: int
    segments: int
    segment_rows: int
    carry_words: int
    list_words: int


def sizes_of(step: Step) -> Sizes:
    """Of an accepted step."""
    taps, reach = fan_in(step), count_reach(step)
    segments = 1 if isinstance(step, BinaryDenseStep) else step.weights.shape[2]
    rows = taps // segments
    # A dense layer has one list. A convolution keeps segments - 1 lists and adds one; a list that may not fit behind
    # the last starts at the front again, which wastes less than one list.
    lists = 1 if isinstance(step, BinaryDenseStep) else segments + 1
    return Sizes(
        groups=(len(step.weights) + LANES - 1) // LANES,
        reach=reach,
        planes=max(MIN_PLANES, 1 + reach.bit_length()),  # the least p with 2**(p - 1) > reach
        segments=segments,
        segment_rows=rows,
        # One carry per 16 rows and one per rest of 8, of two lists; on v6-M one of the low planes, 0 to 3 zero words.
        carry_words=_round_up((taps + 15) // 16 + 5, 4),
        list_words=lists * rows + 3 * LIST_PADDING,
    )


def count_reach(step: Step) -> int:
    """The least n that final counts, which lie in -(n + 1) to n, need; the weights of a filter for -1 and +1.

    A count is ``floor((acc - T) / 2**shift)``, or its double for shift 0, with T in -B to B + 1 and ``abs(acc) <= B``.
    In lanes behind the last channel it is as far from the end as what the selected rows add to all lanes.
    """
    assert not isinstance(step, InputConv2dStep)
    domain, phases = step.domain, phases_of(step.domain)
    reach = 2 * _sum_reach(step) >> domain.shift
    if len(step.weights) % LANES:
        reach = max(reach, -(-abs(phases.ratio) * fan_in(step) // phases.count))
    return reach


def _sum_reach(step: BinaryConv2dStep | BinaryDenseStep) -> int:
    """No accumulator of any filter is larger."""
    clear, set_ = (abs(value) for value in step.domain.values)
    ones = step.weights.reshape(len(step.weights), -1).sum(axis=1, dtype=np.int64)
    return int((ones * set_ + (fan_in(step) - ones) * clear).max())


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def weight_rows(step: Step) -> WordArray:
    """uint32 (groups, segments, segment_rows + 1): rows of a kernel column in the order (ky, channel), then zeros."""
    weights = step.weights.reshape(len(step.weights), 1, 1, -1)
    if not isinstance(step, BinaryDenseStep):
        weights = step.weights.transpose(0, 2, 1, 3)
    lanes = weights.reshape(len(weights), weights.shape[1], -1)
    rows = pack_words(np.moveaxis(lanes, 0, -1))  # (segments, segment_rows, groups)
    return np.moveaxis(np.pad(rows, ((0, 0), (0, 1), (0, 0))), -1, 0).copy()


def head_words(step: BinaryConv2dStep | BinaryDenseStep) -> WordArray:
    """What stands in front of the rows: nothing where plain, else ratio and fraction."""
    phases = phases_of(step.domain)
    return np.array([] if phases.is_plain else [phases.ratio % 2**32, phases.fraction], np.uint32)


def starts_of(step: BinaryConv2dStep | BinaryDenseStep, counts: BitArray) -> WordArray:
    """Starts of the counters, uint32 (2, phases, groups, planes); ``counts`` (ky, kx, I) is 1 for the taps that count.

    Set bits select: -H with H = ceil((T + 2**shift * U + ratio * n) / 2), and from the phase m on with the bits below
    the count cut off; clear bits select: the same with 1 - T, result inverted. Lanes behind the last channel start
    where they give 0 with any number of selected rows (-1 or, inverted, n for weights of -1 and +1).
    """
    assert not isinstance(step.epilogue, Scale)
    sizes, phases, domain = sizes_of(step), phases_of(step.domain), step.domain
    thresholds = thresholds_within(step.epilogue, _sum_reach(step))
    ones = (step.weights * counts).reshape(len(step.weights), -1).sum(axis=1, dtype=np.int64)
    centre = (ones << domain.shift) + domain.ratio * int(counts.sum())
    padding = sizes.groups * LANES - len(thresholds)
    furthest = phases.ratio * fan_in(step) >> phases.fraction
    scale = max(domain.shift - 1, 0)
    polarities = []
    for threshold, idle in ((thresholds, -1 - max(furthest, 0)), (1 - thresholds, -min(furthest, 0))):
        half = -((threshold + centre + 1) // 2)
        below = np.arange(phases.count)[:, None] << scale - phases.fraction
        start = 2 * half[None] if domain.shift == 0 else (half + below) >> scale  # (phases, O)
        start = np.pad(start, ((0, 0), (0, padding)), constant_values=idle)
        bits = (start[..., None] >> np.arange(sizes.planes)) & 1  # (phases, lanes, planes)
        grouped = bits.reshape(phases.count, sizes.groups, LANES, sizes.planes).astype(np.uint8)
        polarities.append(pack_words(np.moveaxis(grouped, 2, 3))[..., 0])
    return np.stack(polarities)


@dataclass(frozen=True, slots=True, eq=False)
class Borders:
    """Kinds of positions by the taps that count. ``taps``: (ky, kx, I) of 0/1 per kind. Position (y, x) is of kind
    ``rows[y] + columns[x]``; both are empty where there is one kind. ``phases``: sets of starts per kind."""

    taps: tuple[BitArray, ...]
    rows: IndexArray
    columns: IndexArray
    phases: int

    @property
    def start_sets(self) -> int:
        """Per polarity."""
        return self.phases * len(self.taps)

    def tables(self) -> tuple[Table, ...]:
        if not self.rows.size:
            return ()
        return (
            Table("row_sets", "uint16_t", (self.phases * self.rows).astype(np.uint16)),
            Table("column_sets", "uint16_t", (self.phases * self.columns).astype(np.uint16)),
        )


def borders_of(step: BinaryConv2dStep | BinaryDenseStep, program: Program) -> Borders:
    """One kind where padding is -1, as all taps count; by the taps inside the map where it is 0."""
    phases = phases_of(step.domain).count
    nowhere = np.zeros(0, np.int64)
    one = Borders((np.ones(step.weights.shape[1:], np.uint8),), nowhere, nowhere, phases)
    if not isinstance(step, BinaryConv2dStep) or step.pad_mode is PadMode.MINUS_ONE or not step.window.has_padding:
        return one
    shape = program.tensors[step.input].shape
    window = step.window
    rows, columns = window.output_size(shape.height, shape.width)
    row_taps, row_kinds = inside_taps(rows, window.height, window.stride_y, window.pad_top, shape.height)
    column_taps, column_kinds = inside_taps(columns, window.width, window.stride_x, window.pad_left, shape.width)
    channels = np.ones(shape.channels, np.uint8)
    taps = tuple(
        np.einsum("y,x,c->yxc", row, column, channels).astype(np.uint8) for row in row_taps for column in column_taps
    )
    return Borders(taps, row_kinds * len(column_taps), column_kinds, phases)


def run_tables(step: BinaryConv2dStep | BinaryDenseStep, program: Program) -> tuple[Table, ...]:
    """``column_runs`` of a convolution that is more than a dense layer per pixel."""
    if not isinstance(step, BinaryConv2dStep) or is_per_pixel(step, program):
        return ()
    columns = seen_by(step, program).columns
    begins = np.flatnonzero(np.diff(columns, prepend=-1))
    runs = np.stack([np.diff(begins, append=columns.size), columns[begins]], axis=1)
    return (Table("column_runs", "uint16_t", runs.reshape(-1).astype(np.uint16)),)
