# SPDX-License-Identifier: Apache-2.0
"""Strategy gaps: against the reference, what its runs name, the bytes they take, what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

from picobnn.codegen.plan import Kernels
from picobnn.codegen.program import BinaryDenseStep, Program, Tensor, verify_program
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.strategies.gaps import LAST_RUN, MAX_RUN, gap_lists
from picobnn.codegen.targets import CORES, find_core, load_board
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    BitArray,
    ElementKind,
    Scale,
    Shape,
    Threshold,
    WeightDomain,
)
from picobnn.sim.reference import run_program
from tests.support.emulated import assert_traces_equal, run_counted
from tests.support.fans import fan_images, plan_fan, run_fan
from tests.support.firmware import needs_emulator
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.planes_layers import input_layer
from tests.support.random_programs import random_images
from tests.support.small_programs import binary_conv2d, binary_dense, input_conv2d, scale

M4 = find_core("m4")
GAPS = find_strategy("gaps")
INT32 = np.iinfo(np.int32)
DOMAINS = (
    PLUS_MINUS_ONE,
    WeightDomain(0, 0),
    WeightDomain(4, -1),
    WeightDomain(3, -8),
    WeightDomain(0, 7),
    WeightDomain(15, -3),
    WeightDomain(6, -900),
)
"""The fourth needs no count of the input where clear weights are named, the second none where set ones are."""


def dense(weights: BitArray, domain: WeightDomain, *, sums: bool, seed: int = 0) -> Program:
    """The layer behind an input layer. weights: (O, H, W, C). Thresholds near what a random input gives, anywhere
    within what any gives, at its ends, and beyond."""
    rng = np.random.default_rng(seed)
    shape, outputs, reach = Shape(*weights.shape[1:]), len(weights), weights[0].size * max(map(abs, domain.values))
    if sums:
        largest = max(1, INT32.max // (2 * reach))
        multipliers = rng.integers(-largest, largest, outputs, dtype=np.int32, endpoint=True)
        epilogue: Scale | Threshold = Scale(multipliers, rng.integers(-9999, 10000, outputs).astype(np.int32))
    else:
        anywhere = rng.integers(-reach, reach + 1, outputs)
        near = rng.integers(-int(reach**0.5) - 1, int(reach**0.5) + 2, outputs)
        ends = rng.choice([INT32.min, -reach - 1, -reach, -reach + 1, 0, reach, reach + 1, INT32.max], outputs)
        values = np.choose(rng.choice(3, outputs), [near, anywhere, ends])
        epilogue = Threshold(values.astype(np.int32), rng.integers(0, 2, outputs).astype(np.uint8))
    tensors = (
        Tensor("image", Shape(shape.height, shape.width, 1), ElementKind.UINT8),
        Tensor("bits", shape, ElementKind.BIT),
        Tensor("out", Shape(1, 1, outputs), ElementKind.INT32 if sums else ElementKind.BIT),
    )
    step = BinaryDenseStep("dense", "dense", 1, 2, weights, epilogue, domain)
    program = Program("dense", 128, tensors, (input_layer(shape.channels, tensors[0].shape), step))
    verify_program(program)
    return program


def few_ones(rng: np.random.Generator, shape: tuple[int, int, int, int], share: float) -> BitArray:
    return (rng.random(shape) < share).astype(np.uint8)


def last(program: Program) -> BinaryDenseStep:
    step = program.steps[-1]
    assert isinstance(step, BinaryDenseStep)
    return step


def assert_c_equals_reference(programs: list[Program], images: int = 4) -> None:
    rng = np.random.default_rng(0)
    plans = [make_plan(program, M4, forced={1: "gaps"}) for program in programs]
    assert_host_c_equals_reference(plans, [random_images(rng, program, images) for program in programs])


def random_layer(rng: np.random.Generator) -> Program:
    """One that the strategy accepts: maps and vectors, whole words and tails, few ones or few zeros."""
    while True:
        channels = int(rng.choice([1, 2, 31, 32, 33, 40, 64, 100, 255, 320]))
        height, width = (1, 1) if rng.random() < 0.3 else (int(side) for side in rng.integers(1, 8, 2))
        outputs = int(rng.choice([1, 2, 10, 31, 32, 33, 65]))
        weights = few_ones(rng, (outputs, height, width, channels), float(rng.choice([0, 0.003, 0.02, 0.05, 0.11])))
        if rng.random() < 0.3:
            weights = 1 - weights
        domain = DOMAINS[int(rng.integers(len(DOMAINS)))]
        program = dense(weights, domain, sums=rng.random() < 0.4, seed=int(rng.integers(2**31)))
        if GAPS.accepts(last(program), program, M4) is None:
            return program


def test_random_layers_equal_the_reference() -> None:
    rng = np.random.default_rng(3)
    programs = [random_layer(rng) for _ in range(16)]
    lists = [gap_lists(last(program)) for program in programs]
    assert {each.names_clear for each in lists} == {True, False}
    assert any(each.runs > len(each.lengths) for each in lists)
    assert_c_equals_reference(programs)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_four_hundred_random_layers_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    assert_c_equals_reference([random_layer(rng) for _ in range(50)], 8)


def edge_layers() -> list[Program]:
    """No ones and all; one weight at either end, beyond one skip and beyond several; ones in a row; runs of more
    entries than one holds."""
    programs = []
    for index, (pixels, channels) in enumerate(((1, 7), (9, 40), (300, 32), (1, 9000), (700, 65))):
        for outputs in (1, 11):
            weights = np.zeros((outputs, pixels, 1, channels), np.uint8)
            flat = weights.reshape(outputs, -1)
            flat[1::5, 0], flat[2::5, -1] = 1, 1
            flat[3::5, [0, -1]] = 1
            flat[4:8, : flat.shape[1] // 20] = 1
            if outputs == 11:
                flat[8:10] = 0
                flat[8, : min(flat.shape[1], MAX_RUN + 1)] = 1
                flat[9, :MAX_RUN] = 1
            domain = DOMAINS[(index + outputs) % len(DOMAINS)]
            programs += [dense(named, domain, sums=index % 2 == 0, seed=index) for named in (weights, 1 - weights)]
    return [program for program in programs if GAPS.accepts(last(program), program, M4) is None]


def test_edges_equal_the_reference() -> None:
    programs = edge_layers()
    assert len(programs) >= 16
    lengths = np.concatenate([gap_lists(last(program)).lengths for program in programs])
    assert {0, 1, MAX_RUN, MAX_RUN + 1} <= {*lengths.tolist()}
    assert any(gap_lists(last(program)).runs > 2 * len(last(program).weights) for program in programs)
    assert_c_equals_reference(programs)


def named_by(data: npt.NDArray[np.uint8], filters: int, words: int) -> BitArray:
    """The bits of the input that runs name, as the header says; (O, 32 * words)."""
    found = np.zeros((filters, 32 * words), np.uint8)
    values = iter(data.tolist())
    for row in found:
        word, is_last = 0, False
        while not is_last:
            eights, rest, skip = next(values), next(values), next(values)
            assert rest < 2 * LAST_RUN
            is_last = rest >= LAST_RUN
            word += skip
            for _ in range(8 * eights + rest % LAST_RUN):
                entry = next(values)
                word += entry >> 5
                row[32 * word + (entry - 1) % 32] += 1
    assert next(values, None) is None
    return found


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    filters=st.integers(1, 4),
    pixels=st.integers(1, 40),
    channels=st.integers(1, 400),
    share=st.sampled_from([0.0, 0.0005, 0.003, 0.02, 0.1, 0.5, 0.97, 1.0]),
)
def test_runs_name_every_weight_of_the_rarer_kind_once(
    seed: int, filters: int, pixels: int, channels: int, share: float
) -> None:
    weights = few_ones(np.random.default_rng(seed), (filters, pixels, 1, channels), share)
    step = last(dense(weights, PLUS_MINUS_ONE, sums=False))
    lists = gap_lists(step)
    words = -(-channels // 32)
    found = named_by(lists.data, filters, pixels * words).reshape(filters, pixels, 1, 32 * words)
    rarer = 1 - weights if 2 * int(weights.sum()) > weights.size else weights
    np.testing.assert_array_equal(found[..., :channels], rarer)
    assert not found[..., channels:].any()
    assert lists.data.size == 3 * lists.runs + int(rarer.sum())
    np.testing.assert_array_equal(lists.lengths, rarer.reshape(filters, -1).sum(axis=1))
    assert 8 * lists.eights + lists.rest == rarer.sum()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), shift=st.integers(0, 15), ratio=st.integers(-32768, 32767), sums=st.booleans())
def test_any_two_values_equal_the_reference(seed: int, shift: int, ratio: int, sums: bool) -> None:
    """The tables against the reference, without C: factor, balance and constants modulo 2**32, as the kernel."""
    rng = np.random.default_rng(seed)
    weights = few_ones(rng, (5, 3, 2, 45), 0.06)
    weights = weights if seed % 2 else 1 - weights
    program = dense(weights, WeightDomain(shift, ratio), sums=sums, seed=seed)
    step = last(program)
    assert GAPS.accepts(step, program, M4) is None
    tables = {table.role: table.values.astype(np.int64) for table in GAPS.tables(step, program, M4)}
    numbers = dict(GAPS.view(step, program, M4, "s", {role: role for role in tables}).numbers)
    images = random_images(rng, program, 3)
    bits, expected = (np.asarray(output) for output in run_program(program, images))
    named = named_by(tables["gaps"].astype(np.uint8), 5, 12).reshape(5, 3, 2, 64)[..., :45].reshape(5, -1)
    flat = bits.reshape(3, -1).astype(np.int64)
    values = (flat @ named.T.astype(np.int64)) * numbers["factor"] + flat.sum(axis=1)[:, None] * numbers["balance"]
    signed = values.astype(np.uint32).view(np.int32).astype(np.int64)
    if sums:
        logits = (signed * tables["multipliers"] + tables["biases"]).astype(np.uint32).view(np.int32)
        np.testing.assert_array_equal(logits.reshape(expected.shape), expected)
        return
    assert isinstance(step.epilogue, Threshold)
    difference = signed - tables["limits"]
    assert np.abs(difference).max() < 2**31
    results = (difference >= 0) ^ (step.epilogue.flip != 0)
    np.testing.assert_array_equal(results.reshape(expected.shape), expected)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(
    "board_id",
    [
        "mps2-an386",
        "mps2-an385-v6m",
        pytest.param("mps2-an385", marks=pytest.mark.slow),
        pytest.param("mps2-an505", marks=pytest.mark.slow),
        pytest.param("mps2-an500", marks=pytest.mark.slow),
        pytest.param("mps3-an547", marks=pytest.mark.slow),
    ],
)
def test_layers_equal_the_reference_on_emulated_boards(board_id: str, tmp_path: Path) -> None:
    """At the same cycles whatever the image."""
    rng, board = np.random.default_rng(5), load_board(board_id)
    steps, tensors = [], []
    for index, domain in enumerate(DOMAINS):
        weights = few_ones(rng, ((33, 10)[index % 2], 5, 4, 70), 0.06)
        weights[0] = index % 3 == 0
        program = dense(weights if index != 3 else 1 - weights, domain, sums=index % 2 == 1, seed=index)
        if not steps:
            steps, tensors = [program.steps[0]], list(program.tensors[:2])
        steps.append(dataclasses.replace(last(program), name=f"layer{index}", output=len(tensors)))
        tensors.append(dataclasses.replace(program.tensors[2], name=f"out{index}"))
    program = Program("fan", 77, tuple(tensors), tuple(steps))
    plan = plan_fan(program, ["gaps"] * len(DOMAINS), board.target)
    batch = fan_images(np.random.default_rng(1), program, 4)
    traces, runs = run_counted(plan, board, batch, tmp_path)
    assert_traces_equal(plan, traces, run_fan(program, batch))
    assert all(run[1:] == runs[0][1:] for run in runs)


def test_tables() -> None:
    """By hand: two filters over two words, the second names bits 31 of word 0 and 0 and 5 of word 1."""
    weights = np.zeros((2, 1, 1, 64), np.uint8)
    weights[1, 0, 0, [31, 32, 37]] = 1
    program = dense(weights, WeightDomain(4, -1), sums=False)
    step = dataclasses.replace(
        last(program), epilogue=Threshold(np.array([-5, 7], np.int32), np.array([0, 1], np.uint8))
    )
    tables = {table.role: table for table in GAPS.tables(step, program, M4)}
    assert list(tables) == ["gaps", "limits", "flips"]
    assert tables["gaps"].values.tolist() == [0, 8, 0, 0, 8 + 3, 0, 0, 1 << 5 | 1, 6]
    assert tables["limits"].values.tolist() == [-5 - 64, 7 + 16 * 3 - 64]
    view = GAPS.view(step, program, M4, "s", {role: role for role in tables})
    assert dict(view.numbers) == {"count": 2, "factor": 32, "balance": 2**32 - 2}
    assert view.limited == (("words", 2, "PICOBNN_GAPS_MAX_WORDS"),)
    scaled = dataclasses.replace(step, epilogue=scale(2))
    tables = {table.role: table for table in GAPS.tables(scaled, program, M4)}
    assert list(tables) == ["gaps", "multipliers", "biases"]
    assert tables["biases"].values.tolist() == [-4000 + 64 * 17001, -3000 - (16 * 3 - 64) * 17014]


def test_flash_is_a_byte_per_weight_named() -> None:
    rng = np.random.default_rng(1)
    for share, most in ((0.05, 0.41), (0.1, 0.81)):
        program = dense(few_ones(rng, (10, 7, 7, 128), share), WeightDomain(4, -1), sums=True)
        assert GAPS.accepts(last(program), program, M4) is None
        assert 8 * GAPS.tables(last(program), program, M4)[0].size_bytes <= most * last(program).weights.size
    assert GAPS.packed_weights


def test_more_bytes_than_packed_bits_are_refused() -> None:
    weights = np.zeros((1, 1, 1, 3200), np.uint8)
    weights[..., : 400 - 3] = 1
    program = dense(weights, WeightDomain(4, -1), sums=False)
    assert GAPS.accepts(last(program), program, M4) is None
    assert GAPS.tables(last(program), program, M4)[0].size_bytes == 400
    weights = weights.copy()
    weights[..., 397] = 1
    for named in (weights, 1 - weights):
        program = dense(named, WeightDomain(4, -1), sums=False)
        refusal = GAPS.accepts(last(program), program, M4)
        assert refusal == Refusal("the gaps between 398 weights take more than the 400 bytes of all weights packed")


def test_what_it_refuses() -> None:
    program = binary_conv2d()
    assert GAPS.accepts(program.steps[1], program, M4) == Refusal("it is no dense layer")
    assert GAPS.accepts(program.steps[0], input_conv2d(), M4) == Refusal("it is no dense layer")
    program = binary_dense()
    kept = np.ones_like(program.steps[1].weights)
    kept.flat[0] = 0
    ternary = dataclasses.replace(program.steps[1], kept=kept, weights=program.steps[1].weights & kept)
    assert GAPS.accepts(ternary, program, M4) == Refusal("some weights are removed")
    wide = dense(np.zeros((1, 4096, 1, 1), np.uint8), PLUS_MINUS_ONE, sums=False)
    assert GAPS.accepts(last(wide), wide, M4) == Refusal("4096 words of input are above 4095")
    large = dense(np.zeros((1, 128, 1, 300), np.uint8), WeightDomain(0, 32766), sums=False)
    refusal = GAPS.accepts(last(large), large, M4)
    assert refusal == Refusal("sums of 38400 weights of 32767 may need 32 bits")
    scaled = dataclasses.replace(last(large), epilogue=Scale(np.ones(1, np.int32), np.zeros(1, np.int32)))
    assert GAPS.accepts(scaled, large, M4) is None


def test_the_widest_input_equals_the_reference() -> None:
    """All of 4095 words set fills the halves of the count."""
    program = dense(few_ones(np.random.default_rng(2), (2, 4095, 1, 32), 0.001), WeightDomain(2, -1), sums=True)
    first = dataclasses.replace(
        program.steps[0],
        epilogue=Threshold(np.full(32, INT32.min, np.int32), np.zeros(32, np.uint8)),  # every bit is set
    )
    assert_c_equals_reference([dataclasses.replace(program, steps=(first, program.steps[1]))], 1)


@pytest.mark.parametrize("core", [core.core for core in CORES])
def test_every_core_can_weigh_it(core: str) -> None:
    """A head with few ones, the last of a network: the packed form would take an eighth of a byte per weight."""
    program = dense(few_ones(np.random.default_rng(4), (10, 7, 7, 128), 0.03), WeightDomain(5, -1), sums=True)
    assert make_plan(program, find_core(core), kernels=Kernels.AUTO).steps[1].strategy == "gaps"
