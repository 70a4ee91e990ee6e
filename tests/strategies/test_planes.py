# SPDX-License-Identifier: Apache-2.0
"""Strategy planes: what it accepts, its tables, its scratch, and its C against the reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from picobnn.codegen.emit import runtime_text
from picobnn.codegen.plan import Layout
from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.strategies._planes_tables import (
    GROUP,
    MAX_COUNTER_BITS,
    MAX_WORDS,
    RUN,
    WINDOW,
    block_words,
    counter_bits,
    make_list,
    tap_classes,
    word_places,
    zero_places,
)
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import PadMode, Pool, PoolStage, Shape, Window
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.planes_layers import (
    REFUSED_CHANGES,
    assert_c_equals_reference,
    every_class,
    layer,
    random_layer,
    single,
)
from tests.support.small_programs import SAME_3X3, binary_conv2d, binary_dense, input_conv2d

M4 = find_core("m4")
PLANES = find_strategy("planes")


SLOW = pytest.mark.slow
SHAPES = (
    Shape(9, 10, 5),
    pytest.param(Shape(8, 16, 33), marks=SLOW),
    pytest.param(Shape(1, 7, 97), marks=SLOW),
    pytest.param(Shape(5, 32, 2), marks=SLOW),
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_class_equals_the_reference(shape: Shape) -> None:
    assert_c_equals_reference(every_class(shape), "planes")


def test_maps_whose_rows_share_words_equal_the_reference() -> None:
    """Widths that divide 32, through strides of 2 and pools of 2x2; odd and even heights."""
    halving = Pool(Window(2, 2, 2, 2), PoolStage.ACC)
    programs = []
    for index, width in enumerate((2, 4, 8, 16, 32)):
        for height in (2 + index, 9 + index, 17):
            shape, rng = Shape(height, width, 3), np.random.default_rng(height)
            for window, pool in ((SAME_3X3, halving), (Window(3, 3, 2, 2, 1, 1, 1, 1), None)):
                made = layer(rng, shape, window, PadMode.ZERO, pool, 5)
                assert made is not None
                programs.append(single(*made, shape))
    assert_c_equals_reference(programs, "planes")


HALVING = Window(2, 2, 2, 2)
OTHER_POOLS = (
    Window(2, 2, 2, 2, 1, 1, 0, 0),
    Window(2, 2, 2, 2, 0, 0, 1, 1),
    Window(2, 2, 2, 2, 0, 0, 0, 1),
    Window(2, 2, 2, 2, 0, 0, 1, 0),
    Window(2, 2),
    Window(2, 31, 1, 2, 0, 3, 1, 0),
    Window(3, 2, 3, 3),
    Window(1, 32),
    Window(3, 3, 2, 2, 1, 1, 1, 1),
)
"""Some with windows over the last column or row: beyond them lies padding, not the next row."""


def pooled(pool: Window, height: int, width: int) -> Program | None:
    """A 1x1 convolution, whose map is as sparse as its input, and the pool; None where that does not fit."""
    shape, rng = Shape(height, width, 2), np.random.default_rng(width)
    made = layer(rng, shape, Window(1, 1), PadMode.ZERO, Pool(pool, PoolStage.ACC), 5)
    return None if made is None else single(*made, shape)


def assert_pools_equal_the_reference(programs: Sequence[Program | None], count: int) -> None:
    """With images of few pixels: where all are noise, nearly every window has a set bit."""
    fitting = [program for program in programs if program is not None]
    plans = [make_plan(program, M4, forced={1: "planes"}) for program in fitting]
    rng, batches = np.random.default_rng(6), []
    for program in fitting:
        shape = program.input.shape
        chosen = rng.random((count, shape.height, shape.width, 1)) < rng.choice([0.05, 0.2, 0.9], (count, 1, 1, 1))
        batches.append(np.where(chosen, 255, 0).astype(np.uint8))
    assert_host_c_equals_reference(plans, batches)


def test_pools_equal_the_reference() -> None:
    programs = [pooled(HALVING, 5 + width % 4, width) for width in (*range(2, 19), 28, 31, 32, 33, 34)]
    programs += [pooled(pool, 6, 12 + 23 * (index % 2)) for index, pool in enumerate(OTHER_POOLS)]
    assert_pools_equal_the_reference(programs, 6)


@pytest.mark.slow
@pytest.mark.parametrize("pool", [HALVING, *OTHER_POOLS], ids=str)
@pytest.mark.parametrize("height", [3, 4, 16, 23])
def test_every_pool_of_every_width_equals_the_reference(pool: Window, height: int) -> None:
    assert_pools_equal_the_reference([pooled(pool, height, width) for width in (*range(2, 36), 64, 71)], 12)


@pytest.mark.parametrize(
    ("pool", "height", "width", "expected"),
    [
        (HALVING, 14, 14, {"halved": 5, "halved_row": 5 * 7, "halved_word": 5 * 7}),
        (HALVING, 7, 33, {"pooled": 5, "pooled_part": 5 * 3 * 1, "pooled_row": 5 * 6 * 1}),
        (HALVING, 5, 31, {"halved": 5, "halved_row": 5 * 2, "halved_word": 5 * 4}),
        (Window(3, 3, 2, 2, 1, 1, 1, 1), 8, 40, {"pooled": 5, "pooled_part": 5 * 4 * 2, "pooled_row": 5 * 11 * 2}),
        (Window(2, 2, 2, 2, 0, 0, 0, 1), 4, 5, {"pooled": 5, "pooled_part": 5 * 2, "pooled_row": 5 * 4}),
    ],
)
def test_cost_terms_of_pools(pool: Window, height: int, width: int, expected: dict[str, int]) -> None:
    program = pooled(pool, height, width)
    assert program is not None
    terms = {term.name: term.mean for term in PLANES.cost_terms(program.steps[1], program, M4)}
    names = ("finish", "halved", "halved_row", "halved_word", "pooled", "pooled_part", "pooled_row")
    assert {name: terms[name] for name in names if terms[name]} == expected


def test_forty_random_layers_equal_the_reference() -> None:
    rng = np.random.default_rng(4)
    assert_c_equals_reference([random_layer(rng) for _ in range(40)], "planes")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_five_hundred_random_layers_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(200 + seed)
    assert_c_equals_reference([random_layer(rng) for _ in range(50)], "planes", 8)


def test_every_width_of_the_counters_equals_the_reference() -> None:
    rng = np.random.default_rng(9)
    programs = []
    for channels in (13, 14, 29, 57, 114, 228, 440):
        shape = Shape(4, 9, channels)
        made = layer(rng, shape, SAME_3X3, (PadMode.MINUS_ONE, PadMode.ZERO)[channels % 2], None, 40)
        assert made is not None
        programs.append(single(*made, shape))
    assert [counter_bits(program.steps[1].weights[0].size) for program in programs] == [7, 8, 9, 10, 11, 12, 12]
    assert_c_equals_reference(programs, "planes")


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 2**32), words=st.integers(1, 1500), density=st.sampled_from([0.02, 0.1, 0.4, 0.6, 1.0]))
def test_lists_hold_their_words_once_and_zeros_else(seed: int, words: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    zeros = np.arange(0, words + 2 * RUN, RUN + 1)
    chance = np.where(np.arange(words) < words * rng.random(), density, density * rng.random())
    places = np.setdiff1d(np.flatnonzero(rng.random(words) < chance), zeros)
    found = make_list(places, zeros)
    assert len(found.entries) % 8 == 0
    assert len(found.entries) >= GROUP
    added = found.begin + found.advance * (np.arange(len(found.entries)) // GROUP) + found.entries
    real = added[~np.isin(added, zeros)]
    np.testing.assert_array_equal(real, places)
    assert added.min() >= 0
    assert added.max() <= zeros[-1]


def test_places() -> None:
    shape = Shape(4, 4, 2 * RUN + 1)
    made = layer(np.random.default_rng(1), shape, Window(2, 2), PadMode.ZERO, None, 3)
    assert made is not None
    step = made[0]
    places, zeros = word_places(step), zero_places(step)
    assert places[0, 0, 0] == 1
    assert places[1, 0, 0] == places[0, 0, -1] + 2
    assert places[0, 1, 0] == places[1, 0, -1] + 2
    assert len(np.unique(places)) == places.size
    assert not np.isin(places, zeros).any()
    assert places.size + len(zeros) == block_words(step)
    assert np.diff(zeros).max() <= RUN + 1 < WINDOW / 2
    text = runtime_text("picobnn_planes.h")
    assert f"#define PICOBNN_PLANES_RUN {RUN}u\n" in text
    assert f"#define PICOBNN_PLANES_MAX_WORDS {MAX_WORDS}u\n" in text
    assert f"#define PICOBNN_PLANES_MAX_BITS {MAX_COUNTER_BITS}u\n" in text


def test_classes_of_zero_padding() -> None:
    shape = Shape(4, 5, 2)
    made = layer(np.random.default_rng(1), shape, SAME_3X3, PadMode.ZERO, None, 3)
    assert made is not None
    classes = tap_classes(made[0], shape)
    assert len(classes.inside) == 9
    kinds = classes.rows[:, None] + classes.columns
    assert classes.inside[kinds[0, 0]].tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert classes.inside[kinds[2, 3]].all()
    ones = tap_classes(dataclasses.replace(made[0], pad_mode=PadMode.MINUS_ONE), shape)
    assert ones.inside.tolist() == [np.ones((3, 3)).tolist()]


@pytest.mark.parametrize(("change", "reason"), REFUSED_CHANGES)
def test_convolutions_it_refuses(change: dict[str, object], reason: str) -> None:
    program = binary_conv2d()
    refusal = PLANES.accepts(dataclasses.replace(program.steps[1], **change), program, M4)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_other_steps_and_cores_it_refuses() -> None:
    for program in (input_conv2d(), binary_dense()):
        refusal = PLANES.accepts(program.steps[-1], program, M4)
        assert refusal == Refusal("only binary convolutions have planes of pixels")
    program = binary_conv2d()
    assert PLANES.accepts(program.steps[1], program, find_core("m0plus")) is not None
    assert PLANES.accepts(program.steps[1], program, M4) is None


def test_tables_and_scratch() -> None:
    program = binary_conv2d()
    step = program.steps[1]
    tables = {table.role: table for table in PLANES.tables(step, program, M4)}
    assert list(tables) == ["filters", "lists", "limits", "row_classes", "column_classes"]
    assert tables["filters"].values.size == 2 * 33
    assert tables["limits"].values.size == 9 * 33
    assert PLANES.scratch_bytes(step, program, M4) == 4 * (64 + 16) + 4 * 33
    assert PLANES.input_layout(step) is PLANES.output_layout(step) is Layout.PIXEL_PLANES
    late = dataclasses.replace(step, pool=Pool(Window(2, 2, 1, 1), PoolStage.ACC))
    assert [table.role for table in PLANES.tables(late, program, M4)][-1] == "flips"
    terms = PLANES.cost_terms(step, program, M4)
    assert all(term.mean == term.worst >= 0 for term in terms)
