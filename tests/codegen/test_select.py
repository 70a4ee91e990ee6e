# SPDX-License-Identifier: Apache-2.0
"""Plans: strategies, layouts, offsets; and refusals with every reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from picobnn.codegen.plan import Kernels, Layout, Optimize
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import STRATEGIES
from picobnn.codegen.targets import CORES, find_core
from picobnn.codegen.vocabulary import WeightDomain
from picobnn.errors import ErrorId, PicobnnError
from tests.support.random_programs import random_program
from tests.support.small_programs import binary_conv2d, two_layers

M4 = find_core("m4")


def test_strategies_layouts_and_options() -> None:
    plan = make_plan(two_layers(), M4, kernels=Kernels.AUTO, optimize=Optimize.SIZE)
    assert [step.strategy for step in plan.steps] == ["direct", "xnor"]
    assert [buffer.layout for buffer in plan.buffers] == [Layout.HWC_BYTES, Layout.CHANNEL_WORDS, Layout.HWC_INT32]
    assert [buffer.size_bytes for buffer in plan.buffers] == [36, 36, 12]
    assert (plan.core, plan.kernels, plan.optimize) == ("cortex-m4", Kernels.AUTO, Optimize.SIZE)


def test_names_of_strategies_are_unique() -> None:
    names = [strategy.name for strategy in STRATEGIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", range(30))
def test_nothing_alive_at_once_overlaps(seed: int) -> None:
    plan = make_plan(random_program(np.random.default_rng(seed)), CORES[seed % len(CORES)])
    spans = [(b.offset_bytes, b.size_bytes, b.first_step, b.last_step) for b in plan.buffers]
    spans += [(s.scratch_offset_bytes, s.scratch_bytes, s.step, s.step) for s in plan.steps if s.scratch_bytes]
    for i, (begin, size, first, last) in enumerate(spans):
        assert begin % 4 == 0
        assert begin + size <= plan.arena_bytes
        for other_begin, other_size, other_first, other_last in spans[:i]:
            apart = begin + size <= other_begin or other_begin + other_size <= begin
            assert apart or last < other_first or other_last < first


def test_a_step_that_nobody_runs_is_refused_with_every_reason() -> None:
    program = binary_conv2d()
    step = dataclasses.replace(program.steps[1], domain=WeightDomain(0, 0))
    with pytest.raises(PicobnnError) as caught:
        make_plan(dataclasses.replace(program, steps=(program.steps[0], step)), M4)
    assert caught.value.error_id is ErrorId.NO_STRATEGY
    assert "direct: the input is binary" in caught.value.what
    assert "xnor: only weights of -1 and +1" in caught.value.what


def test_a_layout_that_does_not_fit_is_refused() -> None:
    program = two_layers()
    step = dataclasses.replace(program.steps[1], input=0)
    with pytest.raises(PicobnnError) as caught:
        make_plan(dataclasses.replace(program, steps=(program.steps[0], step)), M4)
    assert caught.value.error_id is ErrorId.PLAN_INVALID


def test_a_forced_strategy_is_taken_or_refused_with_its_reason() -> None:
    assert [step.strategy for step in make_plan(two_layers(), M4, forced={1: "xnor"}).steps] == ["direct", "xnor"]
    with pytest.raises(PicobnnError, match="direct: the input is binary") as caught:
        make_plan(two_layers(), M4, forced={1: "direct"})
    assert caught.value.error_id is ErrorId.NO_STRATEGY


@pytest.mark.parametrize("forced", [{2: "xnor"}, {-1: "xnor"}, {0: "fastest"}])
def test_forcing_what_does_not_exist_is_refused(forced: dict[int, str]) -> None:
    with pytest.raises(PicobnnError) as caught:
        make_plan(two_layers(), M4, forced=forced)
    assert caught.value.error_id is ErrorId.USAGE
