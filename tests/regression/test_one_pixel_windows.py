# SPDX-License-Identifier: Apache-2.0
"""``xnor`` and ``rows`` took every 1x1 window whose map has the size of its input for one that visits every pixel. With
padding at the far edges one of stride 2 has that size too; it leaves pixels out and ends in the padding. Both refuse it
now; with padding at the near edges, or on maps that a stride cannot leave, they run it."""

from __future__ import annotations

import numpy as np
import pytest

from picobnn.codegen.plan import Kernels
from picobnn.codegen.program import Program, verify_program
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import PadMode, Pool, PoolStage, Shape, Window
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.planes_layers import images, layer, single

M4 = find_core("m4")
SKIPPING = (
    (Shape(2, 2, 64), Window(1, 1, 2, 2, pad_bottom=1, pad_right=1), None),
    (Shape(3, 5, 40), Window(1, 1, 2, 1, pad_bottom=2), None),
    (Shape(5, 3, 32), Window(1, 1, 1, 3, pad_right=6), Pool(Window(1, 1), PoolStage.BIT)),
)
RUN = (
    (Shape(3, 3, 64), Window(1, 1, 2, 2, 1, 1, 1, 1), None),
    (Shape(1, 4, 64), Window(1, 1, 2, 1, pad_bottom=1), None),
    (Shape(3, 2, 32), Window(1, 1), None),
)
Case = tuple[Shape, Window, Pool | None]


def program_of(case: Case, mode: PadMode) -> Program:
    shape, window, pool = case
    made = layer(np.random.default_rng(7), shape, window, mode, pool, 40)
    assert made is not None
    assert made[1] == Shape(shape.height, shape.width, 40)
    program = single(*made, shape)
    verify_program(program)
    return program


@pytest.mark.parametrize("mode", PadMode)
@pytest.mark.parametrize("case", SKIPPING)
def test_windows_that_leave_pixels_out_are_refused(case: Case, mode: PadMode) -> None:
    program = program_of(case, mode)
    for name in ("xnor", "rows"):
        refusal = find_strategy(name).accepts(program.steps[1], program, M4)
        assert refusal is not None
        assert "leaves out pixels" in refusal.reason
    assert make_plan(program, M4, kernels=Kernels.XNOR).steps[1].strategy == "xnor_general"


def test_windows_of_equal_maps_equal_the_reference() -> None:
    programs = [program_of(case, mode) for case, mode in zip(RUN, (PadMode.ZERO, *PadMode), strict=True)]
    plans = [make_plan(program, M4, forced={1: name}) for program in programs for name in ("xnor", "rows")]
    plans += [make_plan(program_of(SKIPPING[0], PadMode.ZERO), M4)]
    assert_host_c_equals_reference(plans, [images(plan.program, 4) for plan in plans])
