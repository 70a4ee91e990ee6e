# SPDX-License-Identifier: Apache-2.0
"""Strategy xnor_general: what it accepts, its tables, its scratch, and its C on any weights, groups and masks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.emit import render_model
from picobnn.codegen.pack import unpack_words
from picobnn.codegen.plan import Kernels
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, Tensor
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.targets import CORES, find_core, load_board
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    BitArray,
    ElementKind,
    PadMode,
    Pool,
    PoolStage,
    Scale,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)
from picobnn.sim.reference import run_program
from tests.support.emulated import assert_traces_equal, run_traced
from tests.support.firmware import needs_emulator
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.random_programs import GENERAL, random_images, random_program
from tests.support.small_programs import SAME_3X3, binary_conv2d, binary_dense, bits, input_conv2d, scale, threshold

M4 = find_core("m4")
GENERAL_XNOR = find_strategy("xnor_general")
SHARED = WeightDomain(3, -1)


def assert_c_equals_reference(programs: list[Program], images: int) -> None:
    """Every binary step forced to the strategy, plain ones too."""
    rng = np.random.default_rng(0)
    plans = [
        make_plan(program, M4, forced=dict.fromkeys(range(1, len(program.steps)), "xnor_general"))
        for program in programs
    ]
    assert_host_c_equals_reference(plans, [random_images(rng, program, images) for program in programs])


def drawn(seed: int, count: int) -> list[Program]:
    rng = np.random.default_rng(seed)
    found: list[Program] = []
    while len(found) < count:
        program = random_program(rng, GENERAL)
        if len(program.steps) > 1:
            found.append(program)
    return found


def test_random_programs_equal_the_reference() -> None:
    programs = drawn(1, 15)
    layers = [step for program in programs for step in program.steps if not isinstance(step, InputConv2dStep)]
    convs = [step for step in layers if isinstance(step, BinaryConv2dStep)]
    assert {step.kept is None for step in layers} == {True, False}
    assert {step.groups == 1 for step in convs} == {True, False}
    assert len({step.domain for step in layers}) > 3
    assert_c_equals_reference(programs, 6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_many_random_programs_equal_the_reference(seed: int) -> None:
    assert_c_equals_reference(drawn(100 + seed, 60), 12)


def chain() -> Program:
    """Depthwise, groups of 12 channels across words, shared values, ternary masks, both paddings, pools, then sums."""
    rng = np.random.default_rng(11)
    pool = Pool(Window(2, 2, 1, 1), PoolStage.ACC)
    bit_pool = Pool(Window(2, 2, 1, 1), PoolStage.BIT)
    layers = (
        (48, SAME_3X3, PadMode.ZERO, None, PLUS_MINUS_ONE, 48, 1.0),
        (64, SAME_3X3, PadMode.MINUS_ONE, pool, SHARED, 4, 1.0),
        (64, SAME_3X3, PadMode.ZERO, None, SHARED, 1, 1.0),
        (40, SAME_3X3, PadMode.ZERO, bit_pool, PLUS_MINUS_ONE, 1, 0.4),
        (33, Window(1, 1), PadMode.ZERO, None, SHARED, 1, 0.6),
        (66, SAME_3X3, PadMode.MINUS_ONE, None, WeightDomain(0, 0), 33, 1.0),
        (34, Window(3, 3), PadMode.ZERO, None, WeightDomain(5, -7), 2, 0.5),
    )
    shape = Shape(7, 6, 48)
    tensors = [Tensor("image", Shape(7, 6, 8), ElementKind.UINT8), Tensor("bits", shape, ElementKind.BIT)]
    first = InputConv2dStep("bits", "b", 0, 1, bits(48, 1, 1, 8), Window(1, 1), None, threshold(48, 200))
    steps: list[Step] = [first]
    for index, (outputs, window, mode, pooled, domain, groups, share) in enumerate(layers, 1):
        weights = rng.integers(0, 2, (outputs, window.height, window.width, shape.channels // groups)).astype(np.uint8)
        kept = mask(rng, weights, share)
        rows, columns = window.output_size(shape.height, shape.width)
        if pooled is not None:
            rows, columns = pooled.window.output_size(rows, columns)
        spread = max(1, int(weights[0].size ** 0.5) * max(map(abs, domain.values)) // 2)
        parts = (weights, window, mode, pooled, threshold(outputs, spread), domain, groups, kept)
        steps.append(BinaryConv2dStep(f"conv{index}", "c", index, index + 1, *parts))
        shape = Shape(rows, columns, outputs)
        tensors.append(Tensor(f"map{index}", shape, ElementKind.BIT))
    weights = bits(6, shape.height, shape.width, shape.channels)
    kept = mask(rng, weights, 0.7)
    steps.append(BinaryDenseStep("sums", "s", len(steps), len(steps) + 1, weights, scale(6), SHARED, kept))
    tensors.append(Tensor("sums", Shape(1, 1, 6), ElementKind.INT32))
    return Program("chain", 128, tuple(tensors), tuple(steps))


def mask(rng: np.random.Generator, weights: BitArray, share: float) -> BitArray | None:
    """None where all taps stay; clears the weights of the others."""
    if share == 1.0:
        return None
    kept = (rng.random(weights.shape) < share).astype(np.uint8)
    weights &= kept
    return kept


def test_sums_at_borders_equal_the_reference() -> None:
    """A scale behind zero padding: the two copies of a patch give twice the sum, negative ones too."""
    programs = []
    for domain in (PLUS_MINUS_ONE, SHARED, WeightDomain(0, 0), WeightDomain(0, -3)):
        step = dataclasses.replace(binary_conv2d().steps[1], pool=None, epilogue=scale(33), domain=domain, name="last")
        tensors = (*binary_conv2d().tensors[:2], Tensor("out", Shape(3, 3, 33), ElementKind.INT32))
        program = dataclasses.replace(binary_conv2d(), tensors=tensors, steps=(binary_conv2d().steps[0], step))
        assert (run_program(program, random_images(np.random.default_rng(0), program, 4))[-1] < 0).any()
        programs.append(program)
    assert_c_equals_reference(programs, 6)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(
    "board_id",
    [
        "mps2-an386",
        "mps2-an385-v6m",
        pytest.param("mps2-an385", marks=pytest.mark.slow),
        pytest.param("mps2-an505", marks=pytest.mark.slow),
        pytest.param("mps3-an547", marks=pytest.mark.slow),
    ],
)
def test_a_chain_equals_the_reference_on_emulated_boards(board_id: str, tmp_path: Path) -> None:
    program, board = chain(), load_board(board_id)
    plan = make_plan(program, board.target)
    assert {step.strategy for step in plan.steps} == {"direct", "xnor_general"}
    images = np.random.default_rng(5).integers(0, 256, (3, 7, 6, 8), dtype=np.uint8)
    traces = run_traced(plan, board, images, tmp_path)
    outputs = run_program(program, images)
    assert all(0 < output.mean() < 1 for output in outputs[:-1])
    assert_traces_equal(plan, traces, outputs)


@pytest.mark.parametrize("core", [core.core for core in CORES])
def test_every_core_can_weigh_it(core: str) -> None:
    program = chain()
    plan = make_plan(program, find_core(core), kernels=Kernels.AUTO)
    assert "xnor_general" in {step.strategy for step in plan.steps}


def test_plain_layers_go_to_xnor_and_emit_nothing_of_it() -> None:
    for program in (binary_conv2d(), binary_dense()):
        plan = make_plan(program, M4)
        assert [step.strategy for step in plan.steps] == ["direct", "xnor"]
        assert not [source.path for source in render_model(plan, "m") if "general" in source.path]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pool": Pool(Window(2, 2, 1, 1), PoolStage.BIT), "epilogue": scale(33)}, "before a scale"),
        ({"window": Window(3, 70000, 1, 1, 1, 70000, 1, 1)}, "above 65535"),
        ({"weights": bits(1, 91, 91, 4)}, "33124 weights per filter are above 32767"),
        ({"weights": bits(1, 64, 64, 2), "domain": WeightDomain(15, 32767)}, "8192 weights of 65535"),
    ],
)
def test_convolutions_it_refuses(change: dict[str, object], reason: str) -> None:
    program = binary_conv2d()
    refusal = GENERAL_XNOR.accepts(dataclasses.replace(program.steps[1], **change), program, M4)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_an_image_is_refused() -> None:
    program = input_conv2d()
    assert GENERAL_XNOR.accepts(program.steps[0], program, M4) == Refusal("the input is 8-bit, not binary")


def test_tables() -> None:
    program = binary_conv2d()
    step = program.steps[1]
    assert isinstance(step, BinaryConv2dStep)
    assert isinstance(step.epilogue, Threshold)
    kept = np.ones_like(step.weights)
    kept[:, 0, 0] = 0
    ternary = dataclasses.replace(step, weights=step.weights & kept, kept=kept, domain=SHARED)
    tables = {table.role: table for table in GENERAL_XNOR.tables(ternary, program, M4)}
    assert list(tables) == ["weights", "kept", "limits", "flips"]
    for role, values in (("weights", ternary.weights), ("kept", kept)):
        words = tables[role].values.reshape(33, 2).astype(np.uint32)
        np.testing.assert_array_equal(unpack_words(words, 45), values.reshape(33, 45))
    np.testing.assert_array_equal(tables["limits"].values, step.epilogue.thresholds - 40)
    scaled = dataclasses.replace(ternary, epilogue=scale(33))
    tables = {table.role: table for table in GENERAL_XNOR.tables(scaled, program, M4)}
    assert list(tables) == ["weights", "kept", "multipliers", "biases"]
    assert isinstance(scaled.epilogue, Scale)
    np.testing.assert_array_equal(tables["biases"].values, scaled.epilogue.bias + 40 * scaled.epilogue.multiplier)


def test_scratch() -> None:
    program = binary_conv2d()
    step = program.steps[1]
    assert GENERAL_XNOR.scratch_bytes(step, program, M4) == 4 * (1 + 2 * 2)
    grouped = dataclasses.replace(step, weights=bits(35, 3, 3, 1), groups=5, pad_mode=PadMode.MINUS_ONE)
    assert GENERAL_XNOR.scratch_bytes(grouped, program, M4) == 4 * (1 + 5 * 1)
