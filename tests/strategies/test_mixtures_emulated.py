# SPDX-License-Identifier: Apache-2.0
"""Strategies next to each other on emulated boards: transposes and arena offsets as the core sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.plan import Plan
from picobnn.codegen.targets import load_board
from picobnn.sim.reference import run_program
from tests.support.emulated import assert_traces_equal, run_traced
from tests.support.firmware import needs_emulator
from tests.support.mixtures import mixture
from tests.support.random_programs import Limits, random_images, random_program

BOARDS = (
    pytest.param("mps2-an386", id="m4"),
    pytest.param("mps2-an385-v6m", id="m0plus", marks=pytest.mark.slow),
    pytest.param("mps2-an385", id="m3", marks=pytest.mark.slow),
    pytest.param("mps2-an505", id="m33", marks=pytest.mark.slow),
    pytest.param("mps2-an500", id="m7", marks=pytest.mark.slow),
    pytest.param("mps3-an547", id="m55", marks=pytest.mark.slow),
)


def transposes(plan: Plan) -> int:
    return sum(step.transpose_bytes > 0 for step in plan.steps)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize("board_id", BOARDS)
def test_the_mixture_with_most_transposes_equals_the_reference(board_id: str, tmp_path: Path) -> None:
    board, rng = load_board(board_id), np.random.default_rng(4)
    limits = Limits(max_layers=9, max_side=14)
    plan = max((mixture(random_program(rng, limits), rng, board.target) for _ in range(60)), key=transposes)
    program = plan.program
    images = random_images(rng, program, 6)
    traces = run_traced(plan, board, images, tmp_path)
    assert_traces_equal(plan, traces, run_program(program, images))
