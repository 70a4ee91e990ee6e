# SPDX-License-Identifier: Apache-2.0
"""Strategy ``rows``: 32 output channels per word; the set bits of the input select the weight rows that are added.

Flash: 1 bit per weight and one row of zeros per kernel column, 2 x 9 to 2 x 16 bits per channel for the starts of the
counters; with zero padding the starts of every kind of border position. Time falls with the share of set bits and is
bounded by that of half ones: a map that has more lets its clear bits select.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picobnn.codegen.pack import WordArray, pack_words
from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.strategies._common import (
    IndexArray,
    epilogue_pointers,
    fan_in,
    flip_tables,
    inside_taps,
    is_pointwise,
    is_ternary,
    refuse_conv2d,
    shape_numbers,
    thresholds_within,
)
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.strategies._rows_costs import (
    LIST_PADDING,
    Additions,
    flip_above,
    mean_selection,
    walk_of,
    worst_selection,
)
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, BitArray, PadMode, Scale

MAX_FAN_IN = 32767
MIN_PLANES = 9
LANES = 32
SEGMENT_WORDS = 7
MAX_LIST_OFFSET = 2**31
"""Bytes; entries of lists are 32-bit offsets that must not wrap."""

RUNTIME_FILES = (
    "picobnn_conv2d.h",
    "picobnn_rows.h",
    "picobnn_rows.c",
    "picobnn_rows_v6m.S",
    "picobnn_rows_v7m.S",
)


@dataclass(frozen=True, slots=True)
class RowsStrategy:
    """See the module."""

    name: str = "rows"
    header: str = "picobnn_rows.h"
    packed_weights: bool = True
    input_independent: bool = False

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:  # noqa: ARG002
        if isinstance(step, InputConv2dStep):
            return Refusal("the input is 8-bit, not binary")
        if isinstance(step.epilogue, Scale):
            return Refusal("a scale needs sums, and the counters give signs only")
        if step.domain != PLUS_MINUS_ONE:
            return Refusal("only weights of -1 and +1 are added as rows")
        if is_ternary(step):
            return Refusal("some weights are removed; only whole filters are added as rows")
        if isinstance(step, BinaryConv2dStep) and step.groups != 1:
            return Refusal(f"{step.groups} groups; only ungrouped convolutions are added as rows")
        if fan_in(step) > MAX_FAN_IN:
            return Refusal(f"{fan_in(step)} weights per filter are above {MAX_FAN_IN}")
        if isinstance(step, BinaryDenseStep):
            return None
        columns = program.tensors[step.input].shape.width + step.window.pad_left + step.window.pad_right
        if 4 * columns * (fan_in(step) // step.window.width + 1) >= MAX_LIST_OFFSET:
            return Refusal("the map is so wide that offsets of rows do not fit 32 bits")
        return refuse_conv2d(step, program)

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def output_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        sizes = sizes_of(step)
        begins = 0 if isinstance(step, BinaryDenseStep) else sizes.segments
        return 4 * (SEGMENT_WORDS + sizes.groups + sizes.carry_words + begins + sizes.list_words)

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """``map_word``: words of the map, read to choose; ``column``: lists; ``list_word``: words turned into lists;
        ``listed``: rows put into lists, ``outside``: those of padding; ``plane``: counters compared; ``added``: rows
        added, those that fill up eights included; ``carries``: carries of 16 rows, added up eight at a time;
        ``merged``: words put into pooled pixels."""
        shape, sizes, walk = program.tensors[step.input].shape, sizes_of(step), walk_of(step, program)
        pixel_words = (shape.channels + 31) // 32
        calls = walk.positions * sizes.groups
        mean, worst = (
            Additions(each, calls, sizes.groups, walk.positions, padding)
            for each, padding in (
                (mean_selection(step, program, walk), LIST_PADDING / 2),
                (worst_selection(step, program, walk), LIST_PADDING),
            )
        )
        is_simple = isinstance(step, BinaryConv2dStep) and is_pointwise(step, program)
        return (
            CostTerm.always("call", 1),
            CostTerm.always("map_word", shape.height * shape.width * pixel_words),
            CostTerm.always("column", 0 if is_simple else walk.columns),
            CostTerm.always("simple", walk.positions if is_simple else 0),
            CostTerm.always("list", walk.lists),
            CostTerm.always("list_word", walk.listed_pixels * pixel_words),
            CostTerm("listed", mean.selection.listed, worst.selection.listed),
            CostTerm("outside", mean.selection.outside, worst.selection.outside),
            CostTerm.always("position", walk.positions),
            CostTerm.always("group", calls),
            CostTerm.always("plane", calls * sizes.planes),
            CostTerm("added", mean.added, worst.added),
            CostTerm("carries", mean.carries, worst.carries),
            CostTerm.always("merged", walk.merged * sizes.groups),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        assert not isinstance(step.epilogue, Scale)  # accepts() refused it
        borders = _borders(step, program)
        starts = np.stack([_starts(step, border) for border in borders.taps], axis=1)
        return (
            Table("weights", "uint32_t", _rows(step).reshape(-1), is_scattered=True),
            Table("starts", "uint32_t", starts.reshape(-1)),
            *borders.tables(),
            *flip_tables(step.epilogue),
        )

    def view(
        self,
        step: Step,
        program: Program,
        target: Target,  # noqa: ARG002
        symbol: str,
        table_symbols: dict[str, str],
    ) -> LayerView:
        shape = program.tensors[step.input].shape
        sizes = sizes_of(step)
        borders = _borders(step, program)
        filters = {
            "count": len(step.weights),
            "groups": sizes.groups,
            "planes": sizes.planes,
            "start_sets": len(borders.taps),
            "segments": sizes.segments,
            "segment_rows": sizes.segment_rows,
            "flip_above": flip_above(step, program),
            "carry_words": sizes.carry_words,
            "list_words": sizes.list_words,
        }
        pointers = {"add": "picobnn_rows_add", "weights": table_symbols["weights"], "starts": table_symbols["starts"]}
        pointers |= dict(epilogue_pointers(step, table_symbols)[:2])
        outer: tuple[tuple[str, str], ...] = ()
        if isinstance(step, BinaryDenseStep):
            kind = "dense"
            head: tuple[tuple[str, int], ...] = (("pixels", shape.height * shape.width), ("channels", shape.channels))
        else:
            assert isinstance(step, BinaryConv2dStep)  # accepts() refused everything else
            kind = "conv2d"
            output = program.tensors[step.output].shape
            pad_is_zero = int(step.pad_mode is PadMode.ZERO)
            head = (*shape_numbers(step, shape, output), ("pad_is_zero", pad_is_zero))
            outer = tuple((role, table_symbols.get(role, "NULL")) for role in ("row_sets", "column_sets"))
        return LayerView(
            symbol=symbol,
            c_type=f"picobnn_rows_{kind}_layer",
            function=f"picobnn_rows_{kind}_bits",
            numbers=(*head, *((f"filters.{name}", value) for name, value in filters.items())),
            pointers=(*((f"filters.{name}", expression) for name, expression in pointers.items()), *outer),
            limited=(("filters.taps", fan_in(step), f"PICOBNN_ROWS_MAX_TAPS({sizes.planes}u)"),),
        )


@dataclass(frozen=True, slots=True)
class Sizes:
    """Fields of ``picobnn_rows_filters``."""

    groups: int
    planes: int
    segments: int
    segment_rows: int
    carry_words: int
    list_words: int


def sizes_of(step: Step) -> Sizes:
    """Of an accepted step."""
    taps = fan_in(step)
    segments = 1 if isinstance(step, BinaryDenseStep) else step.weights.shape[2]
    rows = taps // segments
    # A dense layer has one list. A convolution keeps segments - 1 lists and adds one; a list that may not fit behind
    # the last starts at the front again, which wastes less than one list.
    lists = 1 if isinstance(step, BinaryDenseStep) else segments + 1
    return Sizes(
        groups=(len(step.weights) + LANES - 1) // LANES,
        # The least p with 2**(p - 1) > taps: counts lie in -(taps + 1) to taps, see picobnn_rows.h.
        planes=max(MIN_PLANES, 1 + taps.bit_length()),
        segments=segments,
        segment_rows=rows,
        # One carry per 16 rows and one per rest of 8, of two lists; on v6-M one of the low planes, 0 to 3 zero words.
        carry_words=_round_up((taps + 15) // 16 + 5, 4),
        list_words=lists * rows + 3 * LIST_PADDING,
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _rows(step: Step) -> WordArray:
    """uint32 (groups, segments, segment_rows + 1): rows of a kernel column in the order (ky, channel), then zeros."""
    weights = step.weights.reshape(len(step.weights), 1, 1, -1)
    if not isinstance(step, BinaryDenseStep):
        weights = step.weights.transpose(0, 2, 1, 3)
    lanes = weights.reshape(len(weights), weights.shape[1], -1)
    rows = pack_words(np.moveaxis(lanes, 0, -1))  # (segments, segment_rows, groups)
    return np.moveaxis(np.pad(rows, ((0, 0), (0, 1), (0, 0))), -1, 0).copy()


def _starts(step: Step, counts: BitArray) -> WordArray:
    """Starts of the counters, uint32 (2, groups, planes); ``counts`` (ky, kx, I) is 1 for the taps that count.

    Set bits select: -H with H = ceil((T + 2 * U - n) / 2); clear bits select: the same with 1 - T, result inverted.
    Lanes behind the last channel start where they give 0: at -1, and where inverted at n.
    """
    assert not isinstance(step.epilogue, Scale)
    sizes = sizes_of(step)
    thresholds = thresholds_within(step.epilogue, fan_in(step))
    taps = int(counts.sum())
    balance = 2 * (step.weights * counts).reshape(len(step.weights), -1).sum(axis=1, dtype=np.int64) - taps
    padding = sizes.groups * LANES - len(thresholds)
    polarities = []
    for threshold, idle in ((thresholds, -1), (1 - thresholds, fan_in(step))):
        start = -((threshold + balance + 1) // 2)
        start = np.pad(start, (0, padding), constant_values=idle)
        bits = (start[:, None] >> np.arange(sizes.planes)) & 1  # (lanes, planes)
        grouped = bits.reshape(sizes.groups, LANES, sizes.planes).astype(np.uint8)
        polarities.append(pack_words(np.moveaxis(grouped, 1, 2))[..., 0])
    return np.stack(polarities)


@dataclass(frozen=True, slots=True, eq=False)
class _Borders:
    """Kinds of positions by the taps that count. ``taps``: (ky, kx, I) of 0/1 per kind. Position (y, x) is of kind
    ``rows[y] + columns[x]``; both are empty where there is one kind."""

    taps: tuple[BitArray, ...]
    rows: IndexArray
    columns: IndexArray

    def tables(self) -> tuple[Table, ...]:
        if not self.rows.size:
            return ()
        return (
            Table("row_sets", "uint16_t", self.rows.astype(np.uint16)),
            Table("column_sets", "uint16_t", self.columns.astype(np.uint16)),
        )


def _borders(step: Step, program: Program) -> _Borders:
    """One kind where padding is -1, as all taps count; by the taps inside the map where it is 0."""
    one = _Borders((np.ones(step.weights.shape[1:], np.uint8),), np.zeros(0, np.int64), np.zeros(0, np.int64))
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
    return _Borders(taps, row_kinds * len(column_taps), column_kinds)


STRATEGY = RowsStrategy()
