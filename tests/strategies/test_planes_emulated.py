# SPDX-License-Identifier: Apache-2.0
"""Strategies planes, planes_paired and planes_mve on emulated boards: their assembly equals the reference, at the same
modelled cycles whatever the image."""

from __future__ import annotations

from pathlib import Path

import pytest

from picobnn.codegen.targets import load_board
from picobnn.codegen.vocabulary import Shape
from tests.support.emulated import assert_traces_equal, run_counted
from tests.support.fans import run_fan
from tests.support.firmware import needs_emulator
from tests.support.planes_layers import images, many_layers, plan_layers

SLOW = pytest.mark.slow
CASES = (
    pytest.param("planes", "mps2-an386", Shape(9, 10, 5), id="m4-5"),
    pytest.param("planes", "mps2-an386", Shape(8, 16, 33), id="m4-33", marks=SLOW),
    pytest.param("planes", "mps2-an386", Shape(6, 6, 227), id="m4-227", marks=SLOW),
    pytest.param("planes", "mps2-an385", Shape(8, 8, 64), id="m3-64"),
    pytest.param("planes", "mps2-an505", Shape(7, 9, 113), id="m33-113", marks=SLOW),
    pytest.param("planes", "mps2-an500", Shape(7, 9, 28), id="m7-28", marks=SLOW),
    pytest.param("planes", "mps3-an547", Shape(7, 9, 14), id="m55-14", marks=SLOW),
    pytest.param("planes_paired", "mps2-an386", Shape(9, 10, 5), id="paired-m4-5"),
    pytest.param("planes_paired", "mps2-an386", Shape(8, 16, 33), id="paired-m4-33", marks=SLOW),
    pytest.param("planes_paired", "mps2-an386", Shape(6, 6, 227), id="paired-m4-227", marks=SLOW),
    pytest.param("planes_paired", "mps2-an385", Shape(8, 8, 64), id="paired-m3-64", marks=SLOW),
    pytest.param("planes_paired", "mps2-an505", Shape(7, 9, 113), id="paired-m33-113", marks=SLOW),
    pytest.param("planes_paired", "mps2-an500", Shape(7, 9, 28), id="paired-m7-28", marks=SLOW),
    pytest.param("planes_paired", "mps3-an547", Shape(7, 9, 14), id="paired-m55-14", marks=SLOW),
    pytest.param("planes_mve", "mps3-an547", Shape(6, 7, 5), id="mve-64"),
    pytest.param("planes_mve", "mps3-an547", Shape(12, 16, 33), id="mve-128", marks=SLOW),
    pytest.param("planes_mve", "mps3-an547", Shape(9, 10, 5), id="mve-128-5", marks=SLOW),
    pytest.param("planes_mve", "mps3-an547", Shape(6, 6, 97), id="mve-64-97", marks=SLOW),
    pytest.param("planes_mve", "mps3-an547", Shape(11, 12, 41), id="mve-128-41", marks=SLOW),
)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(("strategy", "board_id", "shape"), CASES)
def test_every_class_equals_the_reference(strategy: str, board_id: str, shape: Shape, tmp_path: Path) -> None:
    program, board = many_layers(shape), load_board(board_id)
    plan = plan_layers(program, board.target, strategy)
    batch = images(program, 5)
    traces, runs = run_counted(plan, board, batch, tmp_path)
    assert_traces_equal(plan, traces, run_fan(program, batch))
    assert all(run[1:] == runs[0][1:] for run in runs)
    assert all(cost.cycles is not None for cost in runs[0])
