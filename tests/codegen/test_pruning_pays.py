# SPDX-License-Identifier: Apache-2.0
"""Whether removed filters pay: said where whole words of filters cost the same, by the estimates of the plan."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from picobnn.codegen.cost import step_cost
from picobnn.codegen.plan import Kernels, Optimize, Plan
from picobnn.codegen.program import BinaryConv2dStep, Program, Tensor
from picobnn.codegen.pruning_pays import pruning_notes
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import find_core
from picobnn.codegen.targets.costs import load_costs
from picobnn.codegen.vocabulary import ElementKind, PadMode, Shape
from tests.support.planes_layers import layer, single
from tests.support.small_programs import SAME_3X3

M4 = find_core("m4")


def with_filters(count: int, *, is_ternary: bool = False) -> Program:
    """An image layer, a 3x3 layer of ``count`` filters on a map of 4x4, and one more layer behind it."""
    rng, shape = np.random.default_rng(6), Shape(4, 4, 64)
    made = layer(rng, shape, SAME_3X3, PadMode.MINUS_ONE, None, count)
    assert made is not None
    middle = made[0]
    if is_ternary:
        middle = dataclasses.replace(
            middle, kept=middle.weights | (rng.random(middle.weights.shape) < 0.5).astype(np.uint8)
        )
    behind = layer(rng, Shape(4, 4, count), SAME_3X3, PadMode.MINUS_ONE, None, 20)
    assert behind is not None
    first = single(middle, made[1], shape)
    last = dataclasses.replace(behind[0], name="last", source="last", input=2, output=3)
    tensors = (*first.tensors, Tensor("last_bits", Shape(4, 4, 20), ElementKind.BIT))
    return dataclasses.replace(first, tensors=tensors, steps=(*first.steps, last))


def plan_of(program: Program, kernels: Kernels = Kernels.AUTO) -> Plan:
    return make_plan(program, M4, kernels=kernels, optimize=Optimize.SPEED)


def cycles_of_rows(program: Program) -> int:
    cost = step_cost(find_strategy("rows"), program.steps[1], program, M4, load_costs(M4.core))
    assert cost is not None
    return cost.cycles


@pytest.mark.parametrize(("filters", "wider"), [(24, 32), (50, 64)])
def test_filters_that_share_their_last_word_do_not_pay(filters: int, wider: int) -> None:
    program = with_filters(filters)
    plan = plan_of(program)
    assert plan.steps[1].strategy == "rows"
    (note,) = pruning_notes(plan)
    now, full = cycles_of_rows(program), cycles_of_rows(with_filters(wider))
    assert note.startswith(f"{program.steps[1].name}: {filters} filters cost what {wider} would ({now:,} and {full:,} ")
    assert note.endswith("pruning below 64 does not pay here before 32." if wider == 64 else "cycles estimated).")


@pytest.mark.parametrize("filters", [32, 64])
def test_whole_words_have_no_note(filters: int) -> None:
    assert pruning_notes(plan_of(with_filters(filters))) == ()


@pytest.mark.parametrize("is_ternary", [False, True])
def test_filters_pay_one_by_one_where_kernels_take_them_so(is_ternary: bool) -> None:
    plan = plan_of(with_filters(20, is_ternary=is_ternary), Kernels.XNOR)
    assert plan.steps[1].strategy == ("xnor_general" if is_ternary else "xnor")
    assert pruning_notes(plan) == ()


def test_neither_depthwise_layers_nor_the_last_one_are_asked() -> None:
    program = with_filters(20)
    assert len(program.steps[-1].weights) == 20
    assert all("last" not in note for note in pruning_notes(plan_of(program)))
    middle = program.steps[1]
    assert isinstance(middle, BinaryConv2dStep)
    grouped = dataclasses.replace(middle, weights=middle.weights[..., :16], groups=4)
    steps = (program.steps[0], grouped, program.steps[2])
    assert pruning_notes(plan_of(dataclasses.replace(program, steps=steps))) == ()
