# SPDX-License-Identifier: Apache-2.0
"""Program + target + options -> plan: strategies, layouts, transposes, arena offsets.

Invariant: every step has a strategy that accepted it, and reads its input in the layout in which it was written or
from a transposed copy. There is no silent fallback: a step that nobody accepts ends in E_NO_STRATEGY with every
refusal, a budget that nothing meets in E_BUDGET_EXCEEDED with the distance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from picobnn.codegen.arena import Request, place_buffers
from picobnn.codegen.budget import Budget, choose_within
from picobnn.codegen.cost import step_cost, transpose_cost
from picobnn.codegen.plan import (
    Alternative,
    Buffer,
    Kernels,
    Layout,
    Optimize,
    Plan,
    PlannedStep,
    layout_bytes,
)
from picobnn.codegen.program import Program, Step
from picobnn.codegen.stages import Candidate, make_stages
from picobnn.codegen.strategies import STRATEGIES
from picobnn.codegen.targets import Target, find_core
from picobnn.codegen.targets.costs import CoreCosts, load_costs
from picobnn.codegen.ways import Measure, Stage, joins
from picobnn.errors import ErrorId, PicobnnError

PACKED = ("direct", "xnor", "xnor_general")
"""The strategies of ``Kernels.XNOR``: the packed baseline."""

NO_BUDGET = Budget()


@dataclass(frozen=True, slots=True, eq=False)
class _Conditions:
    """What the choice is made under; ``costs`` is None where nobody knows the core's coefficients."""

    program: Program
    target: Target
    kernels: Kernels
    optimize: Optimize
    costs: CoreCosts | None


def make_plan(
    program: Program,
    target: Target,
    *,
    kernels: Kernels = Kernels.XNOR,
    optimize: Optimize = Optimize.BALANCED,
    forced: Mapping[int, str] | None = None,
    budget: Budget = NO_BUDGET,
    costs: CoreCosts | None = None,
) -> Plan:
    """How ``target`` runs a verified ``program``.

    ``Kernels.XNOR`` takes the packed baseline. ``Kernels.AUTO`` weighs all strategies with coefficients for the core:
    the least cycles, transposes included (``SPEED``; ``BALANCED``: of those that keep weights packed), or the least
    bytes of flash, then cycles (``SIZE``, packed ones only). Ties go to fewer bytes of flash, then less arena. Flash
    holds tables, and the runtime code that the chosen strategies need (once, whoever shares it).

    Args:
        program: verified.
        target: the core.
        kernels: see above.
        optimize: see above.
        forced: strategy names by step, taken instead of a choice, whatever the other options say.
        budget: limits that the plan keeps; with a limit of cycles the bytes of flash are minimised under it.
        costs: coefficients instead of those of ``targets/costs``.

    Raises:
        PicobnnError: ``NO_STRATEGY`` when nobody, or not the forced strategy, runs a step; ``USAGE`` for a forced step
            or strategy that does not exist, or a limit of cycles that cannot be estimated; ``BUDGET_EXCEEDED`` with the
            distance when no plan keeps the budget; ``PLAN_INVALID`` for layouts that no transpose joins.
    """
    forced = forced or {}
    _check_forced(program, forced)
    under = _Conditions(program, target, kernels, optimize, costs or load_costs(target.core))
    candidates = [_candidates(step, under, forced.get(index)) for index, step in enumerate(program.steps)]
    _check_joins(program, candidates)
    if budget.cycles is not None:
        _check_estimates(under, candidates)
    stages, code = make_stages(program, target, candidates, under.costs)
    way = choose_within(stages, Layout.HWC_BYTES, _objective(under, budget), budget, program.name, code)
    flash_bytes = way.totals[Measure.FLASH] if code else None
    return _plan(under, candidates, way.choices, stages, flash_bytes)


def _check_forced(program: Program, forced: Mapping[int, str]) -> None:
    known = [strategy.name for strategy in STRATEGIES]
    for index, name in forced.items():
        if not 0 <= index < len(program.steps) or name not in known:
            raise PicobnnError(
                ErrorId.USAGE,
                f"strategy '{name}' cannot be forced on step {index}.",
                where="forced strategies",
                remedy=f"Steps are 0 to {len(program.steps) - 1}; strategies are {', '.join(known)}.",
            )


def cheapest(step: Step, program: Program, plan: Plan) -> tuple[int, str] | None:
    """Estimated cycles of ``step`` of ``program`` on its own (no transposes, no budget) on the plan's core, by the
    kernel with the fewest of those that the plan's options allow, and the kernel's name; None where no kernel runs the
    step or none can be estimated."""
    under = _Conditions(program, find_core(plan.core), plan.kernels, plan.optimize, load_costs(plan.core))
    found, _ = _sifted(step, under, None)
    return min(((each.cost.cycles, each.strategy.name) for each in found if each.cost is not None), default=None)


def _candidates(step: Step, under: _Conditions, forced: str | None) -> list[Candidate]:
    """What may run the step, at least one. Raises NO_STRATEGY with every refusal."""
    found, refusals = _sifted(step, under, forced)
    if not found:
        raise PicobnnError(
            ErrorId.NO_STRATEGY,
            f"no kernel runs this step on {under.target.name} ({'; '.join(refusals)}).",
            where=step.name,
            remedy="Change the layer so that one of the kernels accepts it.",
        )
    return found


