# SPDX-License-Identifier: Apache-2.0
"""Program + target + options -> plan: strategies, layouts, arena offsets.

Invariant: every step has a strategy that accepted it, and reads its input in the layout in which it was written.
There is no silent fallback: a step that nobody accepts ends in E_NO_STRATEGY with every refusal.
"""

from __future__ import annotations

from picobnn.codegen.arena import Request, place_buffers
from picobnn.codegen.plan import Buffer, Kernels, Layout, Optimize, Plan, PlannedStep, layout_bytes
from picobnn.codegen.program import Program, Step
from picobnn.codegen.strategies import STRATEGIES, Strategy
from picobnn.codegen.targets import Target
from picobnn.errors import ErrorId, PicobnnError


def make_plan(
    program: Program,
    target: Target,
    *,
    kernels: Kernels = Kernels.XNOR,
    optimize: Optimize = Optimize.BALANCED,
) -> Plan:
    """How ``target`` runs a verified ``program``. Raises E_NO_STRATEGY, E_PLAN_INVALID.

    ``kernels`` and ``optimize`` are recorded in the plan; with one strategy per kind of layer they choose alike.
    """
    strategies = [_choose(step, program, target) for step in program.steps]
    layouts = _layouts(program, strategies)
    scratch = [strategy.scratch_bytes(step, program) for strategy, step in zip(strategies, program.steps, strict=True)]
    lifetimes = _lifetimes(program)
    sizes = [layout_bytes(layout, tensor.shape) for layout, tensor in zip(layouts, program.tensors, strict=True)]
    requests = [Request(size, *lifetime) for size, lifetime in zip(sizes, lifetimes, strict=True)]
    requests += [Request(size, index, index) for index, size in enumerate(scratch)]
    placement = place_buffers(requests)
    tensors = len(program.tensors)
    return Plan(
        program=program,
        core=target.core,
        kernels=kernels,
        optimize=optimize,
        steps=tuple(
            PlannedStep(index, strategy.name, scratch[index], placement.offsets[tensors + index])
            for index, strategy in enumerate(strategies)
        ),
        buffers=tuple(
            Buffer(index, layouts[index], sizes[index], placement.offsets[index], *lifetimes[index])
            for index in range(tensors)
        ),
        arena_bytes=placement.arena_bytes,
    )


def _choose(step: Step, program: Program, target: Target) -> Strategy:
    refusals = []
    for strategy in STRATEGIES:
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


def _layouts(program: Program, strategies: list[Strategy]) -> list[Layout]:
    """Layout of every tensor, as its writer leaves it; the image is bytes."""
    layouts = {0: Layout.HWC_BYTES}
    for step, strategy in zip(program.steps, strategies, strict=True):
        wanted = strategy.input_layout(step)
        found = layouts[step.input]
        if found is not wanted:
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
