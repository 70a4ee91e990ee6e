# SPDX-License-Identifier: Apache-2.0
"""The forms of ``planes`` whose lists hold 16-bit offsets: in flash, or made in RAM, where one list serves many blocks.

Scratch: per block 12 words, one word per tap and the carries, with removed weights twice the taps, with zero padding
65 words more at most; with lists in RAM as many blocks as ``BLOCKS_BYTES`` hold, and the longest list; with strides
the input once more, with a pool the map before it. Used by the modules of the three forms only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from picobnn.codegen.pack import pack_words
from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, Program, Step
from picobnn.codegen.strategies._common import fan_in, is_ternary, shape_numbers
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.strategies._lists_tables import (
    CORE_BITS,
    GROUP,
    HALF_GROUP,
    LIMIT_BITS,
    MAX_GROUPS,
    MAX_OFFSET,
    MAX_SHIFT,
    FilterLists,
    filter_lists,
    gap_codes,
    listed_words,
    low_bits_of,
)
from picobnn.codegen.strategies._planes_common import map_scratch_bytes, phases_function, refuse_gather, split_flips
from picobnn.codegen.strategies._planes_costs import counted_groups, map_counts
from picobnn.codegen.strategies._planes_tables import tap_classes
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE

BLOCKS_BYTES = 16384
"""RAM for the blocks that one list in RAM serves; at least one block, whatever its size."""
START_WORDS = 12
CLASSES_PER_BLOCK = 32
MAX_TAPS = 4096


class ListSource(Enum):
    """Where lists come from; the values are the C functions that run them."""

    LISTED = "picobnn_planes_sparse"
    PACKED = "picobnn_planes_packed"
    CODED = "picobnn_planes_coded"


@dataclass(frozen=True, slots=True)
class ListsStrategy:
    """One form; see the modules."""

    name: str
    source: ListSource
    header: str = "picobnn_planes_lists.h"
    input_independent: bool = True

    @property
    def packed_weights(self) -> bool:
        return self.source is not ListSource.LISTED

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return (
            "picobnn_adders.h",
            "picobnn_adders_v7m.h",
            "picobnn_conv2d.h",
            "picobnn_planes.h",
            "picobnn_planes_adders_v7m.S",
            "picobnn_planes_block.c",
            "picobnn_planes_core.c",
            "picobnn_planes_gather.c",
            "picobnn_planes_gather_v7m.S",
            "picobnn_planes_lists.c",
            "picobnn_planes_lists.h",
            "picobnn_planes_lists_core.c",
            "picobnn_planes_lists_v7m.S",
            "picobnn_planes_map.h",
            "picobnn_planes_pool.c",
            f"{self.source.value}.c",
            *((f"{self.source.value}_v7m.S",) if self.packed_weights else ()),
        )

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:
        refusal = refuse_gather(step, program, target)
        if refusal is not None:
            return refusal
        assert isinstance(step, BinaryConv2dStep)
        if step.domain.shift > MAX_SHIFT:
            return Refusal(f"weights have {step.domain.shift} fractional bits, above {MAX_SHIFT}")
        if is_ternary(step) and step.domain.ratio != 0:
            if step.domain != PLUS_MINUS_ONE:
                return Refusal("removed weights leave the counters of two values without a common start")
            if self.source is ListSource.PACKED:
                return Refusal("some weights are removed; only whole filters are expanded")
        if fan_in(step) > MAX_TAPS:
            return Refusal(f"{fan_in(step)} weights per filter are above {MAX_TAPS}")
        lists = _lists(step, program)
        if lists.counter_bits > CORE_BITS[-1] or lists.counter_bits + lists.form.shift > LIMIT_BITS:
            return Refusal(f"counters need {lists.counter_bits} bits above {lists.form.shift} fractional ones")
        if 4 * lists.block_words > MAX_OFFSET:
            return Refusal(f"{lists.block_words} words per block are beyond 16-bit offsets")
        if -(-int(lists.half_groups.max()) // 2) > MAX_GROUPS:
            return Refusal(f"a filter's list has more than {MAX_GROUPS} groups")
        return None

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.PIXEL_PLANES

    def output_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.PIXEL_PLANES

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        assert isinstance(step, BinaryConv2dStep)  # accepts() refused everything else
        carries = -(-fan_in(step) // GROUP**2) * GROUP
        records = self._blocks(step, program) * self._record_words(step, program)
        words = self._list_words(step, program) + carries + records
        return 4 * words + map_scratch_bytes(step, program)

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """Those of ``map_counts``; per block: ``counted``, ``cleared``: as of ``planes``; ``complement``: words
        inverted; ``product``: bits of the ratio multiplied, ``start``: carries formed, by their bits. Per block and
        filter: ``filter``, ``bordered``, ``plane``, ``group``, ``half_group``, ``compare``, ``compared_plane``: as of
        ``planes``. Per list made in RAM: ``list``; ``source_word``: words of bits or half-words of codes read;
        ``entry``: entries written, ``filled``: those that fill up a list."""
        assert isinstance(step, BinaryConv2dStep)
        lists, counts, filters = _lists(step, program), map_counts(step, program), len(step.weights)
        blocks, taps, form = counts.blocks, fan_in(step), lists.form
        counted, cleared = counted_groups(-(-taps // GROUP)) if form.ratio else (0, 0)
        planes = lists.counter_bits - CORE_BITS[0]
        made = 0 if self.source is ListSource.LISTED else -(-blocks // self._blocks(step, program))
        return (
            CostTerm.always("call", 1),
            *counts.terms,
            CostTerm.always("counted", blocks * counted),
            CostTerm.always("cleared", blocks * cleared),
            CostTerm.always("complement", blocks * taps if form.has_complement else 0),
            CostTerm.always("product", blocks * abs(form.ratio).bit_count()),
            CostTerm.always("start", blocks * form.shift << form.shift),
            CostTerm.always("filter", 0 if counts.compares else blocks * filters),
            CostTerm.always("bordered", blocks * filters if counts.compares else 0),
            CostTerm.always("plane", blocks * filters * planes),
            CostTerm.always("group", blocks * int((lists.half_groups // 2).sum())),
            CostTerm.always("half_group", blocks * int((lists.half_groups % 2).sum())),
            CostTerm.always("compare", filters * counts.compares),
            CostTerm.always("compared_plane", filters * counts.compares * planes),
            CostTerm.always("list", made * filters),
            CostTerm.always("source_word", made * self._source_words(step, lists)),
            CostTerm.always("entry", made * int(lists.lengths.sum())),
            CostTerm.always("filled", made * int((-lists.lengths % HALF_GROUP).sum())),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        assert isinstance(step, BinaryConv2dStep)
        lists, late = _lists(step, program), split_flips(step)[1]
        classes = tap_classes(step, program.tensors[step.input].shape)
        has_classes = len(classes.inside) > 1
        limits = Table("limits", "uint16_t", lists.limits.reshape(-1).astype(np.uint16))
        match self.source:
            case ListSource.LISTED:
                tables = [Table("lists", "uint32_t", listed_words(lists, has_classes))]
                tables += [limits] if has_classes else []
            case ListSource.PACKED:
                tables = [Table("bits", "uint32_t", pack_words(lists.added).reshape(-1)), limits]
            case ListSource.CODED:
                tables = [
                    Table("codes", "uint16_t", gap_codes(lists, low_bits_of(lists))),
                    Table("counts", "uint16_t", lists.lengths.astype(np.uint16)),
                    limits,
                ]
        if has_classes:
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
        lists, shape = _lists(step, program), program.tensors[step.input].shape
        classes = len(tap_classes(step, shape).inside)
        kind = "core" if classes == 1 else "classes"
        pointers = {
            "phases": phases_function(step),
            "core": f"picobnn_planes_lists_{kind}_{lists.counter_bits}",
            "run": self.source.value,
            "lists": table_symbols.get("lists", table_symbols.get("bits", "NULL")),
            "counts": table_symbols.get("counts", "NULL"),
            "codes": table_symbols.get("codes", "NULL"),
            "limits": table_symbols.get("limits", "NULL"),
            "row_classes": table_symbols.get("row_classes", "NULL"),
            "column_classes": table_symbols.get("column_classes", "NULL"),
            "final_flips": table_symbols.get("flips", "NULL"),
        }
        return LayerView(
            symbol=symbol,
            c_type="picobnn_planes_lists_layer",
            function="picobnn_planes_lists_conv2d_bits",
            numbers=(
                *shape_numbers(step, shape, program.tensors[step.output].shape),
                ("count", len(step.weights)),
                ("taps", fan_in(step)),
                ("ratio", abs(lists.form.ratio)),
                ("is_negative", int(lists.form.ratio < 0)),
                ("has_complement", int(lists.form.has_complement)),
                ("blocks", self._blocks(step, program)),
                ("record_words", self._record_words(step, program)),
                ("list_words", self._list_words(step, program)),
                ("low_bits", low_bits_of(lists) if self.source is ListSource.CODED else 0),
                ("classes", classes),
            ),
            pointers=tuple(pointers.items()),
            limited=(("shift", lists.form.shift, "PICOBNN_PLANES_LISTS_MAX_SHIFT"),),
        )

    def _source_words(self, step: BinaryConv2dStep, lists: FilterLists) -> int:
        """Words of bits, or half-words of codes, of all filters."""
        match self.source:
            case ListSource.LISTED:
                return 0
            case ListSource.PACKED:
                return len(step.weights) * -(-fan_in(step) // 32)
            case ListSource.CODED:
                return len(gap_codes(lists, low_bits_of(lists)))

    def _record_words(self, step: BinaryConv2dStep, program: Program) -> int:
        classes = len(tap_classes(step, program.tensors[step.input].shape).inside)
        class_words = 1 + 2 * min(CLASSES_PER_BLOCK, classes) if classes > 1 else 0
        return class_words + START_WORDS + _lists(step, program).block_words

    def _blocks(self, step: BinaryConv2dStep, program: Program) -> int:
        """Blocks at once: all of them in as few equal parts as the RAM allows; one where lists lie in flash."""
        if self.source is ListSource.LISTED:
            return 1
        blocks = map_counts(step, program).blocks
        most = max(1, BLOCKS_BYTES // (4 * self._record_words(step, program)))
        return -(-blocks // -(-blocks // most))

    def _list_words(self, step: BinaryConv2dStep, program: Program) -> int:
        """Head, entries in pairs, constant."""
        if self.source is ListSource.LISTED:
            return 0
        return 2 + HALF_GROUP * int(_lists(step, program).half_groups.max()) // 2


def _lists(step: BinaryConv2dStep, program: Program) -> FilterLists:
    return filter_lists(step, program.tensors[step.input].shape, split_flips(step)[0].tobytes())
