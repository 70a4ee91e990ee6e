# SPDX-License-Identifier: Apache-2.0
"""Strategy subset: what it accepts, its tables, its scratch, and its C equal to the reference on the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import Pool, PoolStage, Shape, Threshold, Window
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.small_programs import SAME_3X3, binary_dense, bits, input_conv2d, scale
from tests.support.subset_layers import every_class, images, layer, random_layer, single

M4 = find_core("m4")
SUBSET = find_strategy("subset")


def function(program: Program) -> str:
    tables = SUBSET.tables(program.steps[0], program, M4)
    view = SUBSET.view(program.steps[0], program, M4, "layer", {table.role: table.role for table in tables})
    return view.function.removeprefix("picobnn_subset_conv2d_")


def assert_c_equals_reference(programs: Sequence[Program]) -> None:
    plans = [make_plan(program, M4, forced={0: "subset"}) for program in programs]
    assert_host_c_equals_reference(plans, [images(program, 8) for program in programs])


def test_every_class_equals_the_reference() -> None:
    programs = every_class()
    kinds = [f"{kind}{ending}" for kind in ("any", "thin", "wide") for ending in ("", "_halved", "_pooled")]
    assert {function(program) for program in programs} == {*kinds}
    assert_c_equals_reference(programs)


def test_sixty_random_layers_equal_the_reference() -> None:
    assert_c_equals_reference([random_layer(np.random.default_rng(seed)) for seed in range(60)])


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(10))
def test_six_hundred_random_layers_equal_the_reference(batch: int) -> None:
    assert_c_equals_reference([random_layer(np.random.default_rng(1000 + 60 * batch + index)) for index in range(60)])


def extremes(zero_point: int) -> Program:
    """The largest fan-in with all weights alike, thresholds at both ends of the reach and beyond."""
    shape = Shape(4, 5, 4)
    made = layer(np.random.default_rng(1), shape, zero_point, Window(4, 8, 1, 1, 1, 4, 1, 4), None, 36)
    assert made is not None
    step, output = made
    weights = np.repeat([0, 1], 18).astype(np.uint8).reshape(-1, 1, 1, 1) * np.ones_like(step.weights)
    low, high = -128 * zero_point, 128 * (255 - zero_point)
    ends = [low - 1, low, low + 1, high - 1, high, high + 1, -low - 1, -low, -low + 1, -high - 1, -high, -high + 1]
    thresholds = np.array([*ends, 0, 1, -1, 2**31 - 1, -(2**31), 1000] * 2, np.int32)
    epilogue = Threshold(thresholds, np.arange(36, dtype=np.uint8) % 3 % 2)
    assert weights[0].size == 128
    return single(dataclasses.replace(step, weights=weights, epilogue=epilogue), output, shape, zero_point)


def test_extreme_sums_stay_inside_the_lanes() -> None:
    assert_c_equals_reference([extremes(zero_point) for zero_point in (0, 1, 128, 255)])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epilogue": scale(5)}, "ends in a scale"),
        ({"pool": Pool(Window(2, 2, 2, 2, 2), PoolStage.ACC)}, "padding only"),
        ({"weights": bits(5, 3, 43, 1)}, "129 weights per filter are above 128"),
    ],
)
def test_what_it_refuses(change: dict[str, object], reason: str) -> None:
    first = input_conv2d()
    refusal = SUBSET.accepts(dataclasses.replace(first.steps[0], **change), first, M4)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_binary_layers_are_refused() -> None:
    dense = binary_dense()
    assert SUBSET.accepts(dense.steps[1], dense, M4) == Refusal("the input is binary, not 8-bit")


def test_flash_of_a_filter_is_eight_bytes() -> None:
    """27 weights and a threshold; filters come in even number."""
    for outputs, filters in ((32, 32), (33, 34)):
        shape = Shape(6, 6, 3)
        made = layer(np.random.default_rng(0), shape, 128, SAME_3X3, None, outputs)
        assert made is not None
        program = single(*made, shape, 128)
        assert [table.size_bytes for table in SUBSET.tables(program.steps[0], program, M4)] == [8 * filters]
        assert SUBSET.scratch_bytes(program.steps[0], program, M4) == 4 * (4 * 49 + 4 * ((outputs + 31) // 32) + 3)


def test_only_a_pool_on_accumulators_needs_flips() -> None:
    first = input_conv2d()
    for stage, roles in ((PoolStage.ACC, ["filters", "flips"]), (PoolStage.BIT, ["filters"])):
        step = dataclasses.replace(first.steps[0], pool=Pool(Window(2, 2, 2, 2), stage))
        assert [table.role for table in SUBSET.tables(step, first, M4)] == roles


def test_cost_terms_have_the_same_names_for_every_layer() -> None:
    programs = every_class()
    terms = [SUBSET.cost_terms(program.steps[0], program, M4) for program in programs]
    assert len({tuple(term.name for term in each) for each in terms}) == 1
    assert all(term.mean == term.worst >= 0 for each in terms for term in each)
