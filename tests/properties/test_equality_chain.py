# SPDX-License-Identifier: Apache-2.0
"""The equality chain as one property: torch network = reference = Cython = emitted C = firmware on a core.

Hypothesis draws lists of random torch networks (sides, kernels, strides, both paddings, all pooling stages, negative
and zero batch-norm scales, channel counts that are no multiples of 32) with random images. Each list becomes one host
library. Every step's output is compared value by value; nothing is tolerated.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import Phase, given, settings

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.emit import render_model
from picobnn.codegen.lower import compile_graph
from picobnn.codegen.pack import store_tensor
from picobnn.codegen.plan import Kernels, Optimize, Plan
from picobnn.codegen.program import Program
from picobnn.codegen.project import project_facts
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import load_board
from picobnn.harness.emulated import flash_emulated
from picobnn.harness.vectors import find_difference
from picobnn.sim.executor import CythonExecutor
from picobnn.sim.hostc import HostModel, build_library
from picobnn.sim.reference import StepOutput, run_program
from picobnn.trainer.export import module_outputs, to_graph
from tests.support.firmware import build_project, needs_emulator
from tests.support.random_networks import random_images, random_network

IMAGES = 6
LEAST_LIST = 20

seed_lists = st.lists(st.integers(0, 2**32 - 1), min_size=LEAST_LIST, max_size=LEAST_LIST + 4, unique=True)
kernel_choices = st.sampled_from(Kernels)
optimize_choices = st.sampled_from(Optimize)
# A failing list names its seed; making it smaller would compile a library per attempt.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One network: its program, images, and what the modules and the reference say of every step."""

    seed: int
    program: Program
    images: npt.NDArray[np.uint8]
    expected: list[StepOutput]


def make_case(seed: int) -> Case:
    """The first two executors, which must agree."""
    network = random_network(seed)
    program = compile_graph(to_graph(network.model, network.input_shape, "random"))
    images = random_images(seed, network.input_shape, IMAGES)
    expected = run_program(program, images)
    modules = module_outputs(network.model, images, {step.source for step in program.steps})
    assert_equal(seed, "modules", [modules[step.source] for step in program.steps], expected)
    return Case(seed, program, images, expected)


def assert_equal(seed: int, executor: str, found: list[StepOutput], expected: list[StepOutput]) -> None:
    assert len(found) == len(expected)
    for index, (got, want) in enumerate(zip(found, expected, strict=True)):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, err_msg=f"network {seed}, {executor}, step {index}")


def assert_chain(seeds: list[int], kernels: Kernels, optimize: Optimize) -> None:
    """Executors 1 to 4 on every network of the list."""
    cases = [make_case(seed) for seed in seeds]
    target = load_board("mps2-an386").target
    plans = [make_plan(case.program, target, kernels=kernels, optimize=optimize) for case in cases]
    models = [HostModel(plan, render_model(plan, f"m{at}"), f"m{at}") for at, plan in enumerate(plans)]
    for case, host in zip(cases, build_library(models, optimization="-O1"), strict=True):
        assert_equal(case.seed, "cython", CythonExecutor(case.program).run_steps(case.images), case.expected)
        assert_equal(case.seed, "host C", host.run_steps(case.images), case.expected)
        logits = case.expected[-1].reshape(IMAGES, -1).astype(np.int32)
        np.testing.assert_array_equal(host.run(case.images), logits)


@given(seeds=seed_lists, kernels=kernel_choices, optimize=optimize_choices)
@settings(deadline=None, max_examples=3, phases=PHASES)
def test_module_reference_cython_and_c_are_equal(seeds: list[int], kernels: Kernels, optimize: Optimize) -> None:
    assert_chain(seeds, kernels, optimize)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(seeds=seed_lists, kernels=kernel_choices, optimize=optimize_choices)
@settings(deadline=None, max_examples=60, phases=PHASES)
def test_many_lists_are_equal(seeds: list[int], kernels: Kernels, optimize: Optimize) -> None:
    assert_chain(seeds, kernels, optimize)


def assert_firmware(board_id: str, seed: int, kernels: Kernels) -> None:
    """Executor 5: the cross-compiled firmware of one network on an emulated core, over the serial protocol."""
    case = make_case(seed)
    plan: Plan = make_plan(case.program, load_board(board_id).target, kernels=kernels)
    with tempfile.TemporaryDirectory() as folder:
        facts = project_facts(plan)
        built = build_project(Path(folder), board_id, "net", facts, render_model(plan, "net"))
        with flash_emulated(load_board(board_id), built.elf, model_hash=model_hash(case.program)) as session:
            layouts = [plan.buffers[step.output].layout for step in case.program.steps]
            for at, image in enumerate(case.images[:3]):
                stored = [store_tensor(steps[at], layout) for steps, layout in zip(case.expected, layouts, strict=True)]
                assert find_difference(session, image.tobytes(), stored) is None, f"network {seed}, image {at}"


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("board_id", "seed", "kernels"),
    [
        ("mps2-an386", 11, Kernels.AUTO),
        ("mps2-an386", 12, Kernels.XNOR),
        ("microbit", 11, Kernels.XNOR),
        ("microbit", 13, Kernels.XNOR),
    ],
)
def test_firmware_is_equal_on_a_sample(board_id: str, seed: int, kernels: Kernels) -> None:
    assert_firmware(board_id, seed, kernels)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("board_id", ["mps2-an386", "microbit"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25, phases=PHASES)
def test_firmware_is_equal_on_many(board_id: str, seed: int) -> None:
    assert_firmware(board_id, seed, Kernels.XNOR)
