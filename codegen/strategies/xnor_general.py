# SPDX-License-Identifier: Apache-2.0
"""Strategy ``xnor_general``: packed words for weights of any two values, removed taps and groups.

``xnor`` with more to count: ``acc = (2**k + 2r) * M - 2**k * D - r * n`` over the n kept taps of a filter, D of which
differ from the patch and M of which are set in it. Flash: 1 bit per weight, 2 with removed taps, 4 bytes per threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, InputConv2dStep, Program, Step
from picobnn.codegen.strategies._common import (
    epilogue_pointers,
    fan_in,
    filter_words,
    flip_tables,
    output_layout,
    packed_filters,
    refuse_conv2d,
    shape_numbers,
    visits,
)
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import PadMode, Scale, Threshold, Window

MAX_FAN_IN = 32767
"""The kernel counts in 16-bit halves."""

MAX_SUM = 2**30
"""Sums and limits below it are less than 2**31 apart."""

RUNTIME_FILES = (
    "picobnn_conv2d.h",
    "picobnn_xnor_bits.h",
    "picobnn_xnor_count.h",
    "picobnn_xnor_general.h",
    "picobnn_xnor_general.c",
)


@dataclass(frozen=True, slots=True)
class XnorGeneralStrategy:
    """See the module."""

    name: str = "xnor_general"
    header: str = "picobnn_xnor_general.h"
    packed_weights: bool = True
    input_independent: bool = True

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:  # noqa: ARG002
        if isinstance(step, InputConv2dStep):
            return Refusal("the input is 8-bit, not binary")
        if fan_in(step) > MAX_FAN_IN:
            return Refusal(f"{fan_in(step)} weights per filter are above {MAX_FAN_IN}")
        conv = _as_conv2d(step, program)
        if _patches(conv) * _largest_sum(conv) >= MAX_SUM:
            return Refusal(f"sums of {fan_in(step)} weights of {max(map(abs, step.domain.values))} may need 32 bits")
        return refuse_conv2d(conv, program)

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def output_layout(self, step: Step) -> Layout:
        return output_layout(step)

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        conv = _as_conv2d(step, program)
        return 4 * (1 + _patches(conv) * conv.groups * filter_words(conv))

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """Copies of a patch count where zero padding needs two. ``position``: copies of patches; ``pixel``, ``piece``:
        pixels of groups under the window and the words they are read from; ``group``: groups of patches; ``filter``:
        filters; ``run_*``: counts by groups of words; ``kept_*``: counts with removed taps, and of set bits."""
        conv = _as_conv2d(step, program)
        walk = visits(conv, program)
        copies = walk.total + (walk.border if _patches(conv) == 2 else 0)
        words, filters = filter_words(conv), len(conv.weights)
        pixels = copies * conv.groups * conv.window.height * conv.window.width
        channels = conv.weights.shape[3]
        balanced = sum(conv.domain.values) == 0
        once = 0 if balanced or conv.kept is not None else copies * conv.groups
        masked = (1 if balanced else 2) * copies * filters if conv.kept is not None else 0
        plain = 0 if conv.kept is not None else copies * filters
        masked += once  # set bits of a patch are counted by the loop with a mask
        return (
            CostTerm.always("call", 1),
            CostTerm.always("position", copies),
            CostTerm.always("pixel", pixels),
            CostTerm.always("piece", pixels * -(-channels // 32)),
            CostTerm.always("group", copies * conv.groups),
            CostTerm.always("filter", walk.total * filters),
            CostTerm.always("run_call", plain),
            CostTerm.always("run_nine", plain * (words // 9)),
            CostTerm.always("run_three", plain * (words % 9 // 3)),
            CostTerm.always("run_rest", plain * (words % 3 != 0)),
            CostTerm.always("kept_call", masked),
            CostTerm.always("kept_word", masked * words),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        assert not isinstance(step, InputConv2dStep)  # accepts() refused it
        conv = _as_conv2d(step, program)
        tables = [Table("weights", "uint32_t", packed_filters(conv.weights))]
        if conv.kept is not None:
            tables.append(Table("kept", "uint32_t", packed_filters(conv.kept)))
        added = conv.domain.ratio * _kept_taps(conv)  # the kernel's sums are acc + ratio * kept taps
        match conv.epilogue:
            case Scale() as scale:
                multiplier = scale.multiplier.astype(np.int64)
                biases = scale.bias - added * multiplier
                tables.append(Table("multipliers", "int32_t", scale.multiplier.astype(np.int32)))
                tables.append(Table("biases", "int32_t", biases.astype(np.uint32).view(np.int32)))
            case Threshold() as threshold:
                largest = _largest_sum(conv)
                limits = np.clip(threshold.thresholds + added, -largest, largest + 1)
                tables += [Table("limits", "int32_t", limits.astype(np.int32)), *flip_tables(threshold)]
        return tuple(tables)

    def view(
        self,
        step: Step,
        program: Program,
        target: Target,  # noqa: ARG002
        symbol: str,
        table_symbols: dict[str, str],
    ) -> LayerView:
        conv = _as_conv2d(step, program)
        shape, output = program.tensors[step.input].shape, program.tensors[step.output].shape
        filters = {
            "groups": conv.groups,
            "per_group": len(conv.weights) // conv.groups,
            "channels": conv.weights.shape[3],
            "words": filter_words(conv),
            "shift": conv.domain.shift,
            "balance": sum(conv.domain.values) % 2**32,
        }
        pointers = (
            ("weights", table_symbols["weights"]),
            ("kept", table_symbols.get("kept", "NULL")),
            ("limits", table_symbols.get("limits", "NULL")),
            *epilogue_pointers(step, table_symbols),
        )
        return LayerView(
            symbol=symbol,
            c_type="picobnn_xnor_general_layer",
            function="picobnn_xnor_general",
            numbers=(
                *shape_numbers(conv, shape, output),
                ("pad_is_zero", _patches(conv) - 1),
                *((f"filters.{name}", value) for name, value in filters.items()),
            ),
            pointers=tuple((f"filters.{name}", expression) for name, expression in pointers),
            limited=(("filters.taps", fan_in(step), "PICOBNN_XNOR_GENERAL_MAX_TAPS"),),
        )


def _as_conv2d(step: Step, program: Program) -> BinaryConv2dStep:
    """A dense layer is a convolution whose window is the map."""
    if isinstance(step, BinaryConv2dStep):
        return step
    assert not isinstance(step, InputConv2dStep)  # accepts() refused it
    shape = program.tensors[step.input].shape
    return BinaryConv2dStep(
        step.name,
        step.source,
        step.input,
        step.output,
        step.weights,
        Window(shape.height, shape.width),
        PadMode.MINUS_ONE,
        None,
        step.epilogue,
        step.domain,
        1,
        step.kept,
    )


def _patches(conv: BinaryConv2dStep) -> int:
    """Zero padding gathers the patch twice, with clear and with set padding bits."""
    return 2 if conv.pad_mode is PadMode.ZERO and conv.window.has_padding else 1


def _largest_sum(conv: BinaryConv2dStep) -> int:
    """Above the magnitude of every sum of the kernel, ``(2**k + 2r) * M - 2**k * D``."""
    return fan_in(conv) * (abs(sum(conv.domain.values)) + (1 << conv.domain.shift))


def _kept_taps(conv: BinaryConv2dStep) -> npt.NDArray[np.int64]:
    """Per filter, int64 (O,)."""
    kept = np.ones_like(conv.weights) if conv.kept is None else conv.kept
    counts: npt.NDArray[np.int64] = kept.reshape(len(kept), -1).sum(axis=1, dtype=np.int64)
    return counts


STRATEGY = XnorGeneralStrategy()
