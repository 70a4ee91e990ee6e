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
    flips_last,
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
        """Of the walk: ``output``, ``position``, ``flipped``: words flipped behind a pool. Of patches, their copies
        with zero padding included: ``group``: runs gathered, ``gathered_row``, ``pixel``, ``piece``: words they are
        read from, ``flushed``: words written. ``lanes``: calls for up to 32 filters; ``filter``, ``kept_filter``:
        filters of the loops for one copy, with removed taps; ``sum``: filters counted copy by copy; ``differing``,
        ``kept``, ``set``: counts. The groups of words of these loops: ``filter_nine`` and so on, ``differing_nine``,
        and with removed taps ``kept_nine``; ``filter_mixed``, ``differing_mixed``: counts of nine words and fewer."""
        conv = _as_conv2d(step, program)
        walk, counts = visits(conv, program), _count_calls(conv, program)
        second = walk.border if _patches(conv) == 2 else 0
        copies, words, channels = walk.total + second, filter_words(conv), conv.weights.shape[3]
        gathers, rows = copies * conv.groups, conv.window.height
        pieces = sum(-(-(first % 32 + channels) // 32) for first in range(0, conv.groups * channels, channels))
        kept = counts["kept_filter"] + counts["kept"] + counts["set"]
        has_limits = not isinstance(conv.epilogue, Scale)
        flipped = walk.outputs * -(-len(conv.weights) // 32) if flips_last(conv) else 0
        return (
            CostTerm.always("call", 1),
            CostTerm.always("output", walk.outputs),
            CostTerm.always("position", walk.total),
            CostTerm.always("flipped", flipped),
            CostTerm.always("group", gathers),
            CostTerm.always("gathered_row", gathers * rows),
            CostTerm.always("pixel", gathers * rows * conv.window.width),
            CostTerm.always("piece", copies * rows * conv.window.width * pieces),
            CostTerm.always("flushed", gathers * words),
            CostTerm.always("lanes", walk.total * _lane_calls(conv) if has_limits else 0),
            *(CostTerm.always(name, count) for name, count in counts.items()),
            *_word_terms("filter", counts["filter"], words),
            *_word_terms("differing", counts["differing"], words),
            *_word_terms("kept", kept, words)[1:],
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


def _count_calls(step: BinaryConv2dStep, program: Program) -> dict[str, int]:
    """Filters by the way they are counted, and the counts of those that are counted copy by copy."""
    walk, filters = visits(step, program), len(step.weights)
    border = walk.border if _patches(step) == 2 else 0
    is_balanced, has_removed = sum(step.domain.values) == 0, step.kept is not None
    away = 0 if isinstance(step.epilogue, Scale) else (walk.total - border) * filters
    one_by_one = walk.total * filters - (0 if has_removed and not is_balanced else away)
    copies = one_by_one + border * filters
    set_groups = 0 if is_balanced or has_removed else (walk.total + border) * step.groups
    return {
        "filter": 0 if has_removed else away,
        "kept_filter": away if has_removed and is_balanced else 0,
        "sum": one_by_one,
        "differing": 0 if has_removed else copies,
        "kept": copies if has_removed else 0,
        "set": copies if has_removed and not is_balanced else set_groups,
    }


def _lane_calls(step: BinaryConv2dStep) -> int:
    """Per position: a call ends with the group or where a word of results is full."""
    per_group = len(step.weights) // step.groups
    return sum(-(-(first + per_group) // 32) - first // 32 for first in range(0, step.groups * per_group, per_group))


def _word_terms(name: str, counts: int, words: int) -> tuple[CostTerm, ...]:
    nines, rest = divmod(words, 9)
    return (
        CostTerm.always(f"{name}_mixed", counts * (nines > 0 and rest > 0)),
        CostTerm.always(f"{name}_nine", counts * nines),
        CostTerm.always(f"{name}_three", counts * (rest // 3)),
        CostTerm.always(f"{name}_one", counts * (rest % 3 == 1)),
        CostTerm.always(f"{name}_two", counts * (rest % 3 == 2)),
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
