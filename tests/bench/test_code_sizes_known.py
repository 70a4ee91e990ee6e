# SPDX-License-Identifier: Apache-2.0
"""Every unit of code that a plan names has a linked size, 0 where its source is empty on the core.

Units of 0 bytes were left out of what the calibration writes, so that a plan always had one of unknown size and the
search counted no code at all.
"""

from __future__ import annotations

import pytest
from calibrate import code_sizes
from calibration_layers import Conv, build_chain
from layer_runs import board_of, link_plan, linked_code, plan_for

from picobnn.codegen.plan import Kernels
from picobnn.codegen.runtime_code import STEP, code_units, transpose_units
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.vocabulary import Shape
from tests.support.firmware import needs_compiler


@needs_compiler
@pytest.mark.parametrize(("core", "strategy"), [("m4", "planes"), ("m0", "rows")])
def test_all_units_of_a_plan_have_a_size(core: str, strategy: str) -> None:
    board = board_of(core)
    program, _ = build_chain((Shape(6, 6, 1), (Conv(8, 1), Conv(8, 3)), ()), 0)
    plan = plan_for(program, board, Kernels.XNOR, forced={1: strategy})
    sizes = code_sizes([(len(plan.steps), linked_code(plan, link_plan(plan, board)[1]))])
    named = (code_units(find_strategy(step.strategy), board.target) for step in plan.steps)
    assert transpose_units().union({STEP}, *named) <= set(sizes)
