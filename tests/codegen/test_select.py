# SPDX-License-Identifier: Apache-2.0
"""Plans: strategies, layouts, offsets; and refusals with every reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from picobnn.codegen import select, strategies
from picobnn.codegen.budget import Budget
from picobnn.codegen.cost import transpose_terms
from picobnn.codegen.emit import render_model
from picobnn.codegen.manifest import build_manifest
from picobnn.codegen.plan import Kernels, Layout, Optimize, Plan, layout_bytes
from picobnn.codegen.program import Program, Step
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import STRATEGIES, CostTerm, Strategy, find_strategy, table_bytes
from picobnn.codegen.strategies.xnor import XnorStrategy
from picobnn.codegen.targets import CORES, Target, find_core
from picobnn.codegen.targets.code_sizes import CodeSizes, CodeUnit
from picobnn.codegen.targets.costs import TRANSPOSE, CoreCosts, CostBasis, KernelCosts
from picobnn.codegen.vocabulary import Pool, PoolStage, Shape, Window
from picobnn.errors import ErrorId, PicobnnError
from tests.support.random_programs import GENERAL, random_program
from tests.support.small_programs import binary_conv2d, two_layers

M4 = find_core("m4")


class Priced(XnorStrategy):
    """A stand-in with one term: its price is the coefficient."""

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        return (CostTerm("call", 1, 2),)


class OfPlanes(Priced):
    """The same, reading planes."""

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.PIXEL_PLANES


def prices(cycles: Mapping[str, float], transpose: float = 0) -> CoreCosts:
    """Costs in which each call of a stand-in, of ``direct`` and of a transpose has a price."""
    zero = dict.fromkeys(
        (term.name for term in find_strategy("direct").cost_terms(two_layers().steps[0], two_layers(), M4)), 0.0
    )
    kernels = {name: KernelCosts({"call": price}, 0.0) for name, price in cycles.items()}
    turn = dict.fromkeys((term.name for term in transpose_terms(Shape(1, 1, 1), Layout.PIXEL_PLANES)), 0.0)
    kernels |= {
        "direct": KernelCosts(zero | {"call": 100.0}, 0.0),
        TRANSPOSE: KernelCosts(turn | {"call": transpose}, 0.0),
    }
    return CoreCosts("cortex-m4", CostBasis.MODELLED, "a test", kernels)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """``direct`` and stand-ins for packed words, planes and lists, instead of the registry."""
    registry: tuple[Strategy, ...] = (
        find_strategy("direct"),
        Priced(name="xnor"),
        OfPlanes(name="planes"),
        Priced(name="lists", packed_weights=False),
    )
    monkeypatch.setattr(select, "STRATEGIES", registry)
    monkeypatch.setattr(strategies, "STRATEGIES", registry)


def chosen(plan: Plan) -> list[str]:
    return [step.strategy for step in plan.steps]


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
    plan = make_plan(random_program(np.random.default_rng(seed), GENERAL), CORES[seed % len(CORES)])
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
    step = dataclasses.replace(program.steps[1], pool=Pool(Window(1, 1, 1, 1, 1), PoolStage.BIT))
    with pytest.raises(PicobnnError) as caught:
        make_plan(dataclasses.replace(program, steps=(program.steps[0], step)), M4)
    assert caught.value.error_id is ErrorId.NO_STRATEGY
    assert "direct: the input is binary" in caught.value.what
    assert "xnor: a pool window lies in the padding only" in caught.value.what
    assert "xnor_general: a pool window lies in the padding only" in caught.value.what


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


def auto(optimize: Optimize, costs: CoreCosts, forced: Mapping[int, str] | None = None) -> Plan:
    return make_plan(two_layers(), M4, kernels=Kernels.AUTO, optimize=optimize, forced=forced, costs=costs)


@pytest.mark.usefixtures("stand_ins")
def test_auto_takes_what_costs_least_with_its_transpose() -> None:
    costs = {"xnor": 50.0, "planes": 30.0, "lists": 10.0}
    assert chosen(auto(Optimize.BALANCED, prices(costs, 19))) == ["direct", "planes"]
    assert chosen(auto(Optimize.BALANCED, prices(costs, 21))) == ["direct", "xnor"]
    assert chosen(auto(Optimize.SPEED, prices(costs, 0))) == ["direct", "lists"]
    assert chosen(auto(Optimize.SIZE, prices(costs, 19))) == ["direct", "planes"]
    assert chosen(auto(Optimize.SPEED, prices(costs), {1: "xnor"})) == ["direct", "xnor"]
    assert chosen(make_plan(two_layers(), M4, costs=prices(costs))) == ["direct", "xnor"]


@pytest.mark.usefixtures("stand_ins")
def test_the_plan_and_the_manifest_say_what_was_weighed() -> None:
    plan = auto(Optimize.BALANCED, prices({"xnor": 50.0, "planes": 30.0, "lists": 10.0}, 7))
    step = plan.steps[1]
    assert step.cost is not None
    assert (step.cost.cycles, step.cost.worst_cycles, step.transpose_cycles) == (30, 60, 7)
    assert [(other.strategy, other.cost.cycles) for other in step.alternatives] == [("xnor", 50)]
    stored = build_manifest(plan, "net", ()).steps[1]
    assert (stored.estimated_cycles, stored.worst_cycles, stored.transpose_cycles) == (30, 60, 7)
    assert [(other.strategy, other.estimated_cycles) for other in stored.alternatives] == [("xnor", 50)]
    assert (stored.input_layout, stored.transpose_bytes) == ("pixel_planes", step.transpose_bytes)


@pytest.mark.usefixtures("stand_ins")
def test_without_coefficients_a_strategy_is_no_candidate() -> None:
    assert chosen(auto(Optimize.SPEED, prices({"planes": 1e6}))) == ["direct", "planes"]
    with pytest.raises(PicobnnError, match="xnor: it has no cost coefficients for cortex-m4") as caught:
        auto(Optimize.BALANCED, prices({"lists": 1.0}))
    assert "lists: it stores lists" in caught.value.what
    assert caught.value.error_id is ErrorId.NO_STRATEGY


def test_a_transposed_copy_lies_in_the_arena_and_is_written_first(monkeypatch: pytest.MonkeyPatch) -> None:
    program = two_layers()
    for module in (select, strategies):
        monkeypatch.setattr(module, "STRATEGIES", (find_strategy("direct"), OfPlanes()))
    plan = make_plan(program, M4)
    step = plan.steps[1]
    assert step.transpose_bytes == layout_bytes(Layout.PIXEL_PLANES, program.tensors[1].shape)
    spans = [(b.offset_bytes, b.offset_bytes + b.size_bytes) for b in plan.buffers[1:]]
    spans += [
        (step.scratch_offset_bytes, step.scratch_offset_bytes + step.scratch_bytes),
        (step.transpose_offset_bytes, step.transpose_offset_bytes + step.transpose_bytes),
    ]
    spans.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    assert plan.arena_bytes >= spans[-1][1]
    sources = {source.path: source.text for source in render_model(plan, "net")}
    source, copy = plan.buffers[1].offset_bytes // 4, step.transpose_offset_bytes // 4
    assert (
        f"    picobnn_transpose(&words[{source}], &words[{copy}], 9u, 5u);\n"
        f"    picobnn_xnor_dense_scale(&dense1_layer, &words[{copy}], " in sources["net.c"]
    )
    assert '#include "picobnn_transpose.h"' in sources["net.c"]
    assert {"picobnn_transpose.h", "picobnn_transpose.c"} <= set(sources)


@pytest.mark.parametrize("seed", range(20))
def test_the_arena_is_what_the_search_reckoned(seed: int) -> None:
    program = random_program(np.random.default_rng(seed))
    plan = make_plan(program, M4)
    assert make_plan(program, M4, budget=Budget(ram_bytes=plan.arena_bytes)).arena_bytes == plan.arena_bytes
    with pytest.raises(PicobnnError, match=f"at least {plan.arena_bytes} bytes of arena: 1 bytes above") as caught:
        make_plan(program, M4, budget=Budget(ram_bytes=plan.arena_bytes - 1))
    assert caught.value.error_id is ErrorId.BUDGET_EXCEEDED


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("turns", [False, True])
def test_flash_is_tables_and_every_unit_of_code_once(turns: bool) -> None:
    program, taken = two_layers(), "planes" if turns else "lists"
    units = {
        "picobnn_direct_conv2d_bits": CodeUnit(100, ("shared",)),
        "picobnn_xnor_dense_scale": CodeUnit(200, ("shared", "picobnn_xnor_compare_any")),
        "picobnn_transpose": CodeUnit(400, ("shared",)),
        "picobnn_xnor_compare_any": CodeUnit(800),
        "shared": CodeUnit(1600),
        "picobnn_xnor_dense_bits": CodeUnit(3200),  # nobody calls it
    }
    code = CodeSizes(units, {"picobnn_direct_conv2d_layer": 40, "picobnn_xnor_dense_layer": 50}, 60, 7, 11)
    costs = dataclasses.replace(prices({taken: 5.0}), code=code)
    tables = sum(
        table_bytes(find_strategy(name).tables(step, program, M4))
        for name, step in zip(("direct", taken), program.steps, strict=True)
    )
    wanted = tables + 100 + 200 + 800 + 1600 + 60 + 2 * 7 + 40 + 50 + (400 + 11 if turns else 0)

    def plan(costs: CoreCosts, limit: int) -> Plan:
        return make_plan(
            program, M4, kernels=Kernels.AUTO, optimize=Optimize.SPEED, budget=Budget(flash_bytes=limit), costs=costs
        )

    assert plan(costs, wanted).flash_bytes == wanted
    with pytest.raises(PicobnnError, match=rf"{wanted} bytes of flash, tables and code \(estimated\): 1 bytes above"):
        plan(costs, wanted - 1)
    kept = {name: units[name] for name in units if name != "picobnn_xnor_dense_scale"}
    for unknown in (None, dataclasses.replace(code, layers={}), dataclasses.replace(code, units=kept)):
        less = dataclasses.replace(costs, code=unknown)
        assert plan(less, tables).flash_bytes is None
        with pytest.raises(PicobnnError, match=f"{tables} bytes of tables in flash: 1 bytes above"):
            plan(less, tables - 1)


@pytest.mark.usefixtures("stand_ins")
def test_a_limit_of_cycles_that_nobody_can_estimate_is_refused() -> None:
    costs = prices({"planes": 5.0})
    assert chosen(make_plan(two_layers(), M4, kernels=Kernels.AUTO, budget=Budget(cycles=105), costs=costs))
    with pytest.raises(PicobnnError, match=r"105 cycles .*: 1 cycles above the limit of 104"):
        make_plan(two_layers(), M4, kernels=Kernels.AUTO, budget=Budget(cycles=104), costs=costs)
    with pytest.raises(PicobnnError, match="xnor has no cost coefficients") as caught:
        make_plan(two_layers(), M4, budget=Budget(cycles=10**9), costs=costs)
    assert caught.value.error_id is ErrorId.USAGE
