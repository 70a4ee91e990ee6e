# SPDX-License-Identifier: Apache-2.0
"""Strategy rows_mve: what it accepts, its tables, its scratch, its C and its assembly against the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.targets import CORES, InstructionSet, find_core, load_board
from picobnn.codegen.vocabulary import Pool, PoolStage, Shape, WeightDomain, Window
from picobnn.sim.reference import run_program
from tests.support.emulated import assert_traces_equal, run_traced
from tests.support.firmware import needs_emulator
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.rows_layers import ALL_ONES, MINUS, ZERO, Layer, chain, chain_images, in_domains
from tests.support.small_programs import HALVING_POOL, SAME_3X3, input_conv2d

M55 = find_core("m55")
ROWS, ROWS_MVE = find_strategy("rows"), find_strategy("rows_mve")

LAYERS = (
    Layer(128, SAME_3X3),
    Layer(161, SAME_3X3, ZERO),
    Layer(225, Window(3, 2, 1, 1, 2, 0, 0, 1), ZERO, Pool(HALVING_POOL, PoolStage.BIT)),
    Layer(130, Window(2, 2), MINUS, Pool(Window(2, 2, 1, 1), PoolStage.ACC)),
    Layer(97, SAME_3X3, threshold=ALL_ONES),
    Layer(256),
    Layer(321),
)
"""Whole vectors, one to three groups left over, both paddings, pools, a map of ones, dense layers."""


def forced(program: Program) -> dict[int, str]:
    steps = enumerate(program.steps)
    return {index: "rows_mve" for index, step in steps if ROWS_MVE.accepts(step, program, M55) is None}


def assert_c_equals_reference(programs: list[Program]) -> None:
    assert all(forced(program) for program in programs)
    plans = [make_plan(program, M55, forced=forced(program)) for program in programs]
    assert_host_c_equals_reference(plans, [chain_images(program, 8) for program in programs])


def test_every_shape_class() -> None:
    programs = [chain((layer,), Shape(5, 6, 37), index) for index, layer in enumerate(LAYERS)]
    programs += [chain(in_domains(LAYERS, first), Shape(6, 7, 33)) for first in (0, 6)]
    assert_c_equals_reference([*programs, chain(LAYERS, Shape(6, 7, 33))])


def counts_of_rows() -> list[Program]:
    """Lists around multiples of 8 and 64, none at all, counters from the narrowest on."""
    fan_ins = [1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 255, 256, 511, 512, 600, 1023, 1024]
    return [chain((Layer(129),), Shape(2, 1, channels), channels) for channels in fan_ins]


@pytest.mark.slow
def test_every_count_of_rows() -> None:
    assert_c_equals_reference(counts_of_rows())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_random_layers(seed: int) -> None:
    rng = np.random.default_rng(500 + seed)
    programs = []
    while len(programs) < 30:
        window = Window(*(int(value) for value in (*rng.integers(1, 5, 2), *rng.integers(1, 3, 2))), 1, 1, 1, 1)
        layer = Layer(int(rng.integers(97, 400)), window, (MINUS, ZERO)[int(rng.integers(2))])
        shape = Shape(*(int(side) for side in rng.integers(4, 9, 2)), int(rng.integers(1, 150)))
        programs.append(chain((layer, Layer(int(rng.integers(97, 300)))), shape, int(rng.integers(1000))))
    assert_c_equals_reference(programs)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize("case", ["classes", "two values", pytest.param("counts", marks=pytest.mark.slow)])
def test_the_assembly_equals_the_reference(case: str, tmp_path: Path) -> None:
    board = load_board("mps3-an547")
    programs = counts_of_rows()
    if case == "classes":
        programs = [chain(LAYERS, Shape(6, 7, 33))]
    if case == "two values":
        programs = [chain(in_domains(LAYERS), Shape(6, 7, 33))]
    for number, program in enumerate(programs):
        plan = make_plan(program, board.target, forced=forced(program))
        images = chain_images(program, 5)
        traces = run_traced(plan, board, images, tmp_path / str(number))
        assert_traces_equal(plan, traces, run_program(program, images))


def test_what_it_refuses() -> None:
    wide, narrow = chain((Layer(128),), Shape(2, 2, 5)), chain((Layer(96),), Shape(2, 2, 5))
    for core in CORES:
        refusal = ROWS_MVE.accepts(wide.steps[1], wide, core)
        assert refusal == (None if core.isa is InstructionSet.MVE else Refusal("the core has no vectors"))
    assert ROWS_MVE.accepts(narrow.steps[1], narrow, M55) == Refusal("96 output channels do not fill a vector of 128")
    first = input_conv2d()
    assert ROWS_MVE.accepts(first.steps[0], first, M55) == ROWS.accepts(first.steps[0], first, M55)


def test_tables_of_two_values() -> None:
    """Ratio and fraction stand in front of the rows."""
    program = chain((Layer(140, SAME_3X3, ZERO, domain=WeightDomain(3, -1)),), Shape(5, 5, 7))
    mine = {table.role: table.values for table in ROWS_MVE.tables(program.steps[1], program, M55)}
    assert mine["weights"][:2].tolist() == [2**32 - 1, 2]
    pointers = dict(ROWS_MVE.view(program.steps[1], program, M55, "x", dict.fromkeys(mine, "t")).pointers)
    assert pointers["filters.add"] == "picobnn_rows_mve_general_add"
    assert pointers["filters.weights"] == "t + 2"


def test_tables_and_scratch() -> None:
    """Four groups side by side, then the one left over; as many words as in rows."""
    program = chain((Layer(140, SAME_3X3, ZERO),), Shape(5, 5, 7))
    step = program.steps[1]
    mine = {table.role: table for table in ROWS_MVE.tables(step, program, M55)}
    other = {table.role: table for table in ROWS.tables(step, program, M55)}
    assert list(mine) == list(other)
    rows, words = other["weights"].values.reshape(5, -1), mine["weights"].values
    np.testing.assert_array_equal(words[: 4 * rows.shape[1]].reshape(-1, 4), rows[:4].T)
    np.testing.assert_array_equal(words[4 * rows.shape[1] :], rows[4])
    starts = other["starts"].values.reshape(2 * 9, 5, 9)
    mine_starts = mine["starts"].values.reshape(2 * 9, 45)
    np.testing.assert_array_equal(mine_starts[:, :36].reshape(18, 9, 4), starts[:, :4].transpose(0, 2, 1))
    np.testing.assert_array_equal(mine_starts[:, 36:], starts[:, 4])
    assert mine["weights"].is_scattered
    carries = dict(ROWS_MVE.view(step, program, M55, "x", dict.fromkeys(mine, "t")).numbers)["filters.carry_words"]
    before = dict(ROWS.view(step, program, M55, "x", dict.fromkeys(mine, "t")).numbers)["filters.carry_words"]
    assert carries == 4 * (63 // 8 + 13)
    growth = ROWS_MVE.scratch_bytes(step, program, M55) - ROWS.scratch_bytes(step, program, M55)
    assert growth == 4 * (carries - before)
    assert ROWS_MVE.input_layout(step) is ROWS_MVE.output_layout(step) is Layout.CHANNEL_WORDS
    assert all(term.worst >= term.mean >= 0 for term in ROWS_MVE.cost_terms(step, program, M55))
