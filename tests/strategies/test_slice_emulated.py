# SPDX-License-Identifier: Apache-2.0
"""Strategy slice on emulated boards: the assembly of each instruction set equals the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import load_board
from picobnn.codegen.vocabulary import Shape
from picobnn.sim.reference import run_program
from tests.support.emulated import assert_traces_equal, run_counted, run_traced
from tests.support.firmware import needs_emulator
from tests.support.slice_layers import CONVOLUTIONS, NARROW, chain, chain_images, forced_slice, random_chain

BOARDS = (
    pytest.param("mps2-an386", id="m4"),
    pytest.param("mps2-an385", id="m3", marks=pytest.mark.slow),
    pytest.param("mps2-an385-v6m", id="m0plus"),
    pytest.param("mps2-an505", id="m33", marks=pytest.mark.slow),
    pytest.param("mps2-an500", id="m7", marks=pytest.mark.slow),
)


def assert_firmware_equals_reference(program: Program, board_id: str, folder: Path, count: int) -> None:
    board = load_board(board_id)
    plan = make_plan(program, board.target, forced=forced_slice(program))
    images = chain_images(program, count)
    traces = run_traced(plan, board, images, folder)
    assert_traces_equal(plan, traces, run_program(program, images))


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize("board_id", BOARDS)
def test_every_shape_class_equals_the_reference(board_id: str, tmp_path: Path) -> None:
    assert_firmware_equals_reference(chain(CONVOLUTIONS, Shape(12, 13, 70)), board_id, tmp_path, 6)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("board_id", BOARDS)
def test_narrow_maps_and_random_layers_equal_the_reference(board_id: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    programs = [
        chain(NARROW, Shape(5, 1, 40)),
        chain(NARROW, Shape(1, 1, 33)),
        *(random_chain(rng, 6) for _ in range(8)),
    ]
    for index, program in enumerate(programs):
        assert_firmware_equals_reference(program, board_id, tmp_path / str(index), 4)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize("board_id", BOARDS)
def test_instructions_do_not_depend_on_the_input(board_id: str, tmp_path: Path) -> None:
    """Counted per layer: the assembly and the loop for any window, bits all clear, all set and mixed."""
    board, program = load_board(board_id), chain(CONVOLUTIONS[:6], Shape(12, 13, 40))
    plan = make_plan(program, board.target, forced=forced_slice(program))
    _, runs = run_counted(plan, board, chain_images(program, 5), tmp_path)
    assert all(run[1:] == runs[0][1:] for run in runs)
