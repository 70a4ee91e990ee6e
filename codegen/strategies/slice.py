# SPDX-License-Identifier: Apache-2.0
"""Strategy ``slice``: depthwise convolution, 32 channels per word; the lanes of a window are counted bit by bit.

Flash: 1 bit per weight, those of all kernel rows but the last twice (the strip's rows rotate under them); 4 bits per
channel of a 3x3 for the starts of the counters and what inverts them; with zero padding the starts of every kind of
border position. Time does not depend on the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.strategies._common import (
    NO_POOL,
    IndexArray,
    fan_in,
    is_ternary,
    refuse_conv2d,
    shape_numbers,
    window_places,
)
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.strategies._slice_tables import (
    filter_words,
    final_flips,
    lanes_of,
    row_sets,
    spans_of,
    start_words,
)
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, Scale

MAX_FAN_IN = 510
MAX_PLANES = 9
LANES = 32
CORE_TAPS = (3, 3)
CORE_PLANES = 3
CORE_STRIDES = (1, 2)
"""What the assembly runs; the runtime's ``run_job`` asks the same."""

RUNTIME_FILES = (
    "picobnn_adders.h",
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
        sizes, lanes, walk = _sizes(step, program), lanes_of(step, program), _walk(step, program)
        shape, output = program.tensors[step.input].shape, program.tensors[step.output].shape
        copied = max(0, min(shape.width, sizes.columns - step.window.pad_left))
        words = len(walk.rows) * sizes.groups
        spans = len(spans_of(step, program, sizes.positions))
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
            CostTerm.always("flipped", out_words * bool(final_flips(step))),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        step = _depthwise(step)
        lanes = lanes_of(step, program)
        spans = spans_of(step, program, _sizes(step, program).positions)
        tables = [
            Table("weights", "uint32_t", filter_words(step, lanes).reshape(-1)),
            Table("starts", "uint32_t", start_words(step, lanes).reshape(-1)),
            Table("spans", "uint16_t", spans.astype(np.uint16).reshape(-1)),
        ]
        return (*tables, *row_sets(step, program), *final_flips(step))

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
                ("span_count", len(spans_of(step, program, sizes.positions))),
            ),
            pointers=tuple((role, table_symbols.get(role, "NULL")) for role in roles),
            limited=(
                ("taps", fan_in(step), "PICOBNN_SLICE_MAX_TAPS"),
                ("planes", lanes_of(step, program).planes, "PICOBNN_SLICE_MAX_PLANES"),
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
