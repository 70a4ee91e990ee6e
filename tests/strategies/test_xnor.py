# SPDX-License-Identifier: Apache-2.0
"""Strategy xnor: what it accepts, its tables, its scratch, and its C on hand-picked shapes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.emit import render_model
from picobnn.codegen.pack import unpack_words
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, Tensor
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.targets import find_core, load_board
from picobnn.codegen.vocabulary import (
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
from picobnn.sim.hostc import HostModel, build_library
from picobnn.sim.reference import run_program
from tests.support.emulated import assert_traces_equal, run_traced
from tests.support.firmware import needs_emulator
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.random_programs import random_images
from tests.support.small_programs import binary_conv2d, binary_dense, bits, input_conv2d, scale, threshold

M4 = find_core("m4")
XNOR = find_strategy("xnor")


def conv_program(
    channels: int,
    outputs: int,
    window: Window,
    pad_mode: PadMode = PadMode.ZERO,
    pool: Pool | None = None,
    scaled: bool = False,
    side: int = 5,
) -> Program:
    """A 1x1 input convolution that makes random-looking bits, then the convolution under test."""
    rng = np.random.default_rng(channels * 131 + outputs)
    first = InputConv2dStep(
        "first", "first", 0, 1, bits(channels, 1, 1, 1), Window(1, 1), None, threshold(channels, 120)
    )
    weights = rng.integers(0, 2, (outputs, window.height, window.width, channels)).astype(np.uint8)
    last = scale(outputs) if scaled else threshold(outputs, max(1, weights[0].size // 4))
    second = BinaryConv2dStep("conv", "conv", 1, 2, weights, window, pad_mode, pool, last)
    rows, columns = window.output_size(side, side)
    if pool is not None:
        rows, columns = pool.window.output_size(rows, columns)
    tensors = (
        Tensor("image", Shape(side, side, 1), ElementKind.UINT8),
        Tensor("bits", Shape(side, side, channels), ElementKind.BIT),
        Tensor("out", Shape(rows, columns, outputs), ElementKind.INT32 if scaled else ElementKind.BIT),
    )
    return Program("conv", 100, tensors, (first, second))


def assert_c_equals_reference(programs: list[Program]) -> None:
    rng = np.random.default_rng(3)
    plans = [make_plan(program, M4) for program in programs]
    assert_host_c_equals_reference(plans, [random_images(rng, program, 8) for program in programs])


def test_every_count_of_words_and_lanes() -> None:
    """Fan-ins around 1 to 36 words (pairs, groups of nine, three and fewer), filters around whole words."""
    channels = [1, 31, 32, 33, 64, 65, 95, 96, 97, 160, 256, 289, 320, 353, 600, 64, 50, 288, 576, 1152, 1153]
    assert_c_equals_reference(
        [
            conv_program(c, o, Window(1, 1), side=3)
            for c, o in zip(channels, ([1, 31, 32, 33, 64] * 5)[:21], strict=True)
        ]
    )


def test_pads_pools_and_strides() -> None:
    same = Window(3, 3, 1, 1, 1, 1, 1, 1)
    odd = Window(2, 3, 2, 1, 1, 0, 0, 2)
    pools = [
        None,
        Pool(Window(2, 2, 2, 2), PoolStage.ACC),
        Pool(Window(3, 3, 2, 2, 1, 1, 1, 1), PoolStage.BIT),
        Pool(Window(3, 2, 1, 2, 2, 0, 0, 1), PoolStage.ACC),
    ]
    assert_c_equals_reference(
        [
            conv_program(channels, 34, window, mode, pool)
            for channels in (5, 32)
            for window in (same, odd)
            for mode in PadMode
            for pool in pools
        ]
    )


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize("board_id", ["mps2-an386", "mps2-an385", "mps2-an385-v6m", "mps2-an505"])
def test_every_loop_on_emulated_boards(board_id: str, tmp_path: Path) -> None:
    """What the compiler makes of each loop for the core: filters of 2, 9, 18, 36 and other words, both paddings."""
    program, board = chain_of_loops(), load_board(board_id)
    plan = make_plan(program, board.target)
    images = np.random.default_rng(5).integers(0, 256, (3, 5, 4, 8), dtype=np.uint8)
    traces = run_traced(plan, board, images, tmp_path)
    assert_traces_equal(plan, traces, run_program(program, images))


def chain_of_loops() -> Program:
    """Convolutions whose filters have 2, 9, 18, 36, 5 and 10 words, then sums."""
    rng = np.random.default_rng(11)
    same, point = Window(3, 3, 1, 1, 1, 1, 1, 1), Window(1, 1)
    modes = (PadMode.ZERO, PadMode.MINUS_ONE)
    layers = [(64, point, 0), (64, point, 0), (33, point, 1), (32, same, 0), (32, same, 1), (64, same, 1)]
    layers += [(64, same, 0), (128, same, 1), (40, same, 0), (17, same, 1), (16, same, 0)]
    tensors = [Tensor("image", Shape(5, 4, 8), ElementKind.UINT8), Tensor("bits", Shape(5, 4, 64), ElementKind.BIT)]
    steps: list[Step] = [InputConv2dStep("bits", "b", 0, 1, bits(64, 1, 1, 8), point, None, threshold(64, 200))]
    for index, (outputs, window, mode) in enumerate(layers, 1):
        channels = tensors[-1].shape.channels
        weights = rng.integers(0, 2, (outputs, window.height, window.width, channels)).astype(np.uint8)
        middle = threshold(outputs, max(1, weights[0].size // 8))
        steps.append(
            BinaryConv2dStep(f"conv{index}", "c", index, index + 1, weights, window, modes[mode], None, middle)
        )
        tensors.append(Tensor(f"map{index}", Shape(5, 4, outputs), ElementKind.BIT))
    steps.append(BinaryDenseStep("sums", "s", len(steps), len(steps) + 1, bits(6, 5, 4, 16), scale(6)))
    tensors.append(Tensor("sums", Shape(1, 1, 6), ElementKind.INT32))
    return Program("loops", 128, tuple(tensors), tuple(steps))


def test_scales_at_borders() -> None:
    same = Window(3, 3, 1, 1, 1, 1, 1, 1)
    assert_c_equals_reference([conv_program(7, 6, same, mode, scaled=True) for mode in PadMode])


def test_the_widest_fan_in_decides_exactly_at_both_ends() -> None:
    """32767 weights per filter: all agree, all differ, thresholds one below, at and above the ends."""
    width = 1057  # 31 * 1057 = 32767
    first = InputConv2dStep("first", "f", 0, 1, bits(31, 1, 1, 1), Window(1, 1), None, threshold(31, 0))
    image = np.full((1, 1, width, 1), 9, np.uint8)
    tensors = [
        Tensor("image", Shape(1, width, 1), ElementKind.UINT8),
        Tensor("bits", Shape(1, width, 31), ElementKind.BIT),
    ]
    probe = Program("probe", 9, tuple(tensors), (first,))
    seen = run_program(probe, image)[0][0]
    weights = np.concatenate([np.repeat(seen[None], 4, 0), np.repeat(1 - seen[None], 4, 0)])
    ends = np.array([32766, 32767, 32768, 10**9, -32768, -32767, -32766, -(10**9)], np.int32)
    dense = BinaryDenseStep("dense", "d", 1, 2, weights, Threshold(ends, np.zeros(8, np.uint8)))
    program = Program("wide", 9, (*tensors, Tensor("out", Shape(1, 1, 8), ElementKind.BIT)), (first, dense))
    plan = make_plan(program, M4)
    executor = build_library([HostModel(plan, render_model(plan, "m"), "m")])[0]
    assert executor.run(image).tolist() == [[1, 1, 0, 0, 1, 1, 0, 1]]
    np.testing.assert_array_equal(executor.run(image), run_program(program, image)[-1].reshape(1, 8))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"domain": WeightDomain(0, 0)}, "-1 and +1"),
        ({"kept": np.ones((33, 3, 3, 5), np.uint8)}, "removed"),
        ({"groups": 5}, "5 groups"),
        ({"pool": Pool(Window(2, 2, 1, 1), PoolStage.BIT), "epilogue": scale(33)}, "before a scale"),
        ({"pool": Pool(Window(1, 1, 1, 1, 1), PoolStage.BIT)}, "padding only"),
        ({"window": Window(3, 70000, 1, 1, 1, 70000, 1, 1)}, "above 65535"),
    ],
)
def test_convolutions_it_refuses(change: dict[str, object], reason: str) -> None:
    program = binary_conv2d()
    refusal = XNOR.accepts(dataclasses.replace(program.steps[1], **change), program, M4)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_other_steps_it_refuses() -> None:
    program = input_conv2d()
    assert XNOR.accepts(program.steps[0], program, M4) == Refusal("the input is 8-bit, not binary")
    wide = dataclasses.replace(binary_dense().steps[1], weights=bits(1, 1, 1, 32768))
    assert XNOR.accepts(wide, binary_dense(), M4) == Refusal("32768 weights per filter are above 32767")


def test_tables() -> None:
    program = binary_conv2d()
    step = program.steps[1]
    assert isinstance(step.epilogue, Threshold)
    tables = {table.role: table for table in XNOR.tables(step, program, M4)}
    assert list(tables) == ["weights", "limits", "flips"]
    words = tables["weights"].values.reshape(33, 2)
    np.testing.assert_array_equal(unpack_words(words.astype(np.uint32), 45), step.weights.reshape(33, 45))
    np.testing.assert_array_equal(tables["limits"].values, 46 - step.epilogue.thresholds)
    assert tables["limits"].values.dtype == np.uint16
    unflipped = dataclasses.replace(step, epilogue=dataclasses.replace(step.epilogue, flip=np.zeros(33, np.uint8)))
    assert [table.role for table in XNOR.tables(unflipped, program, M4)] == ["weights", "limits"]
    assert isinstance(scale(3), Scale)


def test_scratch() -> None:
    program = binary_conv2d()
    step = program.steps[1]
    assert XNOR.scratch_bytes(step, program, M4) == 4 * (1 + 2 * 2)
    assert XNOR.scratch_bytes(dataclasses.replace(step, pad_mode=PadMode.MINUS_ONE), program, M4) == 4 * (1 + 2)
    dense = binary_dense()
    assert XNOR.scratch_bytes(dense.steps[1], dense, M4) == 4 * 2
