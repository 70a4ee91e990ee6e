# SPDX-License-Identifier: Apache-2.0
"""Strategy ``planes``: binary convolutions, 32 output pixels at a time, adding only the words that a filter selects.

Maps are pixel planes. Per 32 output pixels the kernel gathers one word per tap, counts them once, and then adds per
filter the words whose weight bit is set, or those whose bit is clear where they are fewer; which ones stands in flash
as a list of bytes. Flash: about 3.9 bits per weight and 8 bytes per filter, with zero padding 2 bytes more per filter
and class of border. Scratch: one word per tap, with strides the input once more, with a pool the map before it.
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
from picobnn.codegen.strategies._planes_costs import counted_groups, map_counts
from picobnn.codegen.strategies._planes_tables import (
    GROUP,
    MAX_COUNTER_BITS,
    MAX_GROUPS,
    MAX_WORDS,
    MIN_COUNTER_BITS,
    block_words,
    counter_bits,
    filter_tables,
    tap_classes,
)
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE

RUNTIME_FILES = (
    "picobnn_adders.h",
    "picobnn_adders_v7m.h",
    "picobnn_conv2d.h",
    "picobnn_planes.h",
    "picobnn_planes.c",
    "picobnn_planes_adders_v7m.S",
    "picobnn_planes_block.c",
    "picobnn_planes_bytes_v7m.S",
    "picobnn_planes_core.c",
    "picobnn_planes_gather.c",
    "picobnn_planes_gather_v7m.S",
    "picobnn_planes_map.h",
    "picobnn_planes_pool.c",
    "picobnn_planes_v7m.S",
)


@dataclass(frozen=True, slots=True)
class PlanesStrategy:
    """See the module."""

    name: str = "planes"
    header: str = "picobnn_planes.h"
    packed_weights: bool = False
    input_independent: bool = True

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:
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
        shape = program.tensors[step.input].shape
        if filter_tables(step, shape, split_flips(step)[0]).groups > MAX_GROUPS:
            return Refusal(f"a filter's list has more than {MAX_GROUPS} groups")
        return None

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.PIXEL_PLANES

    def output_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.PIXEL_PLANES

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        assert isinstance(step, BinaryConv2dStep)  # accepts() refused everything else
        words = block_words(step)
        return 4 * (words + -(-words // GROUP**2) * GROUP) + map_scratch_bytes(step, program)

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """Those of ``map_counts``; per block of 32 pixels: ``counted``: groups of 16 words counted, those of carries
        included, ``cleared``: carries that fill up groups. Per block and filter: ``filter``, or ``bordered`` with
        classes of border, and ``plane``, their bits per counter above the least; ``group``, ``half_group``: groups of
        16 and 8 words added; ``compare``, ``compared_plane``: classes compared, and their bits above the least."""
        assert isinstance(step, BinaryConv2dStep)
        heads = filter_tables(step, program.tensors[step.input].shape, split_flips(step)[0]).filters
        groups = heads.reshape(-1, 2).astype(np.int64)
        counts, filters = map_counts(step, program), len(step.weights)
        blocks, planes = counts.blocks, counter_bits(fan_in(step)) - MIN_COUNTER_BITS
        counted, cleared = counted_groups(block_words(step) // GROUP)
        return (
            CostTerm.always("call", 1),
            *counts.terms,
            CostTerm.always("counted", blocks * counted),
            CostTerm.always("cleared", blocks * cleared),
            CostTerm.always("filter", 0 if counts.compares else blocks * filters),
            CostTerm.always("bordered", blocks * filters if counts.compares else 0),
            CostTerm.always("plane", blocks * filters * planes),
            CostTerm.always("group", blocks * int(((groups[:, 0] >> 24) + 1).sum())),
            CostTerm.always("half_group", blocks * int((groups[:, 1] >> 15 & 1).sum())),
            CostTerm.always("compare", filters * counts.compares),
            CostTerm.always("compared_plane", filters * counts.compares * planes),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        assert isinstance(step, BinaryConv2dStep)
        shape = program.tensors[step.input].shape
        early, late = split_flips(step)
        classes = tap_classes(step, shape)
        made = filter_tables(step, shape, early)
        tables = [Table("filters", "uint32_t", made.filters), Table("lists", "uint8_t", made.lists)]
        if len(classes.inside) > 1:
            tables += [
                Table("limits", "uint16_t", made.limits),
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
        classes = len(tap_classes(step, shape).inside)
        kind = "core" if classes == 1 else "classes"
        pointers = {
            "phases": phases_function(step),
            "core": f"picobnn_planes_{kind}_{counter_bits(fan_in(step))}",
            "filters": table_symbols["filters"],
            "lists": table_symbols["lists"],
            "limits": table_symbols.get("limits", "NULL"),
            "row_classes": table_symbols.get("row_classes", "NULL"),
            "column_classes": table_symbols.get("column_classes", "NULL"),
            "final_flips": table_symbols.get("flips", "NULL"),
        }
        return LayerView(
            symbol=symbol,
            c_type="picobnn_planes_conv2d_layer",
            function="picobnn_planes_conv2d_bits",
            numbers=(
                *shape_numbers(step, shape, program.tensors[step.output].shape),
                ("count", len(step.weights)),
                ("classes", classes),
            ),
            pointers=tuple(pointers.items()),
            limited=(("words", block_words(step), "PICOBNN_PLANES_MAX_WORDS"),),
        )


STRATEGY = PlanesStrategy()
