# SPDX-License-Identifier: Apache-2.0
"""Strategy ``planes_mve``: binary convolutions on cores with vectors, 128 lanes at a time.

The method is that of ``planes``. A vector is 128 pixels of one filter, or 64 pixels of two filters where a map has no
128. Flash: lists of 16-bit offsets, about 7.7 bits per weight, and per filter and class of border 2 bytes per bit of a
counter (half of that with two filters). Scratch: 16 or 8 bytes per tap, with strides the input once more, with a pool
the map before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picobnn.codegen.pack import pack_words
from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, Program, Step
from picobnn.codegen.strategies._common import fan_in, is_ternary, shape_numbers
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.strategies._planes_common import map_scratch_bytes, phases_function, refuse_gather, split_flips
from picobnn.codegen.strategies._planes_costs import LANES, class_counts, map_counts
from picobnn.codegen.strategies._planes_mve_tables import (
    GROUP,
    MAX_WORDS,
    PADDING_CARRIES,
    PARTS,
    Form,
    block_words,
    form_of,
    unit_tables,
)
from picobnn.codegen.strategies._planes_tables import MAX_COUNTER_BITS, counter_bits, tap_classes
from picobnn.codegen.strategies.planes import RUNTIME_FILES as SCALAR_FILES
from picobnn.codegen.targets import InstructionSet, Target
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, Shape

RUNTIME_FILES = (
    *SCALAR_FILES,
    "picobnn_mve_adders.S",
    "picobnn_planes_mve.h",
    "picobnn_planes_mve.c",
    "picobnn_planes_mve_block.h",
    "picobnn_planes_mve_block.c",
    "picobnn_planes_mve_core.c",
    "picobnn_planes_mve.S",
)


@dataclass(frozen=True, slots=True)
class PlanesMveStrategy:
    """See the module."""

    name: str = "planes_mve"
    header: str = "picobnn_planes_mve.h"
    packed_weights: bool = False
    input_independent: bool = True

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:
        if isinstance(step, BinaryConv2dStep) and target.isa is not InstructionSet.MVE:
            return Refusal("the core has no vectors")
        refusal = refuse_gather(step, program, target)
        if refusal is not None:
            return refusal
        assert isinstance(step, BinaryConv2dStep)
        if step.domain != PLUS_MINUS_ONE:
            return Refusal("only weights of -1 and +1 are selected as lists")
        if is_ternary(step):
            return Refusal("some weights are removed; only whole filters are selected as lists")
        if counter_bits(fan_in(step)) > MAX_COUNTER_BITS or block_words(step) > MAX_WORDS:
            return Refusal(f"{fan_in(step)} weights per filter need more than {MAX_WORDS} words")
        return None

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.PIXEL_PLANES

    def output_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.PIXEL_PLANES

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        assert isinstance(step, BinaryConv2dStep)  # accepts() refused everything else
        shape = program.tensors[step.input].shape
        words, parts = block_words(step), form_of(step, shape).parts
        counted = words + _round_up(words // 16, 16)
        classes = min(len(tap_classes(step, shape).inside), 32 * parts)
        size = 4 * (words * parts + max(counted, PARTS * _carry_vectors(step, shape)) + 5 * classes)
        return size + map_scratch_bytes(step, program)

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """Those of ``map_counts``, of which those of the words only where a block does not lie in one piece, with
        ``moved``: words put in place. Where it does: ``block``; ``column``, ``tap``: columns of the window and taps
        placed; ``vector_run``, ``vector``: taps gathered by vectors and these, ``single``: words gathered one by one.
        Per block ``counted``: groups of 8 vectors counted, those of carries included; ``unit``; ``group_1``,
        ``group_2``: groups of 8 additions of one and of two filters; ``carries``: eights of carries; ``class``: classes
        compared, ``compared``: and their bits."""
        assert isinstance(step, BinaryConv2dStep)
        shape = program.tensors[step.input].shape
        form, made = form_of(step, shape), unit_tables(step, shape, split_flips(step)[0])
        counts, gathered = map_counts(step, program), _vector_counts(step, shape, form)
        blocks, units = form.blocks(_map_pixels(step, shape)), form.units(len(step.weights))
        moved = 0 if gathered else blocks * form.parts * block_words(step)
        vectors = block_words(step) // form.filters
        counted = 0
        while vectors > 1:
            vectors = -(-vectors // 8)
            counted += vectors
        compares = class_counts(step, shape, LANES * form.parts)[0] or blocks
        added = blocks * int(made.groups.sum())
        return (
            CostTerm.always("call", 1),
            *(
                CostTerm.always(term.name, 0 if gathered else term.mean)
                for term in counts.gathered
                if term.name not in WHOLE
            ),
            CostTerm.always("moved", moved),
            CostTerm.always("vector_block", blocks if gathered else 0),
            *(CostTerm.always(name, gathered.get(name, 0)) for name in VECTOR_TERMS),
            *counts.around,
            CostTerm.always("counted", blocks * counted),
            CostTerm.always("unit", blocks * units),
            CostTerm.always("group_1", added if form.filters == 1 else 0),
            CostTerm.always("group_2", added if form.filters == 2 else 0),
            CostTerm.always("carries", blocks * int((-(-made.groups // GROUP)).sum())),
            CostTerm.always("class", units * compares),
            CostTerm.always("compared", units * compares * counter_bits(fan_in(step))),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        assert isinstance(step, BinaryConv2dStep)
        shape = program.tensors[step.input].shape
        early, late = split_flips(step)
        classes, made = tap_classes(step, shape), unit_tables(step, shape, early)
        tables = [Table("lists", "uint32_t", made.lists), Table("limits", "uint16_t", made.limits)]
        if len(classes.inside) > 1:
            tables += [
                Table("row_classes", "uint8_t", classes.rows.astype(np.uint8)),
                Table("column_classes", "uint8_t", classes.columns.astype(np.uint8)),
            ]
        if late.any():
            tables.append(Table("flips", "uint32_t", pack_words(late)))
        return tuple(tables)

    def view(
        self,
        step: Step,
        program: Program,
        target: Target,  # noqa: ARG002
        symbol: str,
        table_symbols: dict[str, str],
    ) -> LayerView:
        assert isinstance(step, BinaryConv2dStep)
        shape = program.tensors[step.input].shape
        parts = form_of(step, shape).parts
        pointers = {
            "phases": phases_function(step),
            "core": f"picobnn_planes_mve_{32 * parts}",
            "lists": table_symbols["lists"],
            "limits": table_symbols["limits"],
            "row_classes": table_symbols.get("row_classes", "NULL"),
            "column_classes": table_symbols.get("column_classes", "NULL"),
            "final_flips": table_symbols.get("flips", "NULL"),
        }
        return LayerView(
            symbol=symbol,
            c_type="picobnn_planes_mve_conv2d_layer",
            function="picobnn_planes_mve_conv2d_bits",
            numbers=(
                *shape_numbers(step, shape, program.tensors[step.output].shape),
                ("count", len(step.weights)),
                ("carry_vectors", _carry_vectors(step, shape)),
                ("parts", parts),
                ("bits", counter_bits(fan_in(step))),
                ("classes", len(tap_classes(step, shape).inside)),
            ),
            pointers=tuple(pointers.items()),
            limited=(("words", block_words(step), "PICOBNN_PLANES_MVE_MAX_WORDS"),),
        )


WHOLE = ("run", "word")
"""Of ``map_counts``: what the vectors do here."""
VECTOR_TERMS = ("vector_column", "vector_tap", "vector_run", "vector", "single")


def _vector_counts(step: BinaryConv2dStep, shape: Shape, form: Form) -> dict[str, int]:
    """Of blocks that lie in one piece; elsewhere nothing. Vectors are read past the ends of a plane, but not past those
    of the planes together: channels at both ends are gathered word by word (``picobnn_planes_mve_block.c``)."""
    window = step.window
    rows, columns = window.output_size(shape.height, shape.width)
    if columns != -(-shape.width // window.stride_x):
        return {}
    plane_words = -(-(-(-shape.height // window.stride_y) * columns) // 32)
    begins = LANES * form.parts * np.arange(form.blocks(rows * columns))
    shift_y, shift_x = (
        (np.arange(taps) - pad) // stride
        for taps, pad, stride in (
            (window.height, window.pad_top, window.stride_y),
            (window.width, window.pad_left, window.stride_x),
        )
    )
    low = (begins[:, None, None] + shift_y[:, None] * columns + shift_x) // 32
    channels = shape.channels
    first = np.where(low < 0, -(low // plane_words), 0)
    behind = channels * plane_words - low - form.parts
    end = np.minimum(np.maximum(-(-behind // plane_words), 0), channels)
    first = np.minimum(first, end)
    runs = (end - first) // form.filters
    return {
        "vector_column": len(begins) * window.width,
        "vector_tap": low.size,
        "vector_run": int((runs > 0).sum()),
        "vector": int(runs.sum()),
        "single": form.parts * int((channels - runs * form.filters).sum()),
    }


def _map_pixels(step: BinaryConv2dStep, shape: Shape) -> int:
    rows, columns = step.window.output_size(shape.height, shape.width)
    return rows * columns


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _carry_vectors(step: BinaryConv2dStep, shape: Shape) -> int:
    """One per group of the longest list, and what fills them up to a multiple of 8 behind the one that is none."""
    return int(unit_tables(step, shape, split_flips(step)[0]).groups.max()) + PADDING_CARRIES


STRATEGY = PlanesMveStrategy()
