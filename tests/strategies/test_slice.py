# SPDX-License-Identifier: Apache-2.0
"""Strategy slice: what it accepts, its tables, its scratch, and its portable C on hand-picked and random layers."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from picobnn.codegen.pack import unpack_words
from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import PadMode, Shape, WeightDomain, Window
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.slice_layers import (
    CONVOLUTIONS,
    NARROW,
    ZERO,
    Layer,
    chain,
    chain_images,
    forced_slice,
    random_chain,
    square,
)
from tests.support.small_programs import SAME_3X3, binary_conv2d, binary_dense, input_conv2d, scale

M4 = find_core("m4")
SLICE = find_strategy("slice")


def assert_c_equals_reference(programs: list[Program], images: int = 8) -> None:
    plans = [make_plan(program, M4, forced=forced_slice(program)) for program in programs]
    assert_host_c_equals_reference(plans, [chain_images(program, images) for program in programs])


def test_every_shape_class() -> None:
    shape = Shape(12, 13, 37)
    programs = [chain((layer,), shape, index) for index, layer in enumerate(CONVOLUTIONS)]
    programs += [chain(CONVOLUTIONS, shape), chain(NARROW, Shape(5, 1, 40)), chain(NARROW, Shape(1, 1, 33))]
    assert_c_equals_reference(programs)


def test_every_threshold_of_a_lane() -> None:
    """3x3 and 5x5, from below the least sum to above the greatest, with every kind of border."""
    programs = []
    for index, (size, mode) in enumerate(itertools.product((3, 5), PadMode)):
        taps = size * size
        program = chain((Layer(square(size, 1, size // 2), mode),), Shape(6, 7, 2 * (2 * taps + 5)), index)
        step = program.steps[1]
        values = np.repeat(np.arange(-taps - 2, taps + 3, dtype=np.int32), 2)
        flips = np.tile(np.array([0, 1], np.uint8), len(values) // 2)
        ending = dataclasses.replace(step.epilogue, thresholds=values, flip=flips)
        programs.append(
            dataclasses.replace(program, steps=(program.steps[0], dataclasses.replace(step, epilogue=ending)))
        )
    assert_c_equals_reference(programs, 12)


def test_random_layers() -> None:
    rng = np.random.default_rng(1)
    assert_c_equals_reference([random_chain(rng, 3) for _ in range(15)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_many_random_layers(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    assert_c_equals_reference([random_chain(rng, 5) for _ in range(60)], 12)


def test_the_widest_window() -> None:
    """30 x 17 = 510 taps, both paddings."""
    window = Window(30, 17, 1, 1, 9, 7, 9, 7)
    assert_c_equals_reference([chain((Layer(window, mode),), Shape(15, 6, 33), 3) for mode in PadMode])
    program = chain(
        (
            Layer(
                Window(31, 17),
            ),
        ),
        Shape(31, 17, 3),
    )
    assert SLICE.accepts(program.steps[1], program, M4) == Refusal("527 weights per filter are above 510")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epilogue": scale(37), "pool": None}, "signs only"),
        ({"domain": WeightDomain(2, -1)}, "-1 and +1"),
        ({"kept": np.ones((37, 3, 3, 1), np.uint8)}, "removed taps"),
        ({"groups": 1}, "37 channels, 37 filters and 1 groups"),
        ({"window": Window(3, 70000, 1, 1, 1, 70000, 1, 1)}, "above 65535"),
    ],
)
def test_convolutions_it_refuses(change: dict[str, object], reason: str) -> None:
    program = chain((Layer(SAME_3X3),), Shape(6, 6, 37))
    refusal = SLICE.accepts(dataclasses.replace(program.steps[1], **change), program, M4)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_other_steps_it_refuses() -> None:
    program = input_conv2d()
    assert SLICE.accepts(program.steps[0], program, M4) == Refusal("the input is 8-bit, not binary")
    program = binary_dense()
    assert SLICE.accepts(program.steps[1], program, M4) == Refusal("a dense layer is no depthwise convolution")
    program = binary_conv2d()
    refusal = SLICE.accepts(program.steps[1], program, M4)
    assert isinstance(refusal, Refusal)
    assert "no depthwise convolution with one filter per channel" in refusal.reason


def test_tables() -> None:
    """A lane's weights stand complemented, or plain where its threshold is too high for three planes."""
    program = chain((Layer(SAME_3X3),), Shape(6, 6, 37), ends=0.0)
    step = program.steps[1]
    tables = {table.role: table for table in SLICE.tables(step, program, M4)}
    assert list(tables) == ["weights", "starts", "spans"]
    assert tables["spans"].values.tolist() == [6, 0]
    marks = unpack_words(np.moveaxis(tables["weights"].values.astype(np.uint32).reshape(2, 3, 5), 0, -1), 37)
    np.testing.assert_array_equal(marks[:, :2], marks[:, 3:])
    starts = unpack_words(np.moveaxis(tables["starts"].values.astype(np.uint32).reshape(2, 4), 0, -1), 37)
    inverted = starts[3] ^ step.epilogue.flip
    np.testing.assert_array_equal(marks[:, :3].transpose(2, 1, 0), step.weights[..., 0] ^ (1 - inverted)[:, None, None])
    agreeing = 7 - starts[:3].T @ np.array([1, 2, 4])
    wanted = (step.epilogue.thresholds + 9 + 1) // 2
    np.testing.assert_array_equal(agreeing, np.where(inverted, 10 - wanted, wanted))


def test_zero_padding_has_starts_for_every_kind_of_border() -> None:
    program = chain((Layer(SAME_3X3, ZERO),), Shape(6, 6, 37))
    tables = {table.role: table for table in SLICE.tables(program.steps[1], program, M4)}
    assert list(tables) == ["weights", "starts", "spans", "row_sets"]
    assert tables["starts"].values.size == 9 * 2 * 4
    assert tables["spans"].values.reshape(3, 2)[:, 0].tolist() == [1, 4, 1]


def test_scratch() -> None:
    program = chain((Layer(SAME_3X3),), Shape(6, 7, 37))
    assert SLICE.scratch_bytes(program.steps[1], program, M4) == 4 * 2 * 9 * 3
    program = chain((CONVOLUTIONS[4],), Shape(6, 7, 37))
    assert SLICE.scratch_bytes(program.steps[1], program, M4) == 4 * 2 * (9 * 3 + 7)


def test_cost_terms_count_what_runs() -> None:
    program = chain((Layer(SAME_3X3, ZERO),), Shape(8, 6, 64))
    terms = {term.name: term.mean for term in SLICE.cost_terms(program.steps[1], program, M4)}
    assert terms["core_word"] == 8 * 6 * 2
    assert terms["copied"] == 10 * 6 * 2
    assert terms["core_group"] == 8 * 3 * 2
    assert terms["any_word"] == terms["merged"] == terms["flipped"] == 0
