# SPDX-License-Identifier: Apache-2.0
"""What layers whose time depends on the image are estimated to cost over golden vectors: mean and worst."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from picobnn.codegen.plan import Plan
    from picobnn.flow.vectors import Vectors


def golden_costs(plan: Plan, vectors: Vectors) -> dict[int, tuple[int, int]]:
    """Per step whose kernel depends on the input: the mean and the largest of one estimate per vector, from the share
    of set bits that this vector gives the step's input. Empty on a core without coefficients."""
    from picobnn.codegen.cost import step_cost
    from picobnn.codegen.program import Density
    from picobnn.codegen.strategies import find_strategy
    from picobnn.codegen.targets import find_core
    from picobnn.codegen.targets.costs import load_costs
    from picobnn.sim.reference import run_program

    target = find_core(plan.core)
    costs = load_costs(target.core)
    chosen = [(planned.step, find_strategy(planned.strategy)) for planned in plan.steps]
    asked = [(index, strategy) for index, strategy in chosen if not strategy.input_independent]
    if not asked or costs is None:
        return {}
    outputs = run_program(plan.program, vectors.images)
    found = {}
    for index, strategy in asked:
        step = plan.program.steps[index]
        bits = outputs[step.input - 1].reshape(len(vectors.images), -1)
        ones, images = np.unique(bits.sum(axis=1), return_counts=True)
        cycles = []
        for count in ones.tolist():
            said = (Density(step.input, int(count), int(bits.shape[1])),)
            cost = step_cost(strategy, step, dataclasses.replace(plan.program, statistics=said), target, costs)
            assert cost is not None  # the strategy was chosen by its cost
            cycles.append(cost.cycles)
        found[index] = (round(float(np.average(cycles, weights=images))), max(cycles))
    return found
