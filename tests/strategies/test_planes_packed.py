# SPDX-License-Identifier: Apache-2.0
"""Strategy planes_packed: any two values against the reference, one bit per weight, lists in RAM."""

from __future__ import annotations

import numpy as np
import pytest

from picobnn.codegen.plan import Kernels, Optimize
from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy, table_bytes
from picobnn.codegen.strategies._lists import BLOCKS_BYTES
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, PadMode, Shape
from tests.support.lists_layers import M4, edge_layers, random_values, with_values
from tests.support.planes_layers import assert_c_equals_reference, layer, single
from tests.support.small_programs import SAME_3X3

PACKED = find_strategy("planes_packed")


def same_3x3(shape: Shape, filters: int) -> Program:
    made = layer(np.random.default_rng(1), shape, SAME_3X3, PadMode.MINUS_ONE, None, filters)
    assert made is not None
    return single(*made, shape)


def test_random_layers_equal_the_reference() -> None:
    rng = np.random.default_rng(2)
    assert_c_equals_reference([random_values(rng, "planes_packed") for _ in range(6)], "planes_packed")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_five_hundred_random_layers_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(300 + seed)
    assert_c_equals_reference([random_values(rng, "planes_packed") for _ in range(50)], "planes_packed", 8)


def test_edges_equal_the_reference() -> None:
    assert_c_equals_reference(edge_layers("planes_packed"), "planes_packed", 4)


def test_flash_is_a_bit_per_weight_and_two_bytes_per_filter() -> None:
    program = same_3x3(Shape(16, 16, 32), 32)
    size = table_bytes(PACKED.tables(program.steps[1], program, M4))
    assert size == 32 * 288 // 8 + 2 * 32
    assert 8 * size / program.steps[1].weights.size < 1.1


def test_scratch_holds_as_many_blocks_as_there_is_room_for() -> None:
    few, many = same_3x3(Shape(8, 8, 64), 16), same_3x3(Shape(32, 32, 64), 16)
    scratch = [PACKED.scratch_bytes(program.steps[1], program, M4) for program in (few, many)]
    record = 4 * (12 + 2 + 576)
    assert scratch[0] - 2 * record < record
    assert BLOCKS_BYTES - record < scratch[1] < BLOCKS_BYTES + record
    large = same_3x3(Shape(4, 8, 440), 16)
    assert PACKED.scratch_bytes(large.steps[1], large, M4) > BLOCKS_BYTES


def test_removed_weights_it_refuses() -> None:
    program = same_3x3(Shape(6, 6, 5), 3)
    ternary = with_values(np.random.default_rng(1), program, PLUS_MINUS_ONE, ternary=True)
    refusal = PACKED.accepts(ternary.steps[1], ternary, M4)
    assert refusal == Refusal("some weights are removed; only whole filters are expanded")


def test_balanced_and_size_may_choose_it() -> None:
    assert PACKED.packed_weights
    program = same_3x3(Shape(16, 16, 32), 32)
    for optimize in (Optimize.BALANCED, Optimize.SIZE):
        plan = make_plan(program, M4, kernels=Kernels.AUTO, optimize=optimize)
        step = plan.steps[1]
        assert "planes_packed" in (step.strategy, *(other.strategy for other in step.alternatives))
        assert "planes" not in (step.strategy, *(other.strategy for other in step.alternatives))
