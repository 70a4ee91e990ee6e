# SPDX-License-Identifier: Apache-2.0
"""Plans in which every step runs by a strategy drawn at random from those that accept it."""

from __future__ import annotations

import numpy as np

from picobnn.codegen.plan import Plan
from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import STRATEGIES
from picobnn.codegen.targets import Target


def mixture(program: Program, rng: np.random.Generator, target: Target) -> Plan:
    """A forced plan; equal generators give equal plans."""
    forced = {}
    for index, step in enumerate(program.steps):
        names = [strategy.name for strategy in STRATEGIES if strategy.accepts(step, program, target) is None]
        forced[index] = names[int(rng.integers(len(names)))]
    plan = make_plan(program, target, forced=forced)
    assert [step.strategy for step in plan.steps] == list(forced.values())
    return plan
