# SPDX-License-Identifier: Apache-2.0
"""Strategy ``rows``: 32 output channels per word; the set bits of the input select the weight rows that are added.

Flash: 1 bit per weight and one row of zeros per kernel column, 2 x 9 to 2 x 16 bits per channel for the starts of the
counters; with zero padding the starts of every kind of border position. Time falls with the share of set bits and is
bounded by that of half ones: a row of positions whose windows hold more lets its clear bits select. Weights may stand
for any two values r and 2**k + r: with an odd r and k above 1 the starts are there 2**(k - 1) times, one set per phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.strategies._common import (
    epilogue_pointers,
    fan_in,
    flip_tables,
    is_pointwise,
    is_ternary,
    refuse_conv2d,
    refuse_skipped_pixels,
    shape_numbers,
)
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.strategies._rows_bound import most_cycles
from picobnn.codegen.strategies._rows_costs import (
    LIST_PADDING,
    Additions,
    mean_selection,
    seen_by,
    walk_of,
    worst_selection,
)
from picobnn.codegen.strategies._rows_counts import adder_of
from picobnn.codegen.strategies._rows_tables import (
    borders_of,
    count_reach,
    head_words,
    phases_of,
    run_tables,
    sizes_of,
    starts_of,
    weight_rows,
)
from picobnn.codegen.targets import InstructionSet, Target
from picobnn.codegen.vocabulary import PadMode, Scale

MAX_FAN_IN = 32767
MAX_START_SETS = 72
"""Per polarity, in a domain with phases: 8 phases for each of the nine kinds of positions of a 3x3."""

SEGMENT_WORDS = 7
BORDER_ROLES = ("row_sets", "column_sets", "column_runs")
MAX_LIST_OFFSET = 2**31
"""Bytes; entries of lists are 32-bit offsets that must not wrap."""

RUNTIME_FILES = (
    "picobnn_adders.h",
    "picobnn_adders_v7m.h",
    "picobnn_conv2d.h",
    "picobnn_rows.h",
    "picobnn_rows.c",
    "picobnn_rows_core.c",
    "picobnn_rows_general.c",
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
        if is_ternary(step):
            return Refusal("some weights are removed; only whole filters are added as rows")
        if isinstance(step, BinaryConv2dStep) and step.groups != 1:
            return Refusal(f"{step.groups} groups; only ungrouped convolutions are added as rows")
        if fan_in(step) > MAX_FAN_IN:
            return Refusal(f"{fan_in(step)} weights per filter are above {MAX_FAN_IN}")
        if (reach := count_reach(step)) > MAX_FAN_IN:
            return Refusal(f"counts of up to {reach} are above {MAX_FAN_IN}")
        if isinstance(step, BinaryDenseStep):
            return _refuse_starts(step, program)
        columns = program.tensors[step.input].shape.width + step.window.pad_left + step.window.pad_right
        if 4 * columns * (fan_in(step) // step.window.width + 1) >= MAX_LIST_OFFSET:
            return Refusal("the map is so wide that offsets of rows do not fit 32 bits")
        refusal = refuse_skipped_pixels(step, program) or refuse_conv2d(step, program)
        return refusal or _refuse_starts(step, program)

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def output_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        sizes = sizes_of(step)
        lists = 0 if isinstance(step, BinaryDenseStep) else sizes.segments + program.tensors[step.input].shape.height
        return 4 * (SEGMENT_WORDS + sizes.groups + sizes.carry_words + lists + sizes.list_words)

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """``map_word``: words of the map, read to choose; ``column``: columns under the windows, ``list``: those with
        lists, ``position``; ``dense``: positions of a dense layer or a 1x1 window on every pixel instead, each with
        one list; ``list_word``: words turned into lists;
        ``listed``: rows put into lists, ``outside``: those of padding; ``phased``: positions that look for
        their starts; ``plane``: counters compared; ``added``: rows added, those that fill up eights included;
        ``carries``: carries of 16 rows, added up eight at a time; ``merged``: words put into pooled pixels."""
        assert not isinstance(step, InputConv2dStep)  # accepts() refused it
        shape, sizes, walk = program.tensors[step.input].shape, sizes_of(step), walk_of(step, program)
        pixel_words = (shape.channels + 31) // 32
        calls = walk.positions * sizes.groups
        on_average = mean_selection(step, program, walk)
        at_worst = worst_selection(step, program, walk, on_average)
        mean, worst = (
            Additions(each, calls, sizes.groups, walk.positions, padding)
            for each, padding in ((on_average, LIST_PADDING / 2), (at_worst, LIST_PADDING))
        )
        is_dense = isinstance(step, BinaryDenseStep) or is_pointwise(step, program)
        return (
            CostTerm.always("call", 1),
            CostTerm.always("map_word", shape.height * shape.width * pixel_words),
            CostTerm.always("column", 0 if is_dense else walk.columns),
            CostTerm.always("list", 0 if is_dense else walk.lists),
            CostTerm.always("list_word", walk.listed_pixels * pixel_words),
            CostTerm("listed", mean.selection.listed, worst.selection.listed),
            CostTerm("outside", mean.selection.outside, worst.selection.outside),
            CostTerm.always("position", 0 if is_dense else walk.positions),
            CostTerm.always("dense", walk.positions if is_dense else 0),
            CostTerm.always("phased", 0 if phases_of(step.domain).is_plain else walk.positions),
            CostTerm.always("group", calls),
            CostTerm.always("plane", calls * sizes.planes),
            CostTerm("added", mean.added, worst.added),
            CostTerm("carries", mean.carries, worst.carries),
            CostTerm.always("merged", walk.merged * sizes.groups),
        )

    def most_cycles(self, step: Step, program: Program, target: Target, parts: Mapping[str, float]) -> float:
        assert not isinstance(step, InputConv2dStep)  # accepts() refused it
        is_v6m = target.isa is InstructionSet.V6M
        return most_cycles(step, program, adder_of(step, has_vectors=False, is_v6m=is_v6m), parts)

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        assert not isinstance(step, InputConv2dStep)  # accepts() refused these
        assert not isinstance(step.epilogue, Scale)
        borders = borders_of(step, program)
        starts = np.stack([starts_of(step, border) for border in borders.taps], axis=1)
        weights = np.concatenate([head_words(step), weight_rows(step).reshape(-1)])
        return (
            Table("weights", "uint32_t", weights, is_scattered=True),
            Table("starts", "uint32_t", starts.reshape(-1)),
            *borders.tables(),
            *run_tables(step, program),
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
        assert not isinstance(step, InputConv2dStep)  # accepts() refused it
        sizes = sizes_of(step)
        head_size = len(head_words(step))
        filters = {
            "count": len(step.weights),
            "groups": sizes.groups,
            "planes": sizes.planes,
            "start_sets": borders_of(step, program).start_sets,
            "segments": sizes.segments,
            "segment_rows": sizes.segment_rows,
            "carry_words": sizes.carry_words,
            "list_words": sizes.list_words,
        }
        pointers = {
            "add": "picobnn_rows_general_add" if head_size else "picobnn_rows_add",
            "weights": table_symbols["weights"] + (f" + {head_size}" if head_size else ""),
            "starts": table_symbols["starts"],
        }
        pointers |= dict(epilogue_pointers(step, table_symbols)[:2])
        outer: tuple[tuple[str, str], ...] = ()
        if isinstance(step, BinaryDenseStep):
            kind = "dense"
            head: tuple[tuple[str, int], ...] = (("pixels", shape.height * shape.width), ("channels", shape.channels))
        else:
            kind = "conv2d"
            output = program.tensors[step.output].shape
            pad_is_zero = int(step.pad_mode is PadMode.ZERO)
            seen = seen_by(step, program)
            head = (*shape_numbers(step, shape, output), ("pad_is_zero", pad_is_zero), ("row_taps", seen.row_taps))
            outer = tuple((role, table_symbols.get(role, "NULL")) for role in BORDER_ROLES)
        return LayerView(
            symbol=symbol,
            c_type=f"picobnn_rows_{kind}_layer",
            function=f"picobnn_rows_{kind}_bits",
            numbers=(*head, *((f"filters.{name}", value) for name, value in filters.items())),
            pointers=(*((f"filters.{name}", expression) for name, expression in pointers.items()), *outer),
            limited=(("filters.reach", sizes.reach, f"PICOBNN_ROWS_MAX_REACH({sizes.planes}u)"),),
        )


def _refuse_starts(step: BinaryConv2dStep | BinaryDenseStep, program: Program) -> Refusal | None:
    """Where phases multiply the sets of starts too often."""
    phases = phases_of(step.domain).count
    if phases == 1 or (sets := borders_of(step, program).start_sets) <= MAX_START_SETS:
        return None
    return Refusal(f"{sets} sets of starts, of {phases} phases each, are above {MAX_START_SETS}")


STRATEGY = RowsStrategy()
