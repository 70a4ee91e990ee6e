# SPDX-License-Identifier: Apache-2.0
"""Strategies next to each other: whatever is forced on each step, host C equals the reference, transposes included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from picobnn.codegen.emit import render_model
from picobnn.codegen.plan import Kernels, Optimize, Plan
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import CORES, find_core
from picobnn.codegen.targets.costs import load_costs
from picobnn.sim.hostc import HostModel, build_library
from picobnn.sim.reference import run_program
from tests.support.mixtures import mixture
from tests.support.random_programs import GENERAL, SMALL, random_images, random_program

M4 = find_core("m4")
CALIBRATED = [core for core in CORES if load_costs(core.core) is not None]


def assert_equal(plans: list[Plan], images: int) -> None:
    models = [HostModel(plan, render_model(plan, f"m{index}"), f"m{index}") for index, plan in enumerate(plans)]
    for seed, (plan, executor) in enumerate(zip(plans, build_library(models, sanitize="undefined"), strict=True)):
        batch = random_images(np.random.default_rng(seed), plan.program, images)
        names = [step.strategy for step in plan.steps]
        for index, (want, got) in enumerate(
            zip(run_program(plan.program, batch), executor.run_steps(batch), strict=True)
        ):
            np.testing.assert_array_equal(got, want, err_msg=f"program {seed}, step {index} of {names}")


def test_forty_mixtures_equal_the_reference() -> None:
    rng = np.random.default_rng(11)
    assert_equal([mixture(random_program(rng, (SMALL, GENERAL)[i % 2]), rng, M4) for i in range(40)], 8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_five_hundred_mixtures_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    assert_equal([mixture(random_program(rng, (SMALL, GENERAL)[i % 2]), rng, M4) for i in range(50)], 12)


def test_chosen_plans_equal_the_reference() -> None:
    """On every calibrated core, under every setting; plans that choose alike run once."""
    rng = np.random.default_rng(23)
    plans: dict[tuple[object, ...], Plan] = {}
    for program in [random_program(rng, limits) for limits in (SMALL, GENERAL) for _ in range(4)]:
        for target, optimize in itertools.product(CALIBRATED, Optimize):
            plan = make_plan(program, target, kernels=Kernels.AUTO, optimize=optimize)
            plans.setdefault((program, *(step.strategy for step in plan.steps)), plan)
    assert_equal(list(plans.values()), 6)
