# SPDX-License-Identifier: Apache-2.0
"""Strategy rows: what it accepts, its tables, its scratch, and its portable C on hand-picked and random layers."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from picobnn.codegen.emit import render_model
from picobnn.codegen.pack import unpack_words
from picobnn.codegen.program import BinaryDenseStep, Density, InputConv2dStep, Program, Tensor, verify_program
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import (
    ElementKind,
    PadMode,
    Pool,
    PoolStage,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)
from picobnn.sim.hostc import HostModel, build_library
from picobnn.sim.reference import run_program
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.random_programs import Limits, random_images, random_program
from tests.support.rows_layers import (
    CONVOLUTIONS,
    DOMAINS,
    EXTREMES,
    MINUS,
    ZERO,
    Layer,
    chain,
    chain_images,
    forced_rows,
    in_domains,
)
from tests.support.small_programs import SAME_3X3, binary_conv2d, binary_dense, bits, input_conv2d, scale

M4 = find_core("m4")
ROWS = find_strategy("rows")


def assert_c_equals_reference(programs: list[Program], seed: int | None = None) -> None:
    """On the images of the chains, or on random ones."""
    plans = [make_plan(program, M4, forced=forced_rows(program)) for program in programs]
    if seed is None:
        batches = [chain_images(program, 8) for program in programs]
    else:
        batches = [random_images(np.random.default_rng(seed), program, 8) for program in programs]
    assert_host_c_equals_reference(plans, batches)


def random_layers(rng: np.random.Generator, count: int, limits: Limits) -> list[Program]:
    """Random programs with at least one step of the strategy."""
    found: list[Program] = []
    while len(found) < count:
        program = random_program(rng, limits)
        if forced_rows(program):
            found.append(program)
    return found


def test_every_shape_class() -> None:
    shape = Shape(9, 10, 37)
    programs = [chain((layer,), shape, index) for index, layer in enumerate(CONVOLUTIONS)]
    programs += [chain(CONVOLUTIONS, shape), chain(EXTREMES, Shape(4, 5, 64))]
    for program in programs:
        verify_program(program)
    assert_c_equals_reference(programs)


def test_every_count_of_rows() -> None:
    """Lists around multiples of 8 and 16, counters from the narrowest on, lanes around whole words."""
    fan_ins = [1, 7, 8, 9, 31, 32, 33, 64, 127, 128, 129, 255, 256, 511, 512, 600, 1023, 1024]
    lanes = [1, 31, 32, 33, 64, 65] * 3
    programs = [
        chain((Layer(count, window),), Shape(2, 1, channels), channels)
        for channels, count in zip(fan_ins, lanes, strict=True)
        for window in (None, Window(1, 1))
    ]
    assert_c_equals_reference(programs)


def test_random_layers() -> None:
    assert_c_equals_reference(random_layers(np.random.default_rng(1), 40, Limits()), seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_many_random_layers(seed: int) -> None:
    limits = Limits(max_layers=6, max_side=14, max_channels=140, max_classes=70)
    assert_c_equals_reference(random_layers(np.random.default_rng(100 + seed), 60, limits), seed=seed)


def test_the_widest_fan_in_decides_exactly_at_both_ends() -> None:
    """32767 weights per filter: all agree, all differ, thresholds one below, at and above the ends; set and clear bits
    select."""
    width = 1057  # 31 * 1057 = 32767
    tensors = (
        Tensor("image", Shape(1, width, 1), ElementKind.UINT8),
        Tensor("bits", Shape(1, width, 31), ElementKind.BIT),
        Tensor("out", Shape(1, 1, 8), ElementKind.BIT),
    )
    first = InputConv2dStep(
        "first", "f", 0, 1, bits(31, 1, 1, 1), Window(1, 1), None, Threshold(np.arange(31, dtype=np.int32), bits(31))
    )
    images = np.stack([np.full((1, width, 1), value, np.uint8) for value in (0, 255)])
    seen = run_program(Program("probe", 9, tensors[:2], (first,)), images)[0]
    assert (seen[0].mean() < 0.5) != (seen[1].mean() < 0.5)
    ends = np.array([32766, 32767, 32768, 10**9, -32768, -32767, -32766, -(10**9)], np.int32)
    for image, patch in zip(images, seen, strict=True):
        weights = np.concatenate([np.repeat(patch[None], 4, 0), np.repeat(1 - patch[None], 4, 0)])
        dense = BinaryDenseStep("dense", "d", 1, 2, weights, Threshold(ends, np.zeros(8, np.uint8)))
        program = Program("wide", 9, tensors, (first, dense))
        plan = make_plan(program, M4, forced={1: "rows"})
        executor = build_library([HostModel(plan, render_model(plan, "m"), "m")])[0]
        assert executor.run(image[None]).tolist() == [[1, 1, 0, 0, 1, 1, 0, 1]]


def domain_layers() -> list[Program]:
    """One layer each: every shape class in every domain, where the starts are not too many."""
    shape = Shape(9, 10, 37)
    programs = [
        chain((layer,), shape, index)
        for first in range(len(DOMAINS))
        for index, layer in enumerate(in_domains((*CONVOLUTIONS, *EXTREMES[-4:]), first))
    ]
    return [program for program in programs if ROWS.accepts(program.steps[1], program, M4) is None]


def test_two_values_in_every_shape_class() -> None:
    programs = domain_layers()
    assert len(programs) > 0.9 * len(DOMAINS) * len(CONVOLUTIONS)
    mixed = [chain(in_domains((*CONVOLUTIONS, *EXTREMES[-4:])), Shape(9, 10, 37))]
    assert_c_equals_reference(mixed + programs[::6])


@pytest.mark.slow
def test_every_two_values_in_every_shape_class() -> None:
    assert_c_equals_reference(domain_layers())


def shared_layers(rng: np.random.Generator, count: int) -> list[Program]:
    """Dense layers and convolutions with any two values that the strategy takes."""
    found: list[Program] = []
    while len(found) < count:
        domain = WeightDomain(int(rng.integers(0, 8)), int(rng.integers(-20, 21)))
        size = (int(side) for side in rng.integers(1, 5, 2))
        window = Window(*size, 1, 1, *(int(pad) for pad in rng.integers(0, 3, 4))) if rng.random() < 0.7 else None
        layer = Layer(int(rng.integers(1, 70)), window, (MINUS, ZERO)[int(rng.integers(2))], domain=domain)
        shape = Shape(*(int(side) for side in rng.integers(4, 8, 2)), int(rng.integers(1, 70)))
        program = chain((layer,), shape, int(rng.integers(1000)))
        if ROWS.accepts(program.steps[1], program, M4) is None:
            found.append(program)
    return found


def test_random_two_values() -> None:
    assert_c_equals_reference(shared_layers(np.random.default_rng(3), 25))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_many_random_two_values(seed: int) -> None:
    assert_c_equals_reference(shared_layers(np.random.default_rng(300 + seed), 80))


def adder_bits(step: BinaryDenseStep, program: Program, inputs: npt.NDArray[np.uint8], *, clear: bool) -> list[int]:
    """What the contract in picobnn_rows.h says, from the tables: start + twice the selected rows + addend, the sign."""
    tables = {table.role: table.values for table in ROWS.tables(step, program, M4)}
    numbers = dict(ROWS.view(step, program, M4, "x", dict.fromkeys(tables, "t")).numbers)
    planes, sets, fan_in = (numbers[f"filters.{name}"] for name in ("planes", "start_sets", "segment_rows"))
    head = tables["weights"][: tables["weights"].size - fan_in - 1].astype(np.uint32).view(np.int32).tolist()
    ratio, fraction = head or (-1, 0)
    selected = inputs == (0 if clear else 1)
    product = ratio * int(selected.sum())
    starts = unpack_words(tables["starts"].astype(np.uint32).reshape(2, sets, planes, 1), 32)[int(clear)]
    start = (starts[product % 2**fraction].astype(np.int64) << np.arange(planes)[:, None]).sum(axis=0)
    rows = unpack_words(tables["weights"][len(head) : -1].astype(np.uint32)[:, None], 32).astype(np.int64)
    count = (start + 2 * rows[selected].sum(axis=0) + (product >> fraction)) % 2**planes
    bits = (count < 2 ** (planes - 1)) ^ clear
    assert not bits[len(step.weights) :].any()  # lanes without a channel
    return bits[: len(step.weights)].tolist()


@given(
    shift=st.integers(0, 15),
    ratio=st.one_of(st.integers(-40, 40), st.integers(-32768, 32767)),
    taps=st.integers(1, 40),
    outputs=st.sampled_from([1, 31, 32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_starts_and_addends_decide_as_the_sum_does(shift: int, ratio: int, taps: int, outputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    domain = WeightDomain(shift, ratio)
    weights = (rng.random((outputs, 1, 1, taps)) < rng.random()).astype(np.uint8)
    inputs = (rng.random(taps) < rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])).astype(np.uint8)
    values = np.where(weights == 1, domain.values[1], domain.values[0]).reshape(outputs, taps)
    sums = values.astype(np.int64) @ (2 * inputs.astype(np.int64) - 1)
    reach = int(np.abs(values).sum(axis=1).max())
    near = sums + rng.integers(-2, 3, outputs)
    thresholds = np.where(rng.random(outputs) < 0.5, near, rng.integers(-reach - 2, reach + 3, outputs))
    flips = np.zeros(outputs, np.uint8)
    step = BinaryDenseStep("d", "d", 0, 1, weights, Threshold(thresholds.astype(np.int32), flips), domain)
    tensors = (
        Tensor("in", Shape(1, 1, taps), ElementKind.BIT),
        Tensor("out", Shape(1, 1, outputs), ElementKind.BIT),
    )
    program = Program("one", 0, tensors, (step,))
    assume(ROWS.accepts(step, program, M4) is None)
    for clear in (False, True):
        assert adder_bits(step, program, inputs, clear=clear) == (sums >= thresholds).tolist()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epilogue": scale(33), "pool": None}, "signs only"),
        ({"domain": WeightDomain(5, -1)}, "144 sets of starts, of 16 phases each, are above 72"),
        ({"domain": WeightDomain(0, 400)}, "are above 32767"),
        ({"kept": bits(33, 3, 3, 5)}, "removed"),
        ({"groups": 5}, "5 groups"),
        ({"pool": Pool(Window(1, 1, 1, 1, 1), PoolStage.BIT)}, "padding only"),
        ({"window": Window(3, 70000, 1, 1, 1, 70000, 1, 1)}, "above 65535"),
    ],
)
def test_convolutions_it_refuses(change: dict[str, object], reason: str) -> None:
    program = binary_conv2d()
    refusal = ROWS.accepts(dataclasses.replace(program.steps[1], **change), program, M4)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_other_steps_it_refuses() -> None:
    program = input_conv2d()
    assert ROWS.accepts(program.steps[0], program, M4) == Refusal("the input is 8-bit, not binary")
    wide = dataclasses.replace(binary_dense().steps[1], weights=bits(1, 1, 1, 32768))
    assert ROWS.accepts(wide, binary_dense(), M4) == Refusal("32768 weights per filter are above 32767")


def test_tables() -> None:
    program = binary_conv2d()
    step = program.steps[1]
    tables = {table.role: table for table in ROWS.tables(step, program, M4)}
    assert list(tables) == ["weights", "starts", "row_sets", "column_sets", "column_runs", "flips"]
    rows = tables["weights"].values.astype(np.uint32).reshape(2, 3, 16)
    lanes = unpack_words(np.moveaxis(rows, 0, -1), 33)  # (kx, ky and channel, output)
    np.testing.assert_array_equal(lanes[:, :15].reshape(3, 3, 5, 33), step.weights.transpose(2, 1, 3, 0))
    assert not lanes[:, 15].any()
    assert tables["starts"].values.size == 2 * 9 * 2 * 9
    assert len({*tables["row_sets"].values.tolist()}) == 3
    padded = dataclasses.replace(step, pad_mode=PadMode.MINUS_ONE)
    assert [table.role for table in ROWS.tables(padded, program, M4)] == ["weights", "starts", "column_runs", "flips"]
    assert ROWS.tables(padded, program, M4)[1].values.size == 2 * 2 * 9


def test_tables_of_two_values() -> None:
    """Ratio and fraction in front of the rows; starts for each of four phases, whose sets stand side by side."""
    program = binary_conv2d()
    plain = {table.role: table.values for table in ROWS.tables(program.steps[1], program, M4)}
    step = dataclasses.replace(program.steps[1], domain=WeightDomain(4, -6))
    tables = {table.role: table.values for table in ROWS.tables(step, program, M4)}
    assert tables["weights"][:2].tolist() == [2**32 - 3, 2]
    np.testing.assert_array_equal(tables["weights"][2:], plain["weights"])
    assert tables["starts"].size == 4 * plain["starts"].size
    np.testing.assert_array_equal(tables["row_sets"], 4 * plain["row_sets"])
    np.testing.assert_array_equal(tables["column_sets"], 4 * plain["column_sets"])
    doubled = dataclasses.replace(program.steps[1], domain=WeightDomain(2, -2))
    assert ROWS.tables(doubled, program, M4)[0].values.size == plain["weights"].size
    positions = {
        domain: next(term.mean for term in ROWS.cost_terms(each, program, M4) if term.name == "phased")
        for domain, each in (("plain", program.steps[1]), ("shared", step), ("doubled", doubled))
    }
    walked = next(term.mean for term in ROWS.cost_terms(step, program, M4) if term.name == "position")
    assert positions == {"plain": 0, "shared": walked, "doubled": 0}


def test_scratch() -> None:
    program = binary_conv2d()
    assert ROWS.scratch_bytes(program.steps[1], program, M4) == 4 * (7 + 2 + 8 + 3 + 3 + 4 * 15 + 21)
    dense = binary_dense()
    assert ROWS.scratch_bytes(dense.steps[1], dense, M4) == 4 * (7 + 2 + 8 + 45 + 21)


def test_cost_terms_count_what_runs() -> None:
    """A 3x3 over 8x8: 10 columns per row of positions, 64 positions, 484 of 576 taps inside; lists hold 22 * 8 pixels
    of the map and 64 of padding. With all bits set the clear ones select: the padding, everywhere."""
    program = chain((Layer(64, SAME_3X3),), Shape(8, 8, 64))
    full = dataclasses.replace(program, statistics=(Density(1, 4096, 4096),))
    terms, of_full = (
        {term.name: term for term in ROWS.cost_terms(each.steps[1], each, M4)} for each in (program, full)
    )
    assert terms["map_word"].mean == 64 * 2
    assert terms["column"].mean == 8 * 10
    assert terms["list_word"].mean == 22 * 8 * 2
    assert terms["position"].mean == 64
    assert terms["group"].mean == 128
    assert terms["phased"].worst == 0
    assert 0.48 * 22 * 8 * 64 < terms["listed"].mean < 0.5 * 22 * 8 * 64
    assert (of_full["listed"].mean, of_full["outside"].mean) == (0, 64 * 64)
    assert of_full["added"].mean == 2 * (92 * 64 + 3.5 * 64)


def test_half_of_the_taps_select_at_most() -> None:
    """Of a dense layer with a share p of independent bits min(p, 1 - p) of them, less what chance does."""
    program = chain((Layer(64),), Shape(8, 8, 64))
    for ones, most in ((0, 0), (410, 410), (2048, 2048), (3686, 410), (4096, 0)):
        said = dataclasses.replace(program, statistics=(Density(1, ones, 4096),))
        listed = next(term.mean for term in ROWS.cost_terms(said.steps[1], said, M4) if term.name == "listed")
        assert most - 26 < listed <= most + 1e-6
