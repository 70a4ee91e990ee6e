# SPDX-License-Identifier: Apache-2.0
"""The way found through a chain is the one that trying every way finds, with and without limits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from picobnn.codegen.budget import Budget, choose_within
from picobnn.codegen.plan import Layout
from picobnn.codegen.search import best_way
from picobnn.codegen.ways import Measure, Option, Stage, Totals, Way, joins
from picobnn.errors import ErrorId, PicobnnError

OBJECTIVES = list(itertools.permutations(Measure))
CODE_BYTES = {"a": 3, "b": 7, "turn": 2}
BIT_LAYOUTS = (Layout.CHANNEL_WORDS, Layout.PIXEL_PLANES)


def random_chain(rng: np.random.Generator) -> list[Stage]:
    """One to six steps of one to four options. Small numbers make ties and many trade-offs."""
    stages: list[Stage] = []
    for index in range(int(rng.integers(1, 7))):
        reads = (Layout.HWC_BYTES,) if index == 0 else BIT_LAYOUTS
        options = tuple(
            Option(
                reads=reads[int(rng.integers(len(reads)))],
                writes=BIT_LAYOUTS[int(rng.integers(2))],
                cycles=int(rng.integers(0, 20)),
                flash_bytes=int(rng.integers(0, 12)),
                ram_bytes=int(rng.integers(0, 12)),
                code=frozenset(unit for unit in CODE_BYTES if rng.random() < 0.4),
            )
            for _ in range(int(rng.integers(1, 5)))
        )
        sizes = {layout: int(rng.integers(0, 8)) for layout in reads}
        turns = {layout: int(rng.integers(0, 6)) for layout in BIT_LAYOUTS}
        stages.append(Stage(options, sizes, turns, frozenset({"turn"}), int(rng.integers(0, 4))))
    return stages


def totals_of(stages: Sequence[Stage], choices: Sequence[int]) -> Totals:
    """What a way adds up to, written down a second time."""
    cycles = flash = ram = 0
    layout, units = Layout.HWC_BYTES, set()
    for stage, choice in zip(stages, choices, strict=True):
        option = stage.options[choice]
        transposed = option.reads is not layout
        cycles += option.cycles + (stage.transpose_cycles[option.reads] if transposed else 0)
        units |= option.code | ({"turn"} if transposed else set())
        flash += option.flash_bytes + (stage.transpose_flash_bytes if transposed else 0)
        copy = stage.input_bytes[option.reads] if transposed else 0
        ram = max(ram, stage.input_bytes[layout] + copy + option.ram_bytes)
        layout = option.writes
    return cycles, flash + sum(CODE_BYTES[unit] for unit in units), ram


def every_way(stages: Sequence[Stage]) -> list[Way]:
    choices = itertools.product(*(range(len(stage.options)) for stage in stages))
    return [Way(way, totals_of(stages, way)) for way in choices]


def within(way: Way, limits: Mapping[Measure, int]) -> bool:
    return all(way.totals[measure] <= limit for measure, limit in limits.items())


@pytest.mark.parametrize("seed", range(150))
def test_it_equals_exhaustive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stages = random_chain(rng)
    ways = every_way(stages)
    for objective in OBJECTIVES:
        middle = ways[int(rng.integers(len(ways)))].totals
        limited = [measure for measure in Measure if rng.integers(2)]
        for limits in ({}, {measure: middle[measure] - int(rng.integers(0, 2)) for measure in limited}):
            found = best_way(stages, Layout.HWC_BYTES, objective, limits, CODE_BYTES)
            fitting = [[way.totals[measure] for measure in objective] for way in ways if within(way, limits)]
            if found is None:
                assert not fitting
            else:
                assert found.totals == totals_of(stages, found.choices)
                assert within(found, limits)
                assert [found.totals[measure] for measure in objective] == min(fitting)


@pytest.mark.parametrize("seed", range(60))
def test_the_distance_to_a_budget_is_the_least(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    stages = random_chain(rng)
    ways = every_way(stages)
    low = [min(way.totals[measure] for way in ways) for measure in Measure]
    cycles, flash, ram = (None if rng.integers(3) == 0 else least + int(rng.integers(-2, 4)) for least in low)
    budget = Budget(flash_bytes=flash, ram_bytes=ram, cycles=cycles)
    limits = budget.limits()
    if any(within(way, limits) for way in ways):
        found = choose_within(stages, Layout.HWC_BYTES, tuple(Measure), budget, "chain", CODE_BYTES)
        assert within(found, limits)
        assert found.totals == totals_of(stages, found.choices)
        return
    kept: dict[Measure, int] = {}
    for measure, limit in limits.items():
        least = min(way.totals[measure] for way in ways if within(way, kept))
        if least > limit:
            break
        kept[measure] = limit
    with pytest.raises(
        PicobnnError, match=f"at least {least} .*: {least - limit} .* above the limit of {limit}"
    ) as caught:
        choose_within(stages, Layout.HWC_BYTES, tuple(Measure), budget, "chain", CODE_BYTES)
    assert caught.value.error_id is ErrorId.BUDGET_EXCEEDED


def test_a_long_chain_stays_quick() -> None:
    rng = np.random.default_rng(5)
    stages = [random_chain(np.random.default_rng(3))[0]]
    for _ in range(40):
        options = tuple(
            Option(BIT_LAYOUTS[i % 2], BIT_LAYOUTS[i % 2], *(int(n) for n in rng.integers(1, 50, 3))) for i in range(4)
        )
        stages.append(Stage(options, dict.fromkeys(BIT_LAYOUTS, 4), dict.fromkeys(BIT_LAYOUTS, 10)))
    free = best_way(stages, Layout.HWC_BYTES, tuple(Measure), {})
    assert free is not None
    limits = {Measure.FLASH: free.totals[Measure.FLASH] - 100, Measure.RAM: free.totals[Measure.RAM]}
    tight = best_way(stages, Layout.HWC_BYTES, tuple(Measure), limits)
    assert tight is not None
    assert tight.totals[Measure.CYCLES] >= free.totals[Measure.CYCLES]


def test_a_flash_limit_with_much_shared_code_stays_quick() -> None:
    """Ways multiply with the sets of code that they bring: minutes, if bounds did not keep them few."""
    rng = np.random.default_rng(1)
    sizes = {f"kernel{index}": int(rng.integers(200, 6000)) for index in range(14)}
    codes = [frozenset(rng.choice(list(sizes), int(rng.integers(1, 5)), replace=False).tolist()) for _ in range(11)]
    stages: list[Stage] = []
    for index in range(12):
        reads = (Layout.HWC_BYTES,) * 2 if index == 0 else BIT_LAYOUTS
        options = tuple(
            Option(
                reads=reads[kind % 2],
                writes=BIT_LAYOUTS[kind % 2],
                cycles=int(rng.integers(1000, 90000)),
                flash_bytes=int(rng.integers(500, 9000)),
                ram_bytes=int(rng.integers(200, 5000)),
                code=codes[kind],
            )
            for kind in range(11)
        )
        stages.append(Stage(options, dict.fromkeys(reads, 500), dict.fromkeys(BIT_LAYOUTS, 900), frozenset({"turn"})))
    orders = ((Measure.CYCLES, Measure.FLASH), (Measure.FLASH, Measure.CYCLES))
    fast, small = (best_way(stages, Layout.HWC_BYTES, (*order, Measure.RAM), {}, sizes) for order in orders)
    assert fast is not None
    assert small is not None
    for first, second in orders:
        limit = (fast.totals[second] + small.totals[second]) // 2
        way = best_way(stages, Layout.HWC_BYTES, (first, second, Measure.RAM), {second: limit}, sizes)
        assert way is not None
        assert way.totals[second] <= limit
        assert min(fast.totals[first], small.totals[first]) <= way.totals[first]
        assert way.totals[first] <= max(fast.totals[first], small.totals[first])


def test_what_a_transpose_joins() -> None:
    assert joins(Layout.CHANNEL_WORDS, Layout.PIXEL_PLANES)
    assert joins(Layout.HWC_BYTES, Layout.HWC_BYTES)
    assert not joins(Layout.HWC_BYTES, Layout.CHANNEL_WORDS)
    assert not joins(Layout.PIXEL_PLANES, Layout.HWC_INT32)
