# SPDX-License-Identifier: Apache-2.0
"""Strategy subset on emulated boards: the code of each instruction set equals the reference, at the same modelled
cycles whatever the image."""

from __future__ import annotations

from pathlib import Path

import pytest

from picobnn.codegen.targets import load_board
from picobnn.sim.reference import run_program
from tests.support.emulated import assert_traces_equal, run_counted
from tests.support.firmware import needs_emulator
from tests.support.subset_layers import alone, images, many_layers, plan_layers

SLOW = pytest.mark.slow
CASES = (
    pytest.param("mps2-an386", 3, 1, id="m4-3"),
    pytest.param("mps2-an386", 1, 255, id="m4-1", marks=SLOW),
    pytest.param("mps2-an385", 1, 255, id="m3-1"),
    pytest.param("mps2-an385", 3, 1, id="m3-3", marks=SLOW),
    pytest.param("mps2-an385-v6m", 3, 0, id="m0plus-3"),
    pytest.param("mps2-an385-v6m", 1, 255, id="m0plus-1", marks=SLOW),
    pytest.param("mps2-an505", 1, 128, id="m33-1", marks=SLOW),
    pytest.param("mps2-an505", 3, 1, id="m33-3", marks=SLOW),
)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(("board_id", "channels", "zero_point"), CASES)
def test_every_class_equals_the_reference(board_id: str, channels: int, zero_point: int, tmp_path: Path) -> None:
    program, board = many_layers(channels, zero_point), load_board(board_id)
    plan = plan_layers(program, board.target)
    batch = images(program, 5)
    traces, runs = run_counted(plan, board, batch, tmp_path)
    expected = [run_program(each, batch)[0] for each in alone(program)]
    assert_traces_equal(plan, traces, expected)
    assert all(run == runs[0] for run in runs)
    assert all(cost.cycles is not None for cost in runs[0])
