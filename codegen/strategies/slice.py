# SPDX-License-Identifier: Apache-2.0
"""Strategy ``slice``: depthwise convolution, 32 channels per word; the lanes of a window are counted bit by bit.

Flash: 1 bit per weight, those of all kernel rows but the last twice (the strip's rows rotate under them); 4 bits per
channel of a 3x3 for the starts of the counters and what inverts them; with zero padding the starts of every kind of
border position. Time does not depend on the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.pack import WordArray, pack_words
from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.strategies._common import (
    NO_POOL,
    IndexArray,
    fan_in,
    inside_taps,
    is_ternary,
    refuse_conv2d,
    shape_numbers,
    window_places,
)
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, BitArray, PadMode, PoolStage, Scale, Threshold

MAX_FAN_IN = 510
MAX_PLANES = 9
MIN_PLANES = 3
LANES = 32
CORE_TAPS = (3, 3)
CORE_PLANES = 3
CORE_STRIDES = (1, 2)
"""What the assembly runs; the runtime's ``run_job`` asks the same."""

RUNTIME_FILES = (
    "picobnn_adders_v7m.h",
    "picobnn_conv2d.h",
    "picobnn_slice.h",
    "picobnn_slice.c",
    "picobnn_slice_v6m.S",
    "picobnn_slice_v7m.S",
)


