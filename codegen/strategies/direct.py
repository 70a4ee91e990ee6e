# SPDX-License-Identifier: Apache-2.0
"""Strategy ``direct``: the first layer on 8-bit pixels in plain C; the readable baseline of first layers.

At every position the 16 signed sums of each four taps are formed once; a filter adds one of them per four weights.
Flash: 1 bit per weight, 4 bytes per threshold. Scratch: 16 bytes per tap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import InputConv2dStep, Program, Step
from picobnn.codegen.strategies._common import (
    epilogue_pointers,
    fan_in,
    flip_tables,
    flips_last,
    output_layout,
    packed_filters,
    refuse_conv2d,
    scale_tables,
    shape_numbers,
    thresholds_within,
    visits,
)
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import Scale, Threshold

MAX_FAN_IN = 4_194_303
"""Accumulators, up to 255 per tap, and their comparison stay far inside int32."""

RUNTIME_FILES = ("picobnn_conv2d.h", "picobnn_direct.h", "picobnn_direct.c")


@dataclass(frozen=True, slots=True)
class DirectStrategy:
    """See the module."""

    name: str = "direct"
    header: str = "picobnn_direct.h"
    packed_weights: bool = True
    input_independent: bool = True

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:  # noqa: ARG002
        if not isinstance(step, InputConv2dStep):
            return Refusal("the input is binary, not 8-bit")
        if fan_in(step) > MAX_FAN_IN:
            return Refusal(f"{fan_in(step)} weights per filter are above {MAX_FAN_IN}")
        return refuse_conv2d(step, program)

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.HWC_BYTES

    def output_layout(self, step: Step) -> Layout:
        return output_layout(step)

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        return 4 * 16 * ((fan_in(step) + 3) // 4)

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """Of the walk: ``output``, ``position``, ``flipped``: words flipped behind a pool. Of patches: ``window_row``,
        ``outside_row``: rows on the image and not, ``tap``, ``zero``: taps read, and zeros written; ``table``: tables
        of four taps. ``lanes``: calls for up to 32 filters; ``filter_1`` to ``filter_8``: filters, by the groups of
        four taps of their last word; ``word``: their other words."""
        assert isinstance(step, InputConv2dStep)  # accepts() refused everything else
        walk, filters = visits(step, program), len(step.weights)
        positions, taps = walk.total, fan_in(step)
        groups, read = (taps + 3) // 4, walk.pixels * program.tensors[step.input].shape.channels
        lanes, words = (filters + 31) // 32, (groups + 7) // 8
        last_groups = groups - 8 * (words - 1)
        return (
            CostTerm.always("call", 1),
            CostTerm.always("output", walk.outputs),
            CostTerm.always("position", positions),
            CostTerm.always("flipped", walk.outputs * lanes if flips_last(step) else 0),
            CostTerm.always("window_row", walk.rows),
            CostTerm.always("outside_row", positions * step.window.height - walk.rows),
            CostTerm.always("tap", read),
            CostTerm.always("zero", positions * 4 * groups - read),
            CostTerm.always("table", positions * groups),
            CostTerm.always("lanes", positions * lanes),
            *(CostTerm.always(f"filter_{last}", positions * filters * (last == last_groups)) for last in range(1, 9)),
            CostTerm.always("word", positions * filters * (words - 1)),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        weights = Table("weights", "uint32_t", packed_filters(step.weights))
        match step.epilogue:
            case Scale() as scale:
                return (weights, *scale_tables(scale))
            case Threshold() as threshold:
                thresholds = thresholds_within(threshold, 255 * fan_in(step)).astype(np.int32)
                return (weights, Table("thresholds", "int32_t", thresholds), *flip_tables(threshold))

    def view(
        self,
        step: Step,
        program: Program,
        target: Target,  # noqa: ARG002
        symbol: str,
        table_symbols: dict[str, str],
    ) -> LayerView:
        assert isinstance(step, InputConv2dStep)  # accepts() refused everything else
        shape = program.tensors[step.input].shape
        output = program.tensors[step.output].shape
        return LayerView(
            symbol=symbol,
            c_type="picobnn_direct_conv2d_layer",
            function=f"picobnn_direct_conv2d_{'scale' if isinstance(step.epilogue, Scale) else 'bits'}",
            numbers=(
                *shape_numbers(step, shape, output),
                ("zero_point", program.input_zero_point),
                ("count", len(step.weights)),
            ),
            limited=(("taps", fan_in(step), "PICOBNN_DIRECT_MAX_TAPS"),),
            pointers=(
                ("weights", table_symbols["weights"]),
                ("thresholds", table_symbols.get("thresholds", "NULL")),
                *epilogue_pointers(step, table_symbols),
            ),
        )


STRATEGY = DirectStrategy()
