# SPDX-License-Identifier: Apache-2.0
"""Cost files are strict, every term of every strategy has a coefficient, and estimates are their sum."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from picobnn.codegen.cost import step_cost, transpose_cost, transpose_terms
from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, Density, InputConv2dStep
from picobnn.codegen.strategies import STRATEGIES
from picobnn.codegen.strategies._common import Visits, input_density, visits
from picobnn.codegen.targets import CORES, find_core
from picobnn.codegen.targets.code_sizes import CodeSizes, CodeUnit
from picobnn.codegen.targets.costs import (
    TRANSPOSE,
    CoreCosts,
    CostBasis,
    KernelCosts,
    costs_text,
    load_costs,
    parse_costs,
)
from picobnn.codegen.vocabulary import Shape
from picobnn.errors import ErrorId, PicobnnError
from tests.support.random_programs import random_program
from tests.support.small_programs import binary_conv2d, two_layers

M4 = find_core("m4")
KERNEL = KernelCosts({"call": 1.5, "filter": 0.0625}, 2.5)
CODE = CodeSizes({"a": CodeUnit(4, ("b.c",)), "b.c": CodeUnit(7)}, {"layer": 20}, 60, 35, 11)
COSTS = CoreCosts("cortex-m4", CostBasis.MODELLED, "a test", {"xnor": KERNEL, TRANSPOSE: KernelCosts({}, 0.0)}, CODE)
CALIBRATED = [core.core for core in CORES if load_costs(core.core) is not None]


def test_a_record_reads_back_from_its_text() -> None:
    assert parse_costs(costs_text(COSTS), "text") == COSTS
    assert list(parse_costs(costs_text(COSTS), "text").kernels["xnor"].coefficients) == ["call", "filter"]


@pytest.mark.parametrize(
    ("old", "new", "error_id", "words"),
    [
        ("format = 2", "format = 1", ErrorId.CONFIG_VALUE, "format"),
        ("format = 2", "format = 2\nunit = 3", ErrorId.CONFIG_VALUE, "unit"),
        ('"modelled"', '"guessed"', ErrorId.CONFIG_VALUE, "basis"),
        ("cortex-m4", "cortex-a7", ErrorId.UNKNOWN_CORE, "cortex-a7"),
        ("call = 1.5000", "call = -1.5", ErrorId.CONFIG_VALUE, "call is -1.5"),
        ("call = 1.5000", "call = nan", ErrorId.CONFIG_VALUE, "call is nan"),
        ("error_percent = 2.5", "", ErrorId.CONFIG_VALUE, "kernels.xnor.error_percent"),
        ("[kernels.transpose", "[kernels.reverse", ErrorId.CONFIG_VALUE, "transpose"),
        ("format = 2", "format", ErrorId.CONFIG_FILE, "TOML"),
        ("step = 35", "step = -35", ErrorId.CONFIG_VALUE, "step is -35"),
        ("layer = 20", "layer = -20", ErrorId.CONFIG_VALUE, "layer is -20"),
        ("bytes = 7", "bytes = -7", ErrorId.CONFIG_VALUE, "b.c is -7"),
        ("bytes = 7", "size = 7", ErrorId.CONFIG_VALUE, "code.units"),
        ('["b.c"]', '["d"]', ErrorId.CONFIG_VALUE, "a uses d, which is not there"),
    ],
)
def test_a_wrong_file_is_refused(old: str, new: str, error_id: ErrorId, words: str) -> None:
    with pytest.raises(PicobnnError, match=words) as caught:
        parse_costs(costs_text(COSTS).replace(old, new), "text")
    assert caught.value.error_id is error_id


def test_some_core_is_calibrated() -> None:
    assert "cortex-m4" in CALIBRATED


@pytest.mark.parametrize("core", CALIBRATED)
def test_files_are_canonical_and_name_known_kernels(core: str) -> None:
    costs = load_costs(core)
    assert costs is not None
    assert costs.core == core
    assert parse_costs(costs_text(costs), core) == dataclasses.replace(costs, bounds={})
    assert set(costs.kernels) <= {TRANSPOSE, *(strategy.name for strategy in STRATEGIES)}
    assert list(costs.kernels[TRANSPOSE].coefficients) == [
        term.name for term in transpose_terms(Shape(1, 1, 1), Layout.PIXEL_PLANES)
    ]


@pytest.mark.parametrize("core", CALIBRATED)
def test_every_term_has_a_coefficient(core: str) -> None:
    target, costs = find_core(core), load_costs(core)
    assert costs is not None
    for seed in range(40):
        program = random_program(np.random.default_rng(seed))
        for step in program.steps:
            for strategy in STRATEGIES:
                if strategy.accepts(step, program, target) is not None or strategy.name not in costs.kernels:
                    continue
                terms = strategy.cost_terms(step, program, target)
                assert [term.name for term in terms] == list(costs.kernels[strategy.name].coefficients)
                assert all(0 <= term.mean <= term.worst for term in terms)
                cost = step_cost(strategy, step, program, target, costs)
                assert cost is not None
                assert 0 <= cost.cycles <= cost.worst_cycles


def test_an_estimate_is_the_sum_of_its_terms() -> None:
    program = two_layers()
    dense, xnor = program.steps[1], STRATEGIES[1]
    terms = xnor.cost_terms(dense, program, M4)
    kernel = KernelCosts({term.name: 2.0**place for place, term in enumerate(terms)}, 0.0)
    cost = step_cost(xnor, dense, program, M4, dataclasses.replace(COSTS, kernels={"xnor": kernel}))
    assert cost is not None
    assert cost.cycles == cost.worst_cycles == sum(2**place * term.mean for place, term in enumerate(terms))


def test_without_coefficients_there_is_no_estimate() -> None:
    program = two_layers()
    assert step_cost(STRATEGIES[0], program.steps[0], program, M4, COSTS) is None
    assert transpose_cost(Shape(4, 4, 4), Layout.PIXEL_PLANES, None) is None
    with pytest.raises(
        PicobnnError, match="the coefficients of transpose lack call, line, block, low, read, narrow, written"
    ) as caught:
        transpose_cost(Shape(4, 4, 4), Layout.PIXEL_PLANES, COSTS)
    assert caught.value.error_id is ErrorId.PLAN_INVALID


@pytest.mark.parametrize("seed", range(60))
def test_visits_are_those_of_the_walk(seed: int) -> None:
    """Counted position by position, as ``picobnn_conv2d_walk`` goes."""
    program = random_program(np.random.default_rng(seed))
    for step in program.steps:
        if not isinstance(step, InputConv2dStep | BinaryConv2dStep):
            continue
        shape, output = program.tensors[step.input].shape, program.tensors[step.output].shape
        rows, columns = step.window.output_size(shape.height, shape.width)
        total = border = inside_rows = inside_pixels = 0
        for out_y in range(output.height):
            for out_x in range(output.width):
                ys, xs = [out_y], [out_x]
                if step.pool is not None:
                    pool = step.pool.window
                    ys = [out_y * pool.stride_y - pool.pad_top + i for i in range(pool.height)]
                    xs = [out_x * pool.stride_x - pool.pad_left + i for i in range(pool.width)]
                for y in ys:
                    for x in xs:
                        if 0 <= y < rows and 0 <= x < columns:
                            top = y * step.window.stride_y - step.window.pad_top
                            left = x * step.window.stride_x - step.window.pad_left
                            window_rows = sum(0 <= top + i < shape.height for i in range(step.window.height))
                            total += 1
                            inside_rows += window_rows
                            inside_pixels += window_rows * sum(
                                0 <= left + i < shape.width for i in range(step.window.width)
                            )
                            border += not (
                                0 <= top <= shape.height - step.window.height
                                and 0 <= left <= shape.width - step.window.width
                            )
        outputs = output.height * output.width
        assert visits(step, program) == Visits(total, border, inside_rows, inside_pixels, outputs)


def test_density_of_the_input() -> None:
    program = binary_conv2d()
    assert input_density(program.steps[1], program) == 0.5
    measured = dataclasses.replace(program, statistics=(Density(1, 3, 12),))
    assert input_density(program.steps[1], measured) == 0.25
