# SPDX-License-Identifier: Apache-2.0
"""Strategy planes_mve: what it accepts, its tables, its scratch, and its portable C against the reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from picobnn.codegen.emit import runtime_text
from picobnn.codegen.plan import Layout
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.strategies._planes_mve_tables import (
    GROUP,
    MAX_WORDS,
    PARTS,
    block_words,
    form_of,
    unit_tables,
    word_places,
)
from picobnn.codegen.targets import CORES, InstructionSet, find_core
from picobnn.codegen.vocabulary import PadMode, Shape
from tests.support.planes_layers import REFUSED_CHANGES, assert_c_equals_reference, every_class, layer, random_layer
from tests.support.small_programs import SAME_3X3, binary_conv2d, binary_dense, input_conv2d

M55 = find_core("m55")
PLANES_MVE = find_strategy("planes_mve")


SLOW = pytest.mark.slow
SHAPES = (
    pytest.param(Shape(6, 7, 5), marks=SLOW),
    pytest.param(Shape(9, 10, 5), marks=SLOW),
    pytest.param(Shape(8, 16, 33), marks=SLOW),
    pytest.param(Shape(13, 20, 3), marks=SLOW),
    pytest.param(Shape(1, 7, 97), marks=SLOW),
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_class_equals_the_reference(shape: Shape) -> None:
    assert_c_equals_reference(every_class(shape), "planes_mve", core="m55")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=SLOW) for seed in range(1, 11))])
def test_random_layers_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(300 + seed)
    assert_c_equals_reference([random_layer(rng) for _ in range(25 if seed else 8)], "planes_mve", core="m55")


def test_a_map_of_64_pixels_runs_two_filters() -> None:
    """128 lanes are 128 pixels, or two filters on 64 where the pixels would fill less."""
    chosen = {}
    for height, width in ((16, 16), (8, 16), (9, 16), (8, 8), (7, 7), (9, 8), (14, 14)):
        made = layer(np.random.default_rng(0), Shape(height, width, 3), SAME_3X3, PadMode.ZERO, None, 8)
        assert made is not None
        chosen[height, width] = form_of(made[0], Shape(height, width, 3)).filters
    assert chosen == {(16, 16): 1, (8, 16): 1, (9, 16): 2, (8, 8): 2, (7, 7): 2, (9, 8): 1, (14, 14): 1}


@pytest.mark.parametrize("shape", [Shape(12, 11, 7), Shape(8, 8, 7)], ids=str)
def test_lists_hold_the_words_of_the_fewer_weights(shape: Shape) -> None:
    made = layer(np.random.default_rng(3), shape, SAME_3X3, PadMode.MINUS_ONE, None, 9)
    assert made is not None
    step = made[0]
    form, places = form_of(step, shape), word_places(step)
    assert np.unique(places).tolist() == list(range(1, 64))
    tables = unit_tables(step, shape, np.zeros(9, np.uint8))
    at = 0
    for unit, groups in enumerate(tables.groups.tolist()):
        assert tables.lists[at] == groups
        size = groups * GROUP * form.filters
        halves = tables.lists[at + 1 : at + 1 + size // 2]
        offsets = np.stack([halves & 0xFFFF, halves >> 16], axis=1).reshape(-1, form.filters, GROUP // form.filters)
        at += 1 + size // 2
        for index in range(form.filters):
            filter_ = unit * form.filters + index
            words = offsets[:, index].reshape(-1) // (4 * form.parts)
            if filter_ == 9:
                assert not words.any()
                continue
            weights = step.weights[filter_]
            fewer = int(2 * weights.sum() <= weights.size)
            np.testing.assert_array_equal(words[words > 0], np.sort(places[weights == fewer]))
    assert at == len(tables.lists)


@pytest.mark.parametrize(("change", "reason"), REFUSED_CHANGES)
def test_convolutions_it_refuses(change: dict[str, object], reason: str) -> None:
    program = binary_conv2d()
    refusal = PLANES_MVE.accepts(dataclasses.replace(program.steps[1], **change), program, M55)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_other_steps_and_cores_it_refuses() -> None:
    for program in (input_conv2d(), binary_dense()):
        refusal = PLANES_MVE.accepts(program.steps[-1], program, M55)
        assert refusal == Refusal("only binary convolutions have planes of pixels")
    program = binary_conv2d()
    for core in CORES:
        refusal = PLANES_MVE.accepts(program.steps[1], program, core)
        assert refusal == (None if core.isa is InstructionSet.MVE else Refusal("the core has no vectors"))


def test_tables_and_scratch() -> None:
    program = binary_conv2d()
    step, shape = program.steps[1], program.tensors[program.steps[1].input].shape
    tables = {table.role: table for table in PLANES_MVE.tables(step, program, M55)}
    assert list(tables) == ["lists", "limits", "row_classes", "column_classes"]
    assert tables["limits"].values.size == 17 * 9 * 8  # 17 pairs of filters, 9 classes, 7 bits and what rounds
    words = block_words(step)
    assert words == 48
    carries = int(unit_tables(step, shape, step.epilogue.flip).groups.max()) + 8
    assert PLANES_MVE.scratch_bytes(step, program, M55) == 4 * (48 * 2 + max(48 + 16, PARTS * carries) + 5 * 9 + 33)
    assert PLANES_MVE.input_layout(step) is PLANES_MVE.output_layout(step) is Layout.PIXEL_PLANES
    terms = PLANES_MVE.cost_terms(step, program, M55)
    assert all(term.mean == term.worst >= 0 for term in terms)
    assert f"#define PICOBNN_PLANES_MVE_MAX_WORDS {MAX_WORDS}u\n" in runtime_text("picobnn_planes_mve.h")
    assert f"#define PICOBNN_PLANES_MVE_PARTS {PARTS}u\n" in runtime_text("picobnn_planes_mve.h")
