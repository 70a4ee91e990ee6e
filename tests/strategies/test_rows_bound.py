# SPDX-License-Identifier: Apache-2.0
"""The bound of ``rows``: no input has counts that cost more, whatever a part costs. What a run really takes is compared
in ``tests/bench/test_rows_bounds.py``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program
from picobnn.codegen.strategies import BoundedStrategy, find_strategy
from picobnn.codegen.strategies._rows_bound import most_cycles
from picobnn.codegen.strategies._rows_counts import Adder, adder_of, counts_of, fixed_counts
from picobnn.codegen.targets import find_core
from picobnn.codegen.targets.bounds import bounds_text, load_bounds, parse_bounds
from picobnn.codegen.targets.cores import CORES, InstructionSet
from picobnn.codegen.vocabulary import BitArray, Shape, Window
from picobnn.errors import ErrorId, PicobnnError
from tests.support.rows_inputs import worst_bits
from tests.support.rows_layers import CONVOLUTIONS, MINUS, ZERO, Layer, chain
from tests.support.small_programs import SAME_3X3

M4 = find_core("m4")
PARTS = load_bounds("m4")["rows"]


def some_bits(rng: np.random.Generator, shape: Shape) -> BitArray:
    """Independent bits, whole pixels, whole rows or whole columns, with any share of ones."""
    size = (shape.height, shape.width, shape.channels)
    extent = [size, (*size[:2], 1), (size[0], 1, 1), (1, size[1], 1)][int(rng.integers(4))]
    bits = np.broadcast_to(rng.random(extent) < rng.choice([0.0, 0.3, 0.5, 0.5, 0.6, 1.0]), size).astype(np.uint8)
    return bits ^ (rng.random(size) < rng.choice([0.0, 0.01, 0.2])).astype(np.uint8)


def random_layer(rng: np.random.Generator) -> Program:
    while True:
        sizes, pads, strides = rng.integers(1, 5, 2), rng.integers(0, 4, 4), rng.integers(1, 4, 2)
        window = Window(*(int(value) for value in (*sizes, *strides, *pads)))
        drawn = (None, SAME_3X3, Window(1, 1), Window(3, 3, 2, 2, 1, 1, 1, 1), window)[int(rng.integers(5))]
        layer = Layer(int(rng.choice([1, 32, 65, 160, 300])), drawn, (MINUS, ZERO)[int(rng.integers(2))])
        if rng.random() < 0.3:
            layer = CONVOLUTIONS[int(rng.integers(len(CONVOLUTIONS)))]
        shape = Shape(*(int(side) for side in rng.integers(4, 11, 2)), int(rng.choice([1, 3, 8, 31, 32, 40, 64])))
        program = chain((layer,), shape, 1)
        if find_strategy("rows").accepts(program.steps[1], program, M4) is None:
            return program


def cost_of(
    step: BinaryConv2dStep | BinaryDenseStep, program: Program, bits: BitArray, adder: Adder, parts: dict[str, float]
) -> float:
    return sum(parts[name] * count for name, count in counts_of(step, program, bits, adder).items())


@given(seed=st.integers(0, 2**32 - 1), has_vectors=st.booleans(), is_v6m=st.booleans())
def test_no_input_costs_more(seed: int, has_vectors: bool, is_v6m: bool) -> None:
    rng = np.random.default_rng(seed)
    program = random_layer(rng)
    step = program.steps[1]
    assert isinstance(step, BinaryConv2dStep | BinaryDenseStep)
    adder = adder_of(step, has_vectors=has_vectors and not is_v6m, is_v6m=is_v6m)
    shares = {name: rng.choice([0.0, 1.0, 1.0]) * rng.random() for name in names_of_parts()}
    parts = {name: PARTS.get(name, 1.0) * share for name, share in shares.items()}
    most = most_cycles(step, program, adder, parts)
    for _ in range(4):
        found = cost_of(step, program, some_bits(rng, program.tensors[1].shape), adder, parts)
        assert found <= most * (1 + 1e-9) + 1e-9


def names_of_parts() -> set[str]:
    return {name for core in CORES for parts in load_bounds(core.core).values() for name in parts}


def test_counts_of_a_dense_layer() -> None:
    """640 inputs in 20 words to 40 outputs: 101 rows in 13 eights, so six sixteens and a rest leave 7 carries."""
    program = chain((Layer(40),), Shape(4, 5, 32))
    step = program.steps[1]
    assert isinstance(step, BinaryDenseStep)
    bits = np.zeros((4, 5, 32), np.uint8)
    bits.reshape(-1)[:101] = 1
    counts = counts_of(step, program, bits, adder_of(step, has_vectors=False, is_v6m=False))
    wanted = {"bit": 101, "used": 4, "sixteen": 12, "rest": 2, "fill": 2, "carry_eight": 2, "carry_four": 0, "group": 2}
    assert {name: counts[name] for name in wanted} == wanted
    turned = counts_of(step, program, 1 - bits, adder_of(step, has_vectors=False, is_v6m=False))
    assert turned == counts | {"clear": 1}
    small = counts_of(step, program, bits, adder_of(step, has_vectors=False, is_v6m=True))
    # Lists of v6-M look at six bits at a time: three words to the end, and of the fourth the lowest bit is set too.
    assert (small["scan"], small["last_scan"]) == (20, 4)


def test_counts_of_a_convolution() -> None:
    """A 1x2 window on one row of four pixels of eight channels: a column more than there are, and one list."""
    program = chain((Layer(32, Window(1, 2)),), Shape(1, 4, 8))
    step = program.steps[1]
    assert isinstance(step, BinaryConv2dStep)
    adder = adder_of(step, has_vectors=False, is_v6m=False)
    fixed = fixed_counts(step, program, adder)
    assert (fixed["line"], fixed["position"], fixed["column"], fixed["list"], fixed["group"]) == (1, 3, 4, 4, 3)
    bits = np.zeros((1, 4, 8), np.uint8)
    bits[0, 1] = 1
    counts = counts_of(step, program, bits, adder)
    assert (counts["bit"], counts["rest"], counts["sixteen"]) == (8, 2, 0)
    bits[0, 2] = 1  # 8 + 16 + 8 of 48: more than half, so the outer two pixels select
    counts = counts_of(step, program, bits, adder)
    assert (counts["clear"], counts["bit"], counts["rest"]) == (1, 16, 2)


@pytest.mark.parametrize("core", [core.core for core in CORES])
def test_every_core_has_a_bound(core: str) -> None:
    """And a slow input comes within 5 percent of it, by the counts."""
    target, rng = find_core(core), np.random.default_rng(2)
    for name, parts in load_bounds(core).items():
        strategy = find_strategy(name)
        assert isinstance(strategy, BoundedStrategy)
        is_v6m = target.isa is InstructionSet.V6M
        for layer in (Layer(160, SAME_3X3), Layer(128), Layer(192, Window(1, 1))):
            program = chain((layer,), Shape(8, 8, 64))
            step = program.steps[1]
            assert isinstance(step, BinaryConv2dStep | BinaryDenseStep)
            adder = adder_of(step, has_vectors=name == "rows_mve", is_v6m=is_v6m)
            most = strategy.most_cycles(step, program, target, parts)
            bits = worst_bits(step, program, adder, parts, rng)
            assert 0.95 * most <= cost_of(step, program, bits, adder, dict(parts)) <= most
    assert set(load_bounds(core)) == ({"rows", "rows_mve"} if target.isa is InstructionSet.MVE else {"rows"})


def test_files_of_bounds() -> None:
    text = bounds_text("cortex-m4", "some runs", {"rows": {"bit": 6.00001, "conv": 0.0}})
    assert parse_bounds(text, "here") == {"rows": {"bit": 6.0001, "conv": 0.0}}
    for wrong, error in (
        (text.replace("6.0001", "-1.0"), ErrorId.CONFIG_VALUE),
        (text.replace("6.0001", "inf"), ErrorId.CONFIG_VALUE),
        (text.replace("source", "sauce"), ErrorId.CONFIG_VALUE),
        (text.replace("cortex-m4", "cortex-m5"), ErrorId.UNKNOWN_CORE),
        ("format =", ErrorId.CONFIG_FILE),
    ):
        with pytest.raises(PicobnnError) as caught:
            parse_bounds(wrong, "here")
        assert caught.value.error_id is error
