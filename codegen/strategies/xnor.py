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
    flips_last,
    is_pointwise,
    is_ternary,
    output_layout,
    packed_filters,
    refuse_conv2d,
    refuse_skipped_pixels,
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
        if isinstance(step, BinaryDenseStep):
            return None
        return refuse_skipped_pixels(step, program) or refuse_conv2d(step, program)

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

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """Of the walk: ``output``, ``position``, or ``pointwise`` where each pixel is a patch; ``flipped``: words
        flipped behind a pool. Of patches: ``second``: those gathered again with set padding; where pixels are whole
        words ``window_row``, ``outside_row``: rows on the map and not, ``copied``, ``padded``: their words; where not
        ``gathered_row``, or ``map`` of a dense layer, ``gathered``: pixels, ``appended``: their further words,
        ``flushed``: words written.

        Of filters: ``lanes``: calls for up to 32; ``two``, ``nine``, ``pairs``, ``few``, ``run``: filters by the loop
        that takes them; ``pairs_nine`` and so on: its groups of words. ``border``: filters on patches that stand twice,
        ``border_lanes``: calls of these; ``sum``: filters that end in sums."""
        counts = _patch_counts(step, program) | _filter_counts(step, program)
        names = (
            *(
                "call",
                "pointwise",
                "output",
                "position",
                "flipped",
                "second",
                "window_row",
                "outside_row",
                "copied",
                "padded",
            ),
            *("map", "gathered_row", "gathered", "appended", "flushed"),
            *("lanes", "two", "nine", "pairs", "pairs_nine"),
            *("few", "few_three", "few_one", "few_two", "run", "run_nine", "run_three", "run_one", "run_two"),
            *("border", "border_lanes", "sum"),
        )
        assert counts.keys() <= {*names}
        return tuple(CostTerm.always(name, counts.get(name, 1 if name == "call" else 0)) for name in names)

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


def _patch_counts(step: Step, program: Program) -> dict[str, int]:
    """What the walk and the gathering of patches do."""
    shape = program.tensors[step.input].shape
    pixel_words, words = -(-shape.channels // 32), filter_words(step)
    if isinstance(step, BinaryDenseStep):
        pixels = shape.height * shape.width
        if pixels == 1 or shape.channels % 32 == 0:
            return {}
        return {
            "map": 1,
            "gathered": pixels,
            "appended": pixels * (pixel_words - 1),
            "flushed": words,
        }
    assert isinstance(step, BinaryConv2dStep)  # accepts() refused everything else
    if not isinstance(step.epilogue, Scale) and is_pointwise(step, program):
        return {"pointwise": shape.height * shape.width}
    walk, window = visits(step, program), step.window
    second = walk.border if _patches(step) == 2 else 0
    # Both copies of a patch gather the same: those away from the border lie on the map.
    patches, taps = walk.total + second, window.height * window.width
    away = walk.total - walk.border if second else 0
    counts = {"output": walk.outputs, "position": walk.total, "second": second}
    if step.pool is not None and flips_last(step):
        counts["flipped"] = walk.outputs * -(-len(step.weights) // 32)
    if shape.channels % 32:
        return counts | {
            "gathered_row": patches * window.height,
            "gathered": patches * taps,
            "appended": patches * taps * (pixel_words - 1),
            "flushed": patches * words,
        }
    copies = 2 if second else 1
    rows = copies * walk.rows - (copies - 1) * away * window.height
    pixels = copies * walk.pixels - (copies - 1) * away * taps
    return counts | {
        "window_row": rows,
        "outside_row": patches * window.height - rows,
        "copied": pixels * pixel_words,
        "padded": (patches * taps - pixels) * pixel_words,
    }


def _filter_counts(step: Step, program: Program) -> dict[str, int]:
    """What the loops over filters do."""
    filters, words = len(step.weights), filter_words(step)
    positions, border = 1, 0
    if isinstance(step, BinaryConv2dStep):
        walk = visits(step, program)
        positions, border = walk.total, walk.border if _patches(step) == 2 else 0
    if isinstance(step.epilogue, Scale):
        return {"sum": positions * filters} | _loop_counts("run", (positions + border) * filters, words)
    lanes, single = -(-filters // 32), positions - border
    counts = {"lanes": single * lanes, "border_lanes": border * lanes, "border": border * filters}
    loops = {"run": 2 * border * filters}
    match _loop(words):
        case "2":
            odd = filters % 32 if filters % 2 else 0
            counts["two"], loops["few"] = single * (filters - odd), single * odd
        case "9":
            counts["nine"] = single * filters
        case "18":
            counts["pairs"], counts["pairs_nine"] = single * filters, single * filters * (words // 9)
        case "few":
            loops["few"] = single * filters
        case _:
            loops["run"] += single * filters
    for loop, runs in loops.items():
        counts |= _loop_counts(loop, runs, words)
    return counts


def _loop_counts(loop: str, runs: int, words: int) -> dict[str, int]:
    """Groups of words of a loop that takes nine, three and what is left; ``few`` takes no nine."""
    nines, rest = divmod(words, 9) if loop == "run" else (0, words)
    nine = {f"{loop}_nine": runs * nines} if loop == "run" else {}
    return nine | {
        loop: runs,
        f"{loop}_three": runs * (rest // 3),
        f"{loop}_one": runs * (rest % 3 == 1),
        f"{loop}_two": runs * (rest % 3 == 2),
    }


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
