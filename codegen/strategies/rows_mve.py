# SPDX-License-Identifier: Apache-2.0
"""Strategy ``rows_mve``: ``rows`` on cores with vectors, 128 output channels at a time.

Lists and maps are those of ``rows``; of its groups of 32 channels four at a time are a vector, and what is left over
runs as in ``rows``. Flash is the same; scratch holds a vector for every 8 rows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import InputConv2dStep, Program, Step
from picobnn.codegen.strategies import rows
from picobnn.codegen.strategies._common import fan_in
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.strategies._rows_bound import most_cycles
from picobnn.codegen.strategies._rows_counts import GROUPS, adder_of
from picobnn.codegen.strategies._rows_tables import head_words, sizes_of
from picobnn.codegen.targets import InstructionSet, Target

EIGHT = 8
PADDING_CARRIES = 4 + 9
"""Vectors of carries: one for the rest of each list, one that is none, and those that fill up an eight."""

ADDERS = {"picobnn_rows_add": "picobnn_rows_mve_add", "picobnn_rows_general_add": "picobnn_rows_mve_general_add"}

RUNTIME_FILES = (
    *rows.RUNTIME_FILES,
    "picobnn_mve_adders.S",
    "picobnn_rows_mve.h",
    "picobnn_rows_mve.c",
    "picobnn_rows_mve.S",
)


@dataclass(frozen=True, slots=True)
class RowsMveStrategy:
    """See the module."""

    name: str = "rows_mve"
    header: str = "picobnn_rows_mve.h"
    packed_weights: bool = True
    input_independent: bool = False

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:
        if target.isa is not InstructionSet.MVE:
            return Refusal("the core has no vectors")
        refusal = rows.STRATEGY.accepts(step, program, target)
        if refusal is None and sizes_of(step).groups < GROUPS:
            return Refusal(f"{len(step.weights)} output channels do not fill a vector of {32 * GROUPS}")
        return refusal

    def input_layout(self, step: Step) -> Layout:
        return rows.STRATEGY.input_layout(step)

    def output_layout(self, step: Step) -> Layout:
        return rows.STRATEGY.output_layout(step)

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:
        more = _carry_words(step) - sizes_of(step).carry_words
        return rows.STRATEGY.scratch_bytes(step, program, target) + 4 * more

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:
        """Those of ``rows`` with the groups in two: ``vector``, ``added``, ``carries`` (eights of carries of 8 rows) of
        vectors; ``rest_group``, ``rest_added`` of the groups left over."""
        terms = {term.name: term for term in rows.STRATEGY.cost_terms(step, program, target)}
        groups = sizes_of(step).groups
        vectors, rest = divmod(groups, GROUPS)
        calls, added = terms["group"].mean / groups, terms["added"]

        def eights(count: float) -> float:
            return vectors * calls * math.ceil(count / groups / max(calls, 1) / EIGHT**2)

        left_out = ("group", "plane", "added", "carries")
        return (
            *(term for name, term in terms.items() if name not in left_out),
            CostTerm.always("vector", vectors * calls),
            CostTerm.always("plane", vectors * calls * sizes_of(step).planes),
            CostTerm("added", added.mean * vectors / groups, added.worst * vectors / groups),
            CostTerm("carries", eights(added.mean), eights(added.worst)),
            CostTerm.always("rest_group", rest * calls),
            CostTerm("rest_added", added.mean * rest / groups, added.worst * rest / groups),
        )

    def most_cycles(self, step: Step, program: Program, target: Target, parts: Mapping[str, float]) -> float:  # noqa: ARG002
        assert not isinstance(step, InputConv2dStep)  # accepts() refused it
        return most_cycles(step, program, adder_of(step, has_vectors=True, is_v6m=False), parts)

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:
        assert not isinstance(step, InputConv2dStep)  # accepts() refused it
        weights, starts, *others = rows.STRATEGY.tables(step, program, target)
        groups = sizes_of(step).groups
        sets = starts.values.reshape(-1, groups, sizes_of(step).planes)
        head, words = np.split(weights.values, [len(head_words(step))])
        side_by_side = _vectors(words.reshape(1, groups, -1))
        return (
            dataclasses.replace(weights, values=np.concatenate([head, side_by_side])),
            dataclasses.replace(starts, values=_vectors(sets)),
            *others,
        )

    def view(
        self, step: Step, program: Program, target: Target, symbol: str, table_symbols: dict[str, str]
    ) -> LayerView:
        view = rows.STRATEGY.view(step, program, target, symbol, table_symbols)
        numbers = dict(view.numbers) | {"filters.carry_words": _carry_words(step)}
        pointers = dict(view.pointers)
        pointers["filters.add"] = ADDERS[pointers["filters.add"]]
        return dataclasses.replace(view, numbers=tuple(numbers.items()), pointers=tuple(pointers.items()))


def _carry_words(step: Step) -> int:
    return GROUPS * (fan_in(step) // EIGHT + PADDING_CARRIES)


def _vectors(words: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """(sets, groups, n) -> flat: per set the words of four groups side by side, then the groups left over."""
    sets, groups, count = words.shape
    full = groups // GROUPS * GROUPS
    side_by_side = words[:, :full].reshape(sets, -1, GROUPS, count).transpose(0, 1, 3, 2).reshape(sets, -1)
    return np.concatenate([side_by_side, words[:, full:].reshape(sets, -1)], axis=1).reshape(-1)


STRATEGY = RowsMveStrategy()