@dataclass(frozen=True, slots=True)
class SliceStrategy:
    """See the module."""

    name: str = "slice"
    header: str = "picobnn_slice.h"
    packed_weights: bool = True
    input_independent: bool = True

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:  # noqa: ARG002
        if isinstance(step, InputConv2dStep):
            return Refusal("the input is 8-bit, not binary")
        if isinstance(step, BinaryDenseStep):
            return Refusal("a dense layer is no depthwise convolution")
        channels = program.tensors[step.input].shape.channels
        if not len(step.weights) == step.groups == channels:
            text = f"{channels} channels, {len(step.weights)} filters and {step.groups} groups"
            return Refusal(f"{text} are no depthwise convolution with one filter per channel")
        if isinstance(step.epilogue, Scale):
            return Refusal("a scale needs sums, and the counters give signs only")
        if step.domain != PLUS_MINUS_ONE:
            return Refusal("only weights of -1 and +1 are counted in slices")
        if is_ternary(step):
            return Refusal("removed taps differ from lane to lane, and the counters have no mask per tap")
        if fan_in(step) > MAX_FAN_IN:
            return Refusal(f"{fan_in(step)} weights per filter are above {MAX_FAN_IN}")
        return refuse_conv2d(step, program)

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def output_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        sizes = _sizes(_depthwise(step), program)
        return 4 * sizes.groups * (sizes.columns * sizes.height + (sizes.positions if sizes.is_pooled else 0))

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """``strip``: words cleared; ``copied``: words of map rows put into the strip, ``copies``: how often a row of a
        group is; ``core_*``: runs of positions, and words, of the assembly; ``any_*``: the same of the loop for any
        window, with its pairs of taps and the planes that their carries go through; ``merged``: words ORed by a pool;
        ``cleared``: words of a pool's output; ``flipped``: words flipped behind one."""
        step = _depthwise(step)
        sizes, lanes, walk = _sizes(step, program), _lanes(step, program), _walk(step, program)
        shape, output = program.tensors[step.input].shape, program.tensors[step.output].shape
        copied = max(0, min(shape.width, sizes.columns - step.window.pad_left))
        words = len(walk.rows) * sizes.groups
        spans = len(_spans(step, program, sizes))
        is_core = (
            step.weights.shape[1:3] == CORE_TAPS
            and lanes.planes == CORE_PLANES
            and step.window.stride_x in CORE_STRIDES
        )
        taken = words * sizes.positions
        pairs = (sizes.height + 1) // 2 * step.window.width * taken
        out_words = output.height * output.width * sizes.groups
        return (
            CostTerm.always("call", 1),
            CostTerm.always("strip", sizes.groups * sizes.columns * sizes.height),
            CostTerm.always("row", len(walk.rows)),
            CostTerm.always("copies", walk.copies * sizes.groups),
            CostTerm.always("copied", walk.copies * sizes.groups * copied),
            CostTerm.always("span", len(walk.rows) * spans),
            CostTerm.always("core_group", words * spans * is_core),
            CostTerm.always("core_word", taken * is_core),
            CostTerm.always("any_group", words * spans * (not is_core)),
            CostTerm.always("any_word", taken * (not is_core)),
            CostTerm.always("any_column", taken * step.window.width * (not is_core)),
            CostTerm.always("any_pair", pairs * (not is_core)),
            CostTerm.always("any_plane", (pairs * (lanes.planes - 1) + taken * lanes.planes) * (not is_core)),
            CostTerm.always("merged", walk.merged * sizes.groups),
            CostTerm.always("cleared", out_words * sizes.is_pooled),
            CostTerm.always("flipped", out_words * bool(_final_flips(step))),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        step = _depthwise(step)
        lanes = _lanes(step, program)
        spans = _spans(step, program, _sizes(step, program))
        tables = [
            Table("weights", "uint32_t", _filters(step, lanes).reshape(-1)),
            Table("starts", "uint32_t", _starts(step, lanes).reshape(-1)),
            Table("spans", "uint16_t", spans.astype(np.uint16).reshape(-1)),
        ]
        return (*tables, *_row_sets(step, program), *_final_flips(step))

    def view(
        self,
        step: Step,
        program: Program,
        target: Target,  # noqa: ARG002
        symbol: str,
        table_symbols: dict[str, str],
    ) -> LayerView:
        step = _depthwise(step)
        shape, output = program.tensors[step.input].shape, program.tensors[step.output].shape
        sizes = _sizes(step, program)
        roles = ("weights", "starts", "final_flips", "row_sets", "spans")
        return LayerView(
            symbol=symbol,
            c_type="picobnn_slice_conv2d_layer",
            function="picobnn_slice_conv2d_bits",
            numbers=(
                *shape_numbers(step, shape, output),
                ("groups", sizes.groups),
                ("columns", sizes.columns),
                ("span_count", len(_spans(step, program, sizes))),
            ),
            pointers=tuple((role, table_symbols.get(role, "NULL")) for role in roles),
            limited=(
                ("taps", fan_in(step), "PICOBNN_SLICE_MAX_TAPS"),
                ("planes", _lanes(step, program).planes, "PICOBNN_SLICE_MAX_PLANES"),
            ),
        )


def _depthwise(step: Step) -> BinaryConv2dStep:
    assert isinstance(step, BinaryConv2dStep)  # accepts() refused everything else
    return step


@dataclass(frozen=True, slots=True)
class _Sizes:
    """``positions`` of a row that some output needs; ``columns`` of the strip under their windows, ``height`` rows."""

    groups: int
    positions: int
    columns: int
    height: int
    is_pooled: bool


def _sizes(step: BinaryConv2dStep, program: Program) -> _Sizes:
    window, pool = step.window, step.pool.window if step.pool is not None else NO_POOL
    shape, output = program.tensors[step.input].shape, program.tensors[step.output].shape
    _, columns = window.output_size(shape.height, shape.width)
    positions = min(columns, (output.width - 1) * pool.stride_x - pool.pad_left + pool.width)
    return _Sizes(
        groups=(shape.channels + LANES - 1) // LANES,
        positions=positions,
        columns=(positions - 1) * window.stride_x + window.width,
        height=window.height,
        is_pooled=_has_pool(step),
    )


def _has_pool(step: BinaryConv2dStep) -> bool:
    pool = NO_POOL if step.pool is None else step.pool.window
    return (pool.height, pool.width, pool.stride_y, pool.stride_x) != (1, 1, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Lanes:
    """How lanes count. ``thresholds``: int64 (kinds, channels), agreeing taps that set the bit, of a lane's own weights
    or, where ``inverted`` (channels,), of their complements; ``planes``: the bits they need."""

    thresholds: IndexArray
    inverted: npt.NDArray[np.bool_]
    planes: int


def _lanes(step: BinaryConv2dStep, program: Program) -> _Lanes:
    assert isinstance(step.epilogue, Threshold)
    taps = fan_in(step)
    inside = np.stack(_kinds(step, program)[0]).astype(np.int64)[:, None]  # (kinds, 1, ky, kx)
    outside = ((1 - inside) * (1 - step.weights[None, :, :, :, 0].astype(np.int64))).sum(axis=(2, 3))
    wanted = step.epilogue.thresholds.astype(np.int64)[None] + inside.sum(axis=(2, 3))
    # Whatever padding does, acc lies in -N to N: what lies beyond is decided before padding comes in.
    counted = inside.sum(axis=(2, 3))
    reach = np.clip(wanted, 0, 2 * counted + 1)
    agreeing = (reach + 1) // 2
    own = np.where(agreeing == 0, 0, np.where(agreeing > counted, taps + 1, agreeing + outside))
    most = np.minimum(own.max(axis=0), (taps + 1 - own).max(axis=0))
    planes = max(MIN_PLANES, int(most.max()).bit_length())
    inverted = own.max(axis=0) > (1 << planes) - 1
    return _Lanes(np.where(inverted, taps + 1 - own, own), inverted, planes)


def _kinds(step: BinaryConv2dStep, program: Program) -> tuple[tuple[BitArray, ...], IndexArray, IndexArray]:
    """Kinds of positions by the taps that count: masks (ky, kx), and per row and column of the map what adds up to a
    position's kind. One kind where all taps count."""
    shape, window = program.tensors[step.input].shape, step.window
    rows, columns = window.output_size(shape.height, shape.width)
    if step.pad_mode is PadMode.MINUS_ONE or not window.has_padding:
        return (np.ones(step.weights.shape[1:3], np.uint8),), np.zeros(rows, np.int64), np.zeros(columns, np.int64)
    row_taps, of_row = inside_taps(rows, window.height, window.stride_y, window.pad_top, shape.height)
    column_taps, of_column = inside_taps(columns, window.width, window.stride_x, window.pad_left, shape.width)
    return (
        tuple(np.outer(row, column) for row in row_taps for column in column_taps),
        of_row * len(column_taps),
        of_column,
    )


def _filters(step: BinaryConv2dStep, lanes: _Lanes) -> WordArray:
    """What XOR turns into marks, uint32 (groups, kx, 2 ky - 1): complements of the weights, or where a lane is inverted
    the weights; every column once and, but for its last row, again. Lanes behind the last channel mark no clear bit."""
    marks = np.where(lanes.inverted[:, None, None], step.weights[..., 0], 1 - step.weights[..., 0]).astype(np.uint8)
    columns = np.concatenate([marks, marks[:, :-1]], axis=1).transpose(2, 1, 0)  # (kx, 2 ky - 1, channels)
    return np.moveaxis(pack_words(np.ascontiguousarray(columns)), -1, 0).copy()


def _starts(step: BinaryConv2dStep, lanes: _Lanes) -> WordArray:
    """uint32 (kinds, groups, planes + 1): 2**planes - 1 - threshold bit by bit, then what inverts the result. Lanes
    behind the last channel start at 0 and see no mark, so that they never overflow."""
    assert isinstance(step.epilogue, Threshold)
    starts = (1 << lanes.planes) - 1 - lanes.thresholds
    bits = (starts[:, None] >> np.arange(lanes.planes)[:, None]) & 1  # (kinds, planes, channels)
    flips = np.zeros(len(step.weights), np.bool_) if _flips_last(step) else step.epilogue.flip.astype(np.bool_)
    inverts = np.broadcast_to(lanes.inverted ^ flips, (len(starts), 1, len(step.weights)))
    words = pack_words(np.concatenate([bits, inverts], axis=1).astype(np.uint8))
    return np.moveaxis(words, -1, 1).copy()


def _flips_last(step: BinaryConv2dStep) -> bool:
    """Whether the flips come behind a pool on accumulators."""
    return step.pool is not None and step.pool.stage is PoolStage.ACC


def _final_flips(step: BinaryConv2dStep) -> tuple[Table, ...]:
    assert isinstance(step.epilogue, Threshold)
    if not _flips_last(step) or not step.epilogue.flip.any():
        return ()
    return (Table("final_flips", "uint32_t", pack_words(step.epilogue.flip)),)


def _spans(step: BinaryConv2dStep, program: Program, sizes: _Sizes) -> IndexArray:
    """Runs of positions of one kind, (spans, 2): how many, and the kind."""
    kinds = _kinds(step, program)[2][: sizes.positions]
    begins = np.flatnonzero(np.diff(kinds, prepend=-1))
    return np.stack([np.diff(begins, append=len(kinds)), kinds[begins]], axis=1)


def _row_sets(step: BinaryConv2dStep, program: Program) -> tuple[Table, ...]:
    sets = _kinds(step, program)[1]
    return (Table("row_sets", "uint16_t", sets.astype(np.uint16)),) if sets.any() else ()


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """Rows of positions in the order of the runtime, how many rows it puts into the strip for them, and positions that
    a pool merges."""

    rows: IndexArray
    copies: int
    merged: int


def _walk(step: BinaryConv2dStep, program: Program) -> _Walk:
    shape, output = program.tensors[step.input].shape, program.tensors[step.output].shape
    window, pool = step.window, step.pool.window if step.pool is not None else NO_POOL
    rows, columns = window.output_size(shape.height, shape.width)
    places = window_places(output.height, pool.stride_y, pool.pad_top, pool.height, rows)
    copies = following = 0
    for top in (places * window.stride_y).tolist():
        begin = following if top < following <= top + window.height else top
        following = top + window.height
        copies += following - begin
    merged = window_places(output.width, pool.stride_x, pool.pad_left, pool.width, columns)
    return _Walk(places, copies, len(places) * len(merged) if _has_pool(step) else 0)


STRATEGY = SliceStrategy()
