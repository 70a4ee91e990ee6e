# SPDX-License-Identifier: Apache-2.0
"""Whether removed filters pay in cycles: the estimate of a layer beside that of the layer with whole words of filters.

Kernels take filters 32 at a time: would the next multiple of 32 cost (nearly) the same? Answers are estimates of the
layer alone, with the cheapest kernel that the plan's options allow. Of removed weights: ``codegen/sparsity.py``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from picobnn.codegen.plan import Plan
    from picobnn.codegen.program import Program, Step

WORD = 32
PAYS_FROM = 0.02
"""A gain below this share of the layer's cycles is none: estimates are not that good."""


def pruning_notes(plan: Plan) -> tuple[str, ...]:
    """One plain sentence per layer whose pruning does not pay on the plan's core; none without coefficients."""
    notes = []
    for index, step in enumerate(plan.program.steps):
        now = _cheapest(plan, plan.program, index)
        if now is None:
            continue
        filters = len(step.weights)
        wider = -(-filters // WORD) * WORD
        is_last = index == len(plan.program.steps) - 1
        if filters == wider or is_last or getattr(step, "groups", 1) != 1:
            continue
        full = _cheapest(plan, _with_step(plan.program, index, _with_filters(step, wider)), index)
        if full is not None and full <= now * (1 + PAYS_FROM):
            notes.append(
                f"{step.name}: {filters} filters cost what {wider} would ({now:,} and {full:,} cycles estimated): "
                f"pruning below {wider} does not pay here before {wider - WORD}."
                if wider > WORD
                else f"{step.name}: {filters} filters cost what {wider} would ({now:,} and {full:,} cycles estimated)."
            )
    return tuple(notes)


def _cheapest(plan: Plan, program: Program, index: int) -> int | None:
    """Estimated cycles of step ``index`` with the cheapest kernel; None where nobody can estimate it."""
    from picobnn.codegen.cost import step_cost
    from picobnn.codegen.plan import Kernels, Optimize
    from picobnn.codegen.select import PACKED
    from picobnn.codegen.strategies import STRATEGIES
    from picobnn.codegen.targets import find_core
    from picobnn.codegen.targets.costs import load_costs

    target, step = find_core(plan.core), program.steps[index]
    costs = load_costs(target.core)
    found = []
    for strategy in STRATEGIES:
        if plan.kernels is Kernels.XNOR and strategy.name not in PACKED:
            continue
        if plan.optimize is not Optimize.SPEED and not strategy.packed_weights:
            continue
        if strategy.accepts(step, program, target) is None:
            cost = step_cost(strategy, step, program, target, costs)
            found += [] if cost is None else [cost.cycles]
    return min(found, default=None)


def _with_step(program: Program, index: int, step: Step) -> Program:
    """The program with another step and the shape that it writes. What follows is not looked at."""
    tensors, steps = list(program.tensors), list(program.steps)
    shape = dataclasses.replace(tensors[step.output].shape, channels=len(step.weights))
    tensors[step.output] = dataclasses.replace(tensors[step.output], shape=shape)
    steps[index] = step
    return dataclasses.replace(program, tensors=tuple(tensors), steps=tuple(steps))


def _with_filters(step: Step, count: int) -> Step:
    """The layer with its first filters once more behind the last, up to ``count``."""
    from picobnn.codegen.vocabulary import Scale

    chosen = np.arange(count) % len(step.weights)
    last = step.epilogue
    if isinstance(last, Scale):
        epilogue = dataclasses.replace(last, multiplier=last.multiplier[chosen], bias=last.bias[chosen])
        return dataclasses.replace(step, weights=step.weights[chosen], epilogue=epilogue)
    more = dataclasses.replace(last, thresholds=last.thresholds[chosen], flip=last.flip[chosen])
    changed = dataclasses.replace(step, weights=step.weights[chosen], epilogue=more)
    kept = getattr(step, "kept", None)
    return changed if kept is None else dataclasses.replace(changed, kept=kept[chosen])
