# SPDX-License-Identifier: Apache-2.0
"""What may run each step, as the search weighs it: layouts, cycles, arena bytes, tables and code.

Called by ``select.py``, which says who the candidates are; the search (``search.py``) knows no strategies.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from picobnn.codegen.arena import ALIGNMENT
from picobnn.codegen.cost import transpose_cost
from picobnn.codegen.plan import Layout, StepCost, layout_bytes
from picobnn.codegen.program import Program, Step
from picobnn.codegen.runtime_code import TRANSPOSE_FUNCTION, Units, called_units, grouped_units, linked_units
from picobnn.codegen.strategies import Strategy, table_bytes
from picobnn.codegen.targets import Target
from picobnn.codegen.targets.code_sizes import CodeSizes
from picobnn.codegen.targets.costs import CoreCosts
from picobnn.codegen.ways import NO_CODE, TRANSPOSABLE, Option, Stage

MODEL = "model"
"""The unit of a model's own code, beside what each step adds."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A strategy that may run a step; ``cost`` is None where the core has no coefficients for it."""

    strategy: Strategy
    cost: StepCost | None


@dataclass(frozen=True, slots=True)
class _Flash:
    """Of one candidate: the bytes of its tables, the C type of its record and the functions that it names."""

    table_bytes: int
    c_type: str
    called: Units


@dataclass(frozen=True, slots=True)
class _Code:
    """What is known of all candidates: units of code by the functions that a candidate names, their bytes, what a
    transpose needs, and what steps (by the C type of their record) and transposes add to the model's own code."""

    units: Mapping[Units, Units]
    sizes: Mapping[str, int]
    transpose: Units
    step_bytes: Mapping[str, int]
    transpose_bytes: int


_UNKNOWN = _Code({}, {}, NO_CODE, {}, 0)


def make_stages(
    program: Program, target: Target, candidates: Sequence[Sequence[Candidate]], costs: CoreCosts | None
) -> tuple[list[Stage], Mapping[str, int]]:
    """A stage per step with an option per candidate, and the bytes of every unit of code in them: none where the size
    of some code is not known, then only tables are counted, for all alike."""
    flash = [
        [_flash(step, program, target, each.strategy) for each in options]
        for step, options in zip(program.steps, candidates, strict=True)
    ]
    code = _code({each for options in flash for each in options}, None if costs is None else costs.code)
    stages = []
    for step, options, found in zip(program.steps, candidates, flash, strict=True):
        shape = program.tensors[step.input].shape
        layouts = {Layout.HWC_BYTES} if step.input == 0 else set(TRANSPOSABLE)
        stages.append(
            Stage(
                options=tuple(
                    Option(
                        reads=each.strategy.input_layout(step),
                        writes=each.strategy.output_layout(step),
                        cycles=0 if each.cost is None else each.cost.cycles,
                        flash_bytes=own.table_bytes + code.step_bytes.get(own.c_type, 0),
                        ram_bytes=_ram_bytes(step, program, target, each.strategy),
                        code=code.units.get(own.called, NO_CODE),
                    )
                    for each, own in zip(options, found, strict=True)
                ),
                input_bytes={layout: _aligned(layout_bytes(layout, shape)) for layout in layouts},
                transpose_cycles={layout: transpose_cost(shape, layout, costs) or 0 for layout in TRANSPOSABLE},
                transpose_code=code.transpose,
                transpose_flash_bytes=code.transpose_bytes,
            )
        )
    return stages, code.sizes


def _flash(step: Step, program: Program, target: Target, strategy: Strategy) -> _Flash:
    tables = strategy.tables(step, program, target)
    view = strategy.view(step, program, target, "layer", {table.role: table.role for table in tables})
    return _Flash(table_bytes(tables), view.c_type, called_units(view))


def _ram_bytes(step: Step, program: Program, target: Target, strategy: Strategy) -> int:
    output = layout_bytes(strategy.output_layout(step), program.tensors[step.output].shape)
    return _aligned(strategy.scratch_bytes(step, program, target)) + _aligned(output)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def _code(flash: Collection[_Flash], known: CodeSizes | None) -> _Code:
    """Units are as few as tell the candidates apart; all or nothing is known."""
    if known is None or any(each.c_type not in known.layers for each in flash):
        return _UNKNOWN
    called = sorted({each.called for each in flash}, key=sorted)
    linked = [linked_units(each, known) for each in ({TRANSPOSE_FUNCTION}, *called)]
    sets = [units if index == 0 else units | {MODEL} for index, units in enumerate(linked) if units is not None]
    if len(sets) < len(linked):
        return _UNKNOWN
    sizes = {name: unit.size_bytes for name, unit in known.units.items()} | {MODEL: known.once}
    (transpose, *grouped), totals = grouped_units(sets, sizes)
    step_bytes = {c_type: known.step + size for c_type, size in known.layers.items()}
    return _Code(dict(zip(called, grouped, strict=True)), totals, transpose, step_bytes, known.transpose)
