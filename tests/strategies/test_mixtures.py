# SPDX-License-Identifier: Apache-2.0
"""Strategies next to each other: whatever is forced on each step, host C equals the reference, transposes included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from picobnn.codegen.plan import Kernels, Optimize, Plan
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import CORES, find_core
from picobnn.codegen.targets.costs import load_costs
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.mixtures import mixture
from tests.support.random_programs import GENERAL, SMALL, random_images, random_program

M4 = find_core("m4")
CALIBRATED = [core for core in CORES if load_costs(core.core) is not None]


def assert_equal(plans: list[Plan], images: int) -> None:
    rng = np.random.default_rng(0)
    assert_host_c_equals_reference(plans, [random_images(rng, plan.program, images) for plan in plans])


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
