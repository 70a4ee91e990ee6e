# SPDX-License-Identifier: Apache-2.0
"""Whether pruning a layer pays: against the cheapest kernel for dense weights, under the plan's options."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from picobnn.codegen.plan import Kernels, Optimize, Plan
from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.sparsity import SparsityGain, sparsity_gains
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import PadMode, Shape
from tests.support.planes_layers import layer, single
from tests.support.small_programs import SAME_3X3

M4 = find_core("m4")


def with_ones(share: float, *, kept: float | None = None) -> Program:
    rng, shape = np.random.default_rng(4), Shape(8, 8, 64)
    made = layer(rng, shape, SAME_3X3, PadMode.MINUS_ONE, None, 32)
    assert made is not None
    weights = (rng.random(made[0].weights.shape) < share).astype(np.uint8)
    mask = None if kept is None else (rng.random(weights.shape) < kept).astype(np.uint8)
    step = dataclasses.replace(made[0], weights=weights if mask is None else weights & mask, kept=mask)
    return single(step, made[1], shape)


def plan_of(program: Program, kernels: Kernels = Kernels.AUTO, optimize: Optimize = Optimize.SPEED) -> Plan:
    return make_plan(program, M4, kernels=kernels, optimize=optimize)


def test_dense_layers_have_no_verdict() -> None:
    assert sparsity_gains(plan_of(with_ones(0.5))) == {}


@pytest.mark.parametrize(("share", "kept"), [(0.05, None), (0.95, None), (0.5, 0.1)])
def test_few_words_pay_where_kernels_select_by_weight(share: float, kept: float | None) -> None:
    gain = sparsity_gains(plan_of(with_ones(share, kept=kept)))[1]
    assert gain.pays
    assert gain.cycles < 0.6 * gain.dense_cycles
    assert gain.is_ternary == (kept is not None)
    assert "pruning it saves" in str(gain)


def test_few_ones_do_not_pay_where_kernels_read_all_weights() -> None:
    gain = sparsity_gains(plan_of(with_ones(0.05), Kernels.XNOR))[1]
    assert not gain.pays
    assert gain.dense_strategy == "xnor"
    assert gain.cycles == gain.dense_cycles
    assert str(gain).endswith("pruning it does not pay in cycles")


def test_the_dense_twin_keeps_to_the_options() -> None:
    gain = sparsity_gains(plan_of(with_ones(0.05), optimize=Optimize.BALANCED))[1]
    assert gain.dense_strategy in ("rows", "xnor", "planes_packed", "planes_coded")


def test_a_saving_within_the_error_of_estimates_does_not_pay() -> None:
    assert not SparsityGain(0.3, False, 96, 100, "rows").pays
    assert SparsityGain(0.3, False, 94, 100, "rows").pays
