# SPDX-License-Identifier: Apache-2.0
"""Strategy ``xnor``: packed words, xnor and carry-save popcount, for binary layers of -1 and +1 on every core.

Each filter is one run of bits; the kernel gathers the patch under the window as one run too, so channel counts need
not be multiples of 32. Flash: 1 bit per weight, 2 bytes per threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.strategies._common import (
    epilogue_pointers,
    fan_in,
    filter_words,
    flip_tables,
    is_pointwise,
    is_ternary,
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
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, PadMode, Scale, Threshold

MAX_FAN_IN = 32767
"""Limits, up to 2 * fan-in + 1, are uint16, and the kernel counts in 16-bit halves."""

PAIRS_OF_NINE = (18, 36, 72)
"""Words per filter that the kernel takes in pairs of nine."""

RUNTIME_FILES = (
    "picobnn_conv2d.h",
    "picobnn_xnor.h",
    "picobnn_xnor_bits.h",
    "picobnn_xnor_count.h",
    "picobnn_xnor.c",
    "picobnn_xnor_compare.c",
    "picobnn_xnor_patch.h",
)


@dataclass(frozen=True, slots=True)
class XnorStrategy:
    """See the module."""

    name: str = "xnor"
    header: str = "picobnn_xnor.h"
    packed_weights: bool = True
    input_independent: bool = True

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:  # noqa: ARG002
        if isinstance(step, InputConv2dStep):
            return Refusal("the input is 8-bit, not binary")
        if step.domain != PLUS_MINUS_ONE:
            return Refusal("weights are not -1 and +1")
        if is_ternary(step):
            return Refusal("some weights are removed")
        if isinstance(step, BinaryConv2dStep) and step.groups != 1:
            return Refusal(f"{step.groups} groups; the filters of a layer share one patch")
        if fan_in(step) > MAX_FAN_IN:
            return Refusal(f"{fan_in(step)} weights per filter are above {MAX_FAN_IN}")
        return refuse_conv2d(step, program) if isinstance(step, BinaryConv2dStep) else None

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def output_layout(self, step: Step) -> Layout:
        return output_layout(step)

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        words = filter_words(step)
        if isinstance(step, BinaryDenseStep):
            shape = program.tensors[step.input].shape
            has_gaps = shape.channels % 32 != 0 and shape.height * shape.width > 1
            return 4 * words if has_gaps else 0
        return 4 * (1 + _patches(step) * words)

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:
        """``copied``, ``appended``: words of the patch, where pixels are whole words and where not; ``filter_*``:
        filters by their words (2, 9, pairs of 9, any); ``run_*``: groups of words of the loop that takes any."""
        shape = program.tensors[step.input].shape
        filters, words = len(step.weights), filter_words(step)
        if isinstance(step, BinaryConv2dStep):
            walk = visits(step, program)
            positions, border = walk.total, walk.border if _patches(step) == 2 else 0
            patches, height, pixels = positions + border, step.window.height, step.window.height * step.window.width
        else:
            positions, border, height, pixels = 1, 0, 1, shape.height * shape.width
            patches = 1 if self.scratch_bytes(step, program, target) else 0
        is_whole = shape.channels % 32 == 0
        gathered = patches * pixels * ((shape.channels + 31) // 32)
        if not isinstance(step.epilogue, Scale) and isinstance(step, BinaryConv2dStep) and is_pointwise(step, program):
            patches = gathered = height = 0
        # Sums take the loop for any number of words, and a patch that sees zero padding takes it twice.
        single = 0 if isinstance(step.epilogue, Scale) else (positions - border) * filters
        runs = (positions + border) * filters - single
        short = (single - single // filters * (filters % 32)) * (words == 2)
        short = single * (words == 2) if filters % 2 == 0 else short
        nine, pairs = (single * (words in counts) for counts in ((9,), PAIRS_OF_NINE))
        runs += single - short - nine - pairs
        return (
            CostTerm.always("call", 1),
            CostTerm.always("position", patches),
            CostTerm.always("window_row", patches * height if is_whole else 0),
            CostTerm.always("copied", gathered if is_whole else 0),
            CostTerm.always("appended", 0 if is_whole else gathered),
            CostTerm.always("lanes", positions * ((filters + 31) // 32)),
            CostTerm.always("filter_short", short),
            CostTerm.always("filter_nine", nine),
            CostTerm.always("filter_pairs", pairs),
            CostTerm.always("nine", nine + pairs * (words // 9)),
            CostTerm.always("filter_run", runs),
            CostTerm.always("run_nine", runs * (words // 9)),
            CostTerm.always("run_three", runs * (words % 9 // 3)),
            CostTerm.always("run_rest", runs * (words % 3 != 0)),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        weights = Table("weights", "uint32_t", packed_filters(step.weights))
        match step.epilogue:
            case Scale() as scale:
                return (weights, *scale_tables(scale))
            case Threshold() as threshold:
                taps = fan_in(step)
                limits = (taps + 1 - thresholds_within(threshold, taps)).astype(np.uint16)
                return (weights, Table("limits", "uint16_t", limits), *flip_tables(threshold))

    def view(
        self,
        step: Step,
        program: Program,
        target: Target,  # noqa: ARG002
        symbol: str,
        table_symbols: dict[str, str],
    ) -> LayerView:
        shape = program.tensors[step.input].shape
        if isinstance(step, BinaryDenseStep):
            kind = "dense"
            head: tuple[tuple[str, int], ...] = (
                ("pixels", shape.height * shape.width),
                ("channels", shape.channels),
            )
        else:
            assert isinstance(step, BinaryConv2dStep)  # accepts() refused everything else
            kind = "conv2d"
            output = program.tensors[step.output].shape
            head = (*shape_numbers(step, shape, output), ("pad_is_zero", _patches(step) - 1))
        ending = "scale" if isinstance(step.epilogue, Scale) else "bits"
        filters = (("count", len(step.weights)), ("words", filter_words(step)))
        compare = "NULL" if isinstance(step.epilogue, Scale) else f"picobnn_xnor_compare_{_loop(filter_words(step))}"
        pointers = (
            ("weights", table_symbols["weights"]),
            ("compare", compare),
            ("limits", table_symbols.get("limits", "NULL")),
            *epilogue_pointers(step, table_symbols),
        )
        return LayerView(
            symbol=symbol,
            c_type=f"picobnn_xnor_{kind}_layer",
            function=f"picobnn_xnor_{kind}_{ending}",
            numbers=(*head, *((f"filters.{name}", value) for name, value in filters)),
            pointers=tuple((f"filters.{name}", expression) for name, expression in pointers),
            limited=(("filters.taps", fan_in(step), "PICOBNN_XNOR_MAX_TAPS"),),
        )


def _loop(words: int) -> str:
    """Which of the kernel's loops takes filters of so many words."""
    if words in (2, 9):
        return str(words)
    if words < 9:
        return "few"
    return "18" if words % 18 == 0 else "any"


def _patches(step: Step) -> int:
    """Zero padding gathers the patch twice, with clear and with set padding bits."""
    assert isinstance(step, BinaryConv2dStep)
    return 2 if step.pad_mode is PadMode.ZERO and step.window.has_padding else 1


STRATEGY = XnorStrategy()
