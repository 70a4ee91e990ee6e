# SPDX-License-Identifier: Apache-2.0
"""Strategy planes_paired: its couples, its tables, and its C against the reference."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import Program
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.strategies._planes_paired_tables import find_couples
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import PadMode, Shape, Window
from tests.support.planes_layers import assert_c_equals_reference, every_class, layer, random_layer, single
from tests.support.small_programs import SAME_3X3, binary_conv2d, binary_dense

M4 = find_core("m4")
PAIRED = find_strategy("planes_paired")


def counter_layers(cases: tuple[tuple[int, int], ...]) -> list[Program]:
    """Layers of so many channels and filters, with both paddings."""
    rng = np.random.default_rng(9)
    programs = []
    for channels, filters in cases:
        shape = Shape(4, 9, channels)
        made = layer(rng, shape, SAME_3X3, (PadMode.MINUS_ONE, PadMode.ZERO)[channels % 2], None, filters)
        assert made is not None
        programs.append(single(*made, shape))
    return programs


def core_of(program: Program) -> str:
    """The core that runs step 1."""
    symbols = {table.role: table.role for table in PAIRED.tables(program.steps[1], program, M4)}
    return dict(PAIRED.view(program.steps[1], program, M4, "layer", symbols).pointers)["core"]


def narrow_layers() -> list[Program]:
    """1x1 layers with few and with more channels: with short lists and with long ones."""
    programs = []
    for channels in (64, 120):
        rng, shape = np.random.default_rng(channels), Shape(4, 9, channels)
        made = layer(rng, shape, Window(1, 1), PadMode.MINUS_ONE, None, 33)
        assert made is not None
        weights = rng.integers(0, 2, made[0].weights.shape).astype(np.uint8)
        programs.append(single(dataclasses.replace(made[0], weights=weights), made[1], shape))
    return programs


def test_the_small_core_runs_layers_with_short_lists() -> None:
    short, long = narrow_layers()
    assert core_of(short) == "picobnn_planes_paired_small"
    assert core_of(long) == "picobnn_planes_paired_core_7"
    assert core_of(counter_layers(((13, 40),))[0]) == "picobnn_planes_paired_classes_7"
    for program, is_small in ((short, True), (long, False)):
        terms = {term.name: term.mean for term in PAIRED.cost_terms(program.steps[1], program, M4)}
        assert (terms["small_filter"] > 0) == is_small
        assert (terms["filter"] > 0) == (terms["group"] > 0) == (not is_small)


def test_random_layers_and_widths_of_the_counters_equal_the_reference() -> None:
    rng = np.random.default_rng(40)
    layers = [random_layer(rng) for _ in range(7)]
    assert_c_equals_reference(
        [*layers, *narrow_layers()[:1], *counter_layers(((13, 1), (57, 2), (228, 3)))], "planes_paired"
    )


@pytest.mark.slow
def test_every_width_of_the_counters_equals_the_reference() -> None:
    assert_c_equals_reference(
        counter_layers(((13, 1), (14, 2), (29, 3), (57, 8), (114, 9), (228, 10), (440, 5))), "planes_paired"
    )


@pytest.mark.slow
@pytest.mark.parametrize("shape", [Shape(9, 10, 5), Shape(8, 16, 33), Shape(1, 7, 97), Shape(5, 32, 2)], ids=str)
def test_every_class_equals_the_reference(shape: Shape) -> None:
    assert_c_equals_reference(every_class(shape), "planes_paired")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_five_hundred_random_layers_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(300 + seed)
    assert_c_equals_reference([random_layer(rng) for _ in range(50)], "planes_paired", 8)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 30),
    taps=st.integers(1, 200),
    density=st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0]),
)
def test_every_filter_is_in_one_couple_and_adds_its_words_once(
    seed: int, count: int, taps: int, density: float
) -> None:
    weights = (np.random.default_rng(seed).random((count, taps)) < density).astype(np.uint8)
    couples = find_couples(weights)
    members = [index for couple in couples for index in couple.filters]
    assert len(members) == count + count % 2
    assert sorted(set(members)) == list(range(count))
    for couple in couples:
        for index, adds_set, alone in zip(couple.filters, couple.adds_set, (couple.first, couple.second), strict=True):
            np.testing.assert_array_equal(couple.common + alone, weights[index] == int(adds_set))


def test_filters_that_are_alike_become_couples() -> None:
    rng = np.random.default_rng(3)
    half = rng.integers(0, 2, (20, 300)).astype(np.uint8)
    weights = np.concatenate([half, 1 - half])
    order = rng.permutation(40)
    for couple in find_couples(weights[order]):
        assert abs(int(order[couple.filters[0]]) - int(order[couple.filters[1]])) == 20
        np.testing.assert_array_equal(couple.first, couple.second)
        assert couple.first.sum() <= 16


def test_couples_add_fewer_words_than_filters_alone() -> None:
    weights = np.random.default_rng(5).integers(0, 2, (64, 576)).astype(np.uint8)
    ones = weights.sum(axis=1)
    alone = int(np.minimum(ones, 576 - ones).sum())
    paired = sum(
        int(couple.common.sum() + couple.first.sum() + couple.second.sum()) for couple in find_couples(weights)
    )
    assert paired < 0.78 * alone


def test_what_it_refuses() -> None:
    for program in (binary_dense(), binary_conv2d()):
        planes = find_strategy("planes")
        for core in ("m0plus", "m4", "m33"):
            target = find_core(core)
            step = program.steps[-1]
            assert PAIRED.accepts(step, program, target) == planes.accepts(step, program, target)
    program = binary_conv2d()
    step = dataclasses.replace(program.steps[1], window=Window(3, 3, 1, 3))
    assert isinstance(PAIRED.accepts(step, program, M4), Refusal)


def test_tables() -> None:
    program = binary_conv2d()
    step = program.steps[1]
    tables = {table.role: table for table in PAIRED.tables(step, program, M4)}
    assert list(tables) == ["filters", "lists", "limits", "row_classes", "column_classes"]
    couples = tables["filters"].values.reshape(-1, 8)
    assert len(couples) == 17
    rows, columns = program.tensors[2].shape.height, program.tensors[2].shape.width
    places = couples[:, [2, 5]].reshape(-1) // (4 * -(-rows * columns // 32))
    assert sorted({int(place) for place in places}) == list(range(33))
    assert tables["limits"].values.size == 9 * 34
    assert PAIRED.input_layout(step) is PAIRED.output_layout(step) is Layout.PIXEL_PLANES
    terms = PAIRED.cost_terms(step, program, M4)
    assert all(term.mean == term.worst >= 0 for term in terms)
