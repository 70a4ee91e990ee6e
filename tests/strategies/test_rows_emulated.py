# SPDX-License-Identifier: Apache-2.0
"""Strategy rows on emulated boards: the assembly of each instruction set equals the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import load_board
from picobnn.codegen.vocabulary import Shape
from picobnn.sim.reference import run_program
from tests.support.emulated import assert_traces_equal, run_traced
from tests.support.firmware import needs_emulator
from tests.support.rows_layers import CONVOLUTIONS, EXTREMES, Layer, chain, chain_images, forced_rows, in_domains

BOARDS = (
    pytest.param("mps2-an386", id="m4"),
    pytest.param("mps2-an385", id="m3", marks=pytest.mark.slow),
    pytest.param("mps2-an385-v6m", id="m0plus"),
    pytest.param("mps2-an505", id="m33", marks=pytest.mark.slow),
    pytest.param("mps2-an500", id="m7", marks=pytest.mark.slow),
)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(
    "layers",
    [
        pytest.param(CONVOLUTIONS + EXTREMES, id="plain"),
        pytest.param(in_domains((*CONVOLUTIONS, *EXTREMES[-4:])), id="two-values"),
    ],
)
@pytest.mark.parametrize("board_id", BOARDS)
def test_every_shape_class_equals_the_reference(board_id: str, layers: tuple[Layer, ...], tmp_path: Path) -> None:
    program, board = chain(layers, Shape(9, 10, 37)), load_board(board_id)
    plan = make_plan(program, board.target, forced=forced_rows(program))
    images = chain_images(program, 6)
    traces = run_traced(plan, board, images, tmp_path)
    assert_traces_equal(plan, traces, run_program(program, images))