def _sifted(step: Step, under: _Conditions, forced: str | None) -> tuple[list[Candidate], list[str]]:
    """What may run the step, in the order of the registry (under ``XNOR``, or forced: one strategy), and why others may
    not."""
    program, target = under.program, under.target
    weighs = forced is None and under.kernels is Kernels.AUTO
    found: list[Candidate] = []
    refusals: list[str] = []
    for strategy in STRATEGIES:
        if not weighs and strategy.name not in (PACKED if forced is None else (forced,)):
            continue
        refusal = strategy.accepts(step, program, target)
        if refusal is not None:
            refusals.append(f"{strategy.name}: {refusal.reason}")
            continue
        cost = step_cost(strategy, step, program, target, under.costs)
        if not weighs:
            return [Candidate(strategy, cost)], refusals
        if cost is None:
            refusals.append(f"{strategy.name}: it has no cost coefficients for {target.core}")
        elif under.optimize is not Optimize.SPEED and not strategy.packed_weights:
            refusals.append(f"{strategy.name}: it stores lists, which only the speed setting allows")
        else:
            found.append(Candidate(strategy, cost))
    return found, refusals


def _check_joins(program: Program, candidates: Sequence[Sequence[Candidate]]) -> None:
    """Programs are chains (every tensor is read once), and some transpose, if any is needed, joins every link."""
    stored = {Layout.HWC_BYTES}
    for index, (step, found) in enumerate(zip(program.steps, candidates, strict=True)):
        wanted = {each.strategy.input_layout(step) for each in found}
        if step.input != index or not any(joins(have, want) for have in stored for want in wanted):
            have, want = (" or ".join(sorted(layout.value for layout in layouts)) for layouts in (stored, wanted))
            raise PicobnnError(
                ErrorId.PLAN_INVALID,
                f"reads tensor {step.input} as {want}; tensor {index} is stored as {have}.",
                where=step.name,
                remedy="End only the last layer with a scale, and start with an input convolution.",
            )
        stored = {each.strategy.output_layout(step) for each in found}


def _check_estimates(under: _Conditions, candidates: Sequence[Sequence[Candidate]]) -> None:
    for step, found in zip(under.program.steps, candidates, strict=True):
        unknown = [each.strategy.name for each in found if each.cost is None]
        if unknown:
            raise PicobnnError(
                ErrorId.USAGE,
                f"its cycles cannot be limited: {unknown[0]} has no cost coefficients for {under.target.core}.",
                where=step.name,
                remedy="Leave the limit of cycles out, or choose a calibrated core.",
            )


def _objective(under: _Conditions, budget: Budget) -> tuple[Measure, ...]:
    by_size = under.kernels is Kernels.AUTO and under.optimize is Optimize.SIZE
    if by_size or budget.cycles is not None:
        return (Measure.FLASH, Measure.CYCLES, Measure.RAM)
    return (Measure.CYCLES, Measure.FLASH, Measure.RAM)


def _plan(
    under: _Conditions,
    candidates: Sequence[Sequence[Candidate]],
    choices: Sequence[int],
    stages: Sequence[Stage],
    flash_bytes: int | None,
) -> Plan:
    """The choices with their buffers placed."""
    program, target = under.program, under.target
    last = len(program.steps) - 1
    options = [stage.options[choice] for stage, choice in zip(stages, choices, strict=True)]
    layouts = [Layout.HWC_BYTES, *(option.writes for option in options)]
    sizes = [layout_bytes(layout, tensor.shape) for layout, tensor in zip(layouts, program.tensors, strict=True)]
    # Tensor t is written by step t - 1 and read by step t.
    lifetimes = [(max(tensor - 1, 0), min(tensor, last)) for tensor in range(len(sizes))]
    scratch = [
        found[choice].strategy.scratch_bytes(step, program, target)
        for step, found, choice in zip(program.steps, candidates, choices, strict=True)
    ]
    copies = [
        0 if layout is option.reads else layout_bytes(option.reads, tensor.shape)
        for layout, option, tensor in zip(layouts, options, program.tensors, strict=False)
    ]
    requests = [Request(size, *lifetime) for size, lifetime in zip(sizes, lifetimes, strict=True)]
    requests += [Request(size, index, index) for index, size in enumerate(scratch)]
    requests += [Request(size, index, index) for index, size in enumerate(copies)]
    placement = place_buffers(requests)
    scratch_offsets = placement.offsets[len(sizes) :]
    copy_offsets = scratch_offsets[len(scratch) :]
    steps = tuple(
        PlannedStep(
            step=index,
            strategy=found[choice].strategy.name,
            scratch_bytes=scratch[index],
            scratch_offset_bytes=scratch_offsets[index],
            input_layout=options[index].reads,
            transpose_bytes=copies[index],
            transpose_offset_bytes=copy_offsets[index] if copies[index] else 0,
            cost=found[choice].cost,
            transpose_cycles=transpose_cost(program.tensors[index].shape, options[index].reads, under.costs)
            if copies[index]
            else 0,
            alternatives=tuple(
                Alternative(each.strategy.name, each.cost)
                for other, each in enumerate(found)
                if other != choice and each.cost is not None
            ),
        )
        for index, (found, choice) in enumerate(zip(candidates, choices, strict=True))
    )
    buffers = tuple(
        Buffer(tensor, layouts[tensor], sizes[tensor], placement.offsets[tensor], *lifetimes[tensor])
        for tensor in range(len(sizes))
    )
    return Plan(program, target.core, under.kernels, under.optimize, steps, buffers, placement.arena_bytes, flash_bytes)
