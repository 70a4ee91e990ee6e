# SPDX-License-Identifier: Apache-2.0
"""Program + target + options -> plan: strategies, layouts, transposes, arena offsets.

Invariant: every step has a strategy that accepted it, and reads its input in the layout in which it was written or
from a transposed copy. There is no silent fallback: a step that nobody accepts ends in E_NO_STRATEGY with every
refusal.
"""

from __future__ import annotations

from collections.abc import Mapping

from picobnn.codegen.arena import Request, place_buffers
from picobnn.codegen.plan import Buffer, Kernels, Layout, Optimize, Plan, PlannedStep, layout_bytes
from picobnn.codegen.program import Program, Step
from picobnn.codegen.strategies import STRATEGIES, Strategy
from picobnn.codegen.targets import Target
from picobnn.errors import ErrorId, PicobnnError

PACKED = ("direct", "xnor")
"""The strategies of ``Kernels.XNOR``: what the packed baseline runs."""

TRANSPOSABLE = (Layout.CHANNEL_WORDS, Layout.PIXEL_PLANES)


def make_plan(
    program: Program,
    target: Target,
    *,
    kernels: Kernels = Kernels.XNOR,
    optimize: Optimize = Optimize.BALANCED,
    forced: Mapping[int, str] | None = None,
) -> Plan:
    """How ``target`` runs a verified ``program``.

    Args:
        program: verified.
        target: the core.
        kernels: ``XNOR`` takes the packed baseline for every step.
        optimize: recorded in the plan.
        forced: strategy names by step, taken instead of a choice, under any ``kernels``.

    Raises:
        PicobnnError: ``NO_STRATEGY`` when nobody, or not the forced strategy, runs a step; ``USAGE`` for a forced step
            or strategy that does not exist; ``PLAN_INVALID`` for layouts that no transpose joins.
    """
    wanted = dict(forced or {})
    _check_forced(program, wanted)
    strategies = [_choose(step, program, target, wanted.get(index)) for index, step in enumerate(program.steps)]
    layouts = _layouts(program, strategies)
    scratch = [strategy.scratch_bytes(step, program) for strategy, step in zip(strategies, program.steps, strict=True)]
    copies = [
        0 if layouts[step.input] is strategy.input_layout(step) else _stored_bytes(program, step, strategy)
        for strategy, step in zip(strategies, program.steps, strict=True)
    ]
    lifetimes = _lifetimes(program)
    sizes = [layout_bytes(layout, tensor.shape) for layout, tensor in zip(layouts, program.tensors, strict=True)]
    requests = [Request(size, *lifetime) for size, lifetime in zip(sizes, lifetimes, strict=True)]
    requests += [Request(size, index, index) for index, size in enumerate(scratch)]
    requests += [Request(size, index, index) for index, size in enumerate(copies)]
    placement = place_buffers(requests)
    tensors, steps = len(program.tensors), len(program.steps)
    return Plan(
        program=program,
        core=target.core,
        kernels=kernels,
        optimize=optimize,
        steps=tuple(
            PlannedStep(
                step=index,
                strategy=strategy.name,
                scratch_bytes=scratch[index],
                scratch_offset_bytes=placement.offsets[tensors + index],
                input_layout=strategy.input_layout(program.steps[index]),
                transpose_bytes=copies[index],
                transpose_offset_bytes=placement.offsets[tensors + steps + index] if copies[index] else 0,
            )
            for index, strategy in enumerate(strategies)
        ),
        buffers=tuple(
            Buffer(index, layouts[index], sizes[index], placement.offsets[index], *lifetimes[index])
            for index in range(tensors)
        ),
        arena_bytes=placement.arena_bytes,
    )


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


def _choose(step: Step, program: Program, target: Target, forced: str | None) -> Strategy:
    refusals = []
    for strategy in STRATEGIES:
        if strategy.name != forced and (forced is not None or strategy.name not in PACKED):
            continue
        refusal = strategy.accepts(step, program, target)
        if refusal is None:
            return strategy
        refusals.append(f"{strategy.name}: {refusal.reason}")
    raise PicobnnError(
        ErrorId.NO_STRATEGY,
        f"no kernel runs this step on {target.name} ({'; '.join(refusals)}).",
        where=step.name,
        remedy="Change the layer so that one of the kernels accepts it.",
    )


def _stored_bytes(program: Program, step: Step, strategy: Strategy) -> int:
    return layout_bytes(strategy.input_layout(step), program.tensors[step.input].shape)


def _layouts(program: Program, strategies: list[Strategy]) -> list[Layout]:
    """Layout of every tensor, as its writer leaves it; the image is bytes."""
    layouts = {0: Layout.HWC_BYTES}
    for step, strategy in zip(program.steps, strategies, strict=True):
        wanted = strategy.input_layout(step)
        found = layouts[step.input]
        if found is not wanted and not (found in TRANSPOSABLE and wanted in TRANSPOSABLE):
            raise PicobnnError(
                ErrorId.PLAN_INVALID,
                f"reads {wanted.value}, but its input is stored as {found.value}.",
                where=step.name,
                remedy="End only the last layer with a scale, and start with an input convolution.",
            )
        layouts[step.output] = strategy.output_layout(step)
    return [layouts[index] for index in range(len(program.tensors))]


def _lifetimes(program: Program) -> list[tuple[int, int]]:
    """First and last step of every tensor, both included."""
    last = len(program.steps) - 1
    first_steps = {0: 0} | {step.output: index for index, step in enumerate(program.steps)}
    last_steps = {0: 0} | first_steps
    for index, step in enumerate(program.steps):
        last_steps[step.input] = max(last_steps[step.input], index)
    last_steps[program.steps[-1].output] = last
    return [(first_steps[index], last_steps[index]) for index in range(len(program.tensors))]
