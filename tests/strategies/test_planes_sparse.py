# SPDX-License-Identifier: Apache-2.0
"""Strategy planes_sparse: any two values and removed weights against the reference, its lists and constants."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.strategies._lists_tables import (
    CORE_BITS,
    HALF_GROUP,
    MAX_SHIFT,
    FilterLists,
    filter_lists,
    listed_words,
)
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, PadMode, Shape, Threshold, WeightDomain, Window
from tests.support.lists_layers import (
    DOMAINS,
    M4,
    edge_layers,
    random_values,
    with_values,
)
from tests.support.planes_layers import assert_c_equals_reference, layer, single
from tests.support.small_programs import SAME_3X3, binary_conv2d, binary_dense, bits, input_conv2d, scale

SPARSE = find_strategy("planes_sparse")


def test_random_layers_equal_the_reference() -> None:
    rng = np.random.default_rng(1)
    assert_c_equals_reference([random_values(rng, "planes_sparse") for _ in range(6)], "planes_sparse")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_five_hundred_random_layers_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    assert_c_equals_reference([random_values(rng, "planes_sparse") for _ in range(50)], "planes_sparse", 8)


def test_edges_equal_the_reference() -> None:
    assert_c_equals_reference(edge_layers("planes_sparse"), "planes_sparse", 4)


def decided(lists: FilterLists, added: int, ones: int, index: int) -> int:
    """What the compare says of a filter for ``added`` words and ``ones`` set bits, from the constants as emitted."""
    form, limit = lists.form, int(lists.limits[index, 0])
    low, high = (form.ratio * ones) % 2**form.shift, (form.ratio * ones) // 2**form.shift
    carry = low + (limit & 2**form.shift - 1) >> form.shift
    top = 1 << lists.counter_bits - 1
    constant = limit >> form.shift
    total = added + high + carry + (constant & top - 1)
    return (total >> lists.counter_bits - 1 & 1) ^ (constant >> lists.counter_bits - 1)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    channels=st.integers(1, 40),
    domain=st.sampled_from(DOMAINS),
    ternary=st.booleans(),
    share=st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.8, 1.0]),
)
def test_every_reachable_sum_is_decided_as_the_threshold_says(
    seed: int, channels: int, domain: WeightDomain, ternary: bool, share: float
) -> None:
    assume(not ternary or domain == PLUS_MINUS_ONE or domain.ratio == 0)
    rng = np.random.default_rng(seed)
    made = layer(rng, Shape(1, 1, channels), Window(1, 1), PadMode.MINUS_ONE, None, 4)
    assert made is not None
    step = dataclasses.replace(made[0], weights=(rng.random((4, 1, 1, channels)) < share).astype(np.uint8))
    program = with_values(rng, single(step, made[1], Shape(1, 1, channels)), domain, ternary=ternary)
    step = program.steps[1]  # type: ignore[assignment]
    assert isinstance(step.epilogue, Threshold)
    lists = filter_lists(step, Shape(1, 1, channels), step.epilogue.flip.tobytes())
    assert lists.counter_bits in CORE_BITS
    kept = np.ones_like(step.weights) if step.kept is None else step.kept
    values = np.where(step.weights == 1, domain.values[1], domain.values[0]) * kept
    for index, (weights, value) in enumerate(zip(step.weights.reshape(4, -1), values.reshape(4, -1), strict=True)):
        for _ in range(8):
            chosen = weights if rng.random() < 0.5 else 1 - weights
            x = (chosen ^ (rng.random(channels) < rng.random())).astype(np.int64)
            accumulator = int((value * (2 * x - 1)).sum())
            wanted = (accumulator >= int(step.epilogue.thresholds[index])) ^ int(step.epilogue.flip[index])
            words = np.concatenate([x, 1 - x])[: lists.added.shape[1]]
            added = int((lists.added[index] * words).sum())
            assert decided(lists, added, int(x.sum()), index) == wanted


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), taps=st.integers(1, 300), density=st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_lists_hold_their_words_once_and_zeros_else(seed: int, taps: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    made = layer(rng, Shape(2, 2, taps), Window(1, 1), PadMode.ZERO, None, 5)
    assert made is not None
    weights = (rng.random((5, 1, 1, taps)) < density).astype(np.uint8)
    step = dataclasses.replace(made[0], weights=weights, domain=WeightDomain(3, -1))
    lists = filter_lists(step, Shape(2, 2, taps), bytes(5))
    words, place = listed_words(lists, has_classes=False), 0
    for added, limit in zip(lists.added, lists.limits[:, 0], strict=True):
        head = int(words[place])
        assert head >> 24 == head >> 16 & 0xFF
        count = 2 * HALF_GROUP * (head >> 24) + HALF_GROUP * (head >> 15 & 1)
        entries = words[place + 1 : place + 1 + count // 2].view(np.uint16).astype(int)
        real = entries[entries != 0]
        np.testing.assert_array_equal(real // 4 - 8, np.flatnonzero(added))
        assert not (real % 4).any()
        assert count - len(real) < HALF_GROUP
        constant = int(words[place + 1 + count // 2])
        assert (constant >> 8 << 3 | constant >> 2 & 7) == limit
        place += 2 + count // 2
    assert place == len(words)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"groups": 5}, "5 groups"),
        ({"epilogue": scale(33), "pool": None}, "a scale needs sums"),
        ({"window": Window(3, 3, 1, 3)}, "stride of 3"),
        ({"weights": bits(33, 3, 3, 460)}, "4140 weights"),
        ({"weights": bits(33, 3, 3, 440), "domain": WeightDomain(0, 5)}, "bits above"),
        ({"domain": WeightDomain(MAX_SHIFT + 1, -1)}, "7 fractional bits"),
        ({"domain": WeightDomain(3, -1), "kept": bits(33, 3, 3, 5)}, "without a common start"),
    ],
)
def test_convolutions_it_refuses(change: dict[str, object], reason: str) -> None:
    program = binary_conv2d()
    refusal = SPARSE.accepts(dataclasses.replace(program.steps[1], **change), program, M4)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_other_steps_it_refuses() -> None:
    for program in (input_conv2d(), binary_dense()):
        refusal = SPARSE.accepts(program.steps[-1], program, M4)
        assert refusal == Refusal("only binary convolutions have planes of pixels")


def test_tables_and_terms() -> None:
    program = binary_conv2d()
    step = program.steps[1]
    tables = {table.role: table for table in SPARSE.tables(step, program, M4)}
    assert list(tables) == ["lists", "limits", "row_classes", "column_classes"]
    assert not SPARSE.packed_weights
    assert SPARSE.scratch_bytes(step, program, M4) == 4 * (16 + (1 + 2 * 9) + 12 + (2 + 48)) + 4 * 33
    assert all(term.mean == term.worst >= 0 for term in SPARSE.cost_terms(step, program, M4))
    sparse = dataclasses.replace(
        step, weights=step.weights * (np.arange(5, dtype=np.uint8) < 2), domain=WeightDomain(3, -1)
    )
    assert SPARSE.tables(sparse, program, M4)[0].size_bytes < tables["lists"].size_bytes
    made = layer(np.random.default_rng(1), Shape(8, 8, 8), SAME_3X3, PadMode.MINUS_ONE, None, 4)
    assert made is not None
    alone = single(*made, Shape(8, 8, 8))
    assert [table.role for table in SPARSE.tables(alone.steps[1], alone, M4)] == ["lists"]
