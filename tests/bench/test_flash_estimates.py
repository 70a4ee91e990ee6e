# SPDX-License-Identifier: Apache-2.0
"""The flash that a plan is estimated to take is what the linker makes of it, whatever the kernels.

Tables, records and the runtime are exact; the model's own function is fitted, 15 bytes off at most in what was seen.
"""

from __future__ import annotations

from functools import cache

import pytest
from calibration_layers import SHARED, Conv, Dense, build_chain, depthwise
from layer_runs import PREFIX, link_plan, roomy_board_of

from picobnn.codegen.plan import Kernels, Optimize, Plan
from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.vocabulary import Shape, WeightDomain
from picobnn.map_file import model_memory
from tests.support.firmware import needs_compiler

MOST_BYTES_OFF = 32
NETWORKS = {
    "dense": (Shape(14, 14, 1), (Conv(32, 3, pool=True), Conv(64, 3), Conv(64, 3, zero=True, pool=True)), (128, 10)),
    "sparse": (
        Shape(16, 16, 3),
        (
            Conv(32, 3),
            Conv(64, 3, ones=0.1, domain=SHARED),
            Conv(64, 3, 2, ones=0.08, domain=WeightDomain(4, -1)),
            Conv(96, 3, zero=True, ones=0.05, domain=SHARED),
        ),
        (10,),
    ),
    "pruned": (
        Shape(12, 10, 2),
        (Conv(21, 3), Conv(37, 3, pool=True), Conv(50, 3, kept=0.4), Conv(29, 1)),
        (44, 10),
    ),
    "gaps": (Shape(14, 14, 1), (Conv(32, 3, pool=True),), (Dense(64, 0.03, SHARED), Dense(10, 0.05, SHARED))),
    "separable": (Shape(12, 12, 1), (Conv(40, 3, pool=True), depthwise(40, 3), Conv(64, 1), depthwise(64, 3)), (10,)),
}
QUICK = {
    ("m0plus", "pruned", Optimize.BALANCED),
    ("m4", "dense", Optimize.SIZE),
    ("m4", "gaps", Optimize.SIZE),
    ("m4", "sparse", Optimize.SIZE),
    ("m4", "pruned", Optimize.SPEED),
}
CASES = [
    pytest.param(core, name, optimize, marks=() if (core, name, optimize) in QUICK else pytest.mark.slow)
    for core in ("m0", "m0plus", "m3", "m4", "m7", "m33", "m55")
    for name in NETWORKS
    for optimize in Optimize
]


@cache
def network(name: str) -> Program:
    return build_chain(NETWORKS[name], 3)[0]


def planned(core: str, name: str, optimize: Optimize, forced: dict[int, str] | None = None) -> Plan:
    target = roomy_board_of(core).target
    return make_plan(network(name), target, kernels=Kernels.AUTO, optimize=optimize, forced=forced)


def linked_bytes(core: str, plan: Plan) -> int:
    return model_memory(link_plan(plan, roomy_board_of(core))[1], PREFIX).flash_bytes


@needs_compiler
@pytest.mark.parametrize(("core", "name", "optimize"), CASES)
def test_estimated_flash_is_linked_flash(core: str, name: str, optimize: Optimize) -> None:
    plan = planned(core, name, optimize)
    assert plan.flash_bytes is not None
    assert abs(plan.flash_bytes - linked_bytes(core, plan)) <= MOST_BYTES_OFF


@needs_compiler
def test_the_smallest_sparse_network_is_not_larger_than_one_with_coded_lists() -> None:
    """Code was counted per file, with all its functions: coded lists looked dearer than they were, and ``size`` took
    4 KB more than they need."""
    program = network("sparse")
    sparse = [index for index, step in enumerate(program.steps) if step.name in ("conv1", "conv2", "conv3")]
    smallest = linked_bytes("m4", planned("m4", "sparse", Optimize.SIZE))
    for forced in (sparse[:2], sparse[1:], sparse):
        plan = planned("m4", "sparse", Optimize.SIZE, dict.fromkeys(forced, "planes_coded"))
        assert smallest <= linked_bytes("m4", plan) + MOST_BYTES_OFF
