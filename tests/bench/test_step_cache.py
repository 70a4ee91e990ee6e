# SPDX-License-Identifier: Apache-2.0
"""Figures are found again for what ran, and for nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from calibration_layers import Conv, build_chain
from layer_runs import board_of, plan_for
from step_cache import StepCache

from picobnn.codegen.plan import Kernels, Layout
from picobnn.codegen.vocabulary import Shape
from tests.support.firmware import needs_compiler

PROGRAM, IMAGE = build_chain((Shape(6, 6, 1), (Conv(8, 1), Conv(8, 3)), ()), 0)


@needs_compiler
def test_figures_are_kept_for_the_same_run_only(tmp_path: Path) -> None:
    board = board_of("m4")
    known = StepCache(tmp_path, board)
    known.begin(PROGRAM, IMAGE)
    known.keep(1, "planes", 700)
    known.keep_transpose(1, Layout.PIXEL_PLANES, 30)
    known.save()
    again = StepCache(tmp_path, board)
    again.begin(PROGRAM, IMAGE)
    assert again.find(1, "planes") == 700
    assert again.find_transpose(1, Layout.PIXEL_PLANES) == 30
    assert again.find(1, "planes_paired") is None
    assert again.find_transpose(1, Layout.CHANNEL_WORDS) is None
    again.begin(PROGRAM, IMAGE ^ np.uint8(1))
    assert again.find(1, "planes") is None
    step = PROGRAM.steps[1]
    other = dataclasses.replace(PROGRAM, steps=(PROGRAM.steps[0], dataclasses.replace(step, weights=1 - step.weights)))
    again.begin(other, IMAGE)
    assert again.find(1, "planes") is None
    elsewhere = StepCache(tmp_path, board_of("m3"))
    elsewhere.begin(PROGRAM, IMAGE)
    assert elsewhere.find(1, "planes") is None


@needs_compiler
def test_a_plan_is_known_when_all_its_steps_are() -> None:
    board = board_of("m4")
    plan = plan_for(PROGRAM, board, Kernels.XNOR, forced={0: "direct", 1: "planes"})
    known = StepCache(None, board)
    known.begin(PROGRAM, IMAGE)
    known.keep(0, "direct", 1)
    known.keep(1, "planes", 2)
    assert not known.has_all(plan)
    known.keep_transpose(1, Layout.PIXEL_PLANES, 3)
    assert known.has_all(plan)
