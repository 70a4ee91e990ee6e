# SPDX-License-Identifier: Apache-2.0
"""The selection benchmark on little work: its runs cover all kernels, its search finds the cheapest combination."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from calibration_layers import build_chain
from layer_runs import roomy_board_of
from selection import (
    Executed,
    accepted,
    all_parts,
    best_by_search,
    covering_runs,
    measure,
    percent,
    random_chain,
    summary,
)

from picobnn.codegen.plan import Layout
from picobnn.codegen.strategies import find_strategy
from tests.support.firmware import needs_emulator

SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_networks_have_three_to_six_layers(seed: int) -> None:
    _, convolutions, dense = random_chain(seed)
    assert 3 <= len(convolutions) + len(dense) <= 6


@pytest.mark.parametrize("core", ["m0", "m4"])
def test_runs_cover_every_strategy_of_every_layer_and_every_transpose(core: str) -> None:
    board = roomy_board_of(core)
    program, _ = build_chain(random_chain(3), 3)
    names = accepted(program, board)
    assert all(names)
    runs = covering_runs(program, names, all_parts(program, names))
    assert {(index, name) for run in runs for index, name in enumerate(run)} == {
        (index, name) for index, row in enumerate(names) for name in row
    }
    for index in range(1, len(names)):
        joints = {(run[index - 1], run[index]) for run in runs}
        layouts = {_layouts(program, index, *pair) for pair in joints}
        possible = {_layouts(program, index, *pair) for pair in itertools.product(names[index - 1], names[index])}
        assert {(have, want) for have, want in possible if have is not want} <= layouts


def _layouts(program: object, index: int, before: str, name: str) -> tuple[Layout, Layout]:
    steps = program.steps  # type: ignore[attr-defined]
    return find_strategy(before).output_layout(steps[index - 1]), find_strategy(name).input_layout(steps[index])


def test_the_search_finds_the_cheapest_combination() -> None:
    program, _ = build_chain(random_chain(1), 1)
    names = accepted(program, roomy_board_of("m4"))
    rng = np.random.default_rng(5)
    layers = {(index, name): int(rng.integers(100, 1000)) for index, row in enumerate(names) for name in row}
    free = {(index, layout): 0 for index in range(1, len(names)) for layout in Layout}
    chain, cycles = best_by_search(program, Executed(layers, free), names)
    assert cycles == sum(min(layers[index, name] for name in row) for index, row in enumerate(names))
    dear = dict.fromkeys(free, 10**6)
    kept, total = best_by_search(program, Executed(layers, dear), names)
    assert total < 10**6
    layouts = [_layouts(program, index, kept[index - 1], kept[index]) for index in range(1, len(names))]
    assert all(have is want for have, want in layouts)
    assert [layers[index, name] for index, name in enumerate(chain)]


def test_percent_is_signed() -> None:
    assert percent(103, 100) == 3.0
    assert percent(97, 100) == -3.0


@needs_emulator
@pytest.mark.qemu
@pytest.mark.slow
def test_a_network_is_measured() -> None:
    row = measure(0, "m4")
    assert row["chosen_cycles"] >= row["best_cycles"] > 0
    assert abs(percent(row["best_cycles"], row["best_sum_of_layers"])) < 0.5
    assert {layer["strategy"] for layer in row["layers"]} >= {"direct", "subset", "xnor", "rows", "planes"}
    assert summary([row])["networks"] == 1
