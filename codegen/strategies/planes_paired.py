# SPDX-License-Identifier: Apache-2.0
"""Strategy ``planes_paired``: ``planes`` with two filters at a time, which add the words that they share once.

A quarter of the words falls away altogether (those that neither of the two adds), a quarter is added once for both:
0.36 words per weight instead of 0.48. Flash: about 3 bits per weight and 16 bytes per filter, with zero padding 2 bytes
more per filter and class of border. Scratch as ``planes``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, Program, Step
from picobnn.codegen.strategies import planes
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.strategies._planes_common import split_flips
from picobnn.codegen.strategies._planes_paired_tables import PairedTables, paired_tables
from picobnn.codegen.strategies._planes_tables import MAX_GROUPS
from picobnn.codegen.targets import Target

RUNTIME_FILES = (
    "picobnn_planes_paired.h",
    "picobnn_planes_paired.c",
    "picobnn_planes_paired_v7m.S",
)


@dataclass(frozen=True, slots=True)
class PlanesPairedStrategy:
    """See the module."""

    name: str = "planes_paired"
    header: str = "picobnn_planes_paired.h"
    packed_weights: bool = False
    input_independent: bool = True

    def runtime_files(self, target: Target) -> tuple[str, ...]:
        return (*planes.STRATEGY.runtime_files(target), *RUNTIME_FILES)

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:
        refusal = planes.STRATEGY.accepts(step, program, target)
        if refusal is None and _tables(step, program).longest > MAX_GROUPS:
            return Refusal(f"a list of two filters has more than {MAX_GROUPS} groups")
        return refusal

    def input_layout(self, step: Step) -> Layout:
        return planes.STRATEGY.input_layout(step)

    def output_layout(self, step: Step) -> Layout:
        return planes.STRATEGY.output_layout(step)

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:
        return planes.STRATEGY.scratch_bytes(step, program, target)

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:
        """As of ``planes``, but that ``filter`` and ``bordered`` stand for the filters of couples, of which the last
        may be double. ``small_filter``: those of the small core, with their lists."""
        made = _tables(step, program)
        terms = {term.name: term.mean for term in planes.STRATEGY.cost_terms(step, program, target)}
        # Per block: lists of the same length, and of each couple's two filters what planes has of one.
        blocks, doubled = terms["block"], len(made.filters) // 4 / len(step.weights)
        for name in ("filter", "bordered", "plane", "compare", "compared_plane"):
            terms[name] *= doubled
        terms["small_filter"] = terms["filter"] if made.is_small else 0
        terms["group"], terms["half_group"] = blocks * made.groups, blocks * made.half_groups
        if made.is_small:
            terms |= {"filter": 0, "plane": 0, "group": 0, "half_group": 0}
        return tuple(CostTerm.always(name, value) for name, value in terms.items())

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:
        made = _tables(step, program)
        own = {
            "filters": Table("filters", "uint32_t", made.filters),
            "lists": Table("lists", "uint8_t", made.lists),
            "limits": Table("limits", "uint16_t", made.limits),
        }
        return tuple(own.get(table.role, table) for table in planes.STRATEGY.tables(step, program, target))

    def view(
        self, step: Step, program: Program, target: Target, symbol: str, table_symbols: dict[str, str]
    ) -> LayerView:
        view = planes.STRATEGY.view(step, program, target, symbol, table_symbols)
        pointers = dict(view.pointers)
        core = pointers["core"].replace("picobnn_planes_", "picobnn_planes_paired_")
        pointers["core"] = "picobnn_planes_paired_small" if _tables(step, program).is_small else core
        return dataclasses.replace(view, pointers=tuple(pointers.items()))


def _tables(step: Step, program: Program) -> PairedTables:
    assert isinstance(step, BinaryConv2dStep)  # accepts() refused everything else
    return paired_tables(step, program.tensors[step.input].shape, split_flips(step)[0])


STRATEGY = PlanesPairedStrategy()
