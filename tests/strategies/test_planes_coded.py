# SPDX-License-Identifier: Apache-2.0
"""Strategy planes_coded: against the reference, its codes near the entropy, its decoder on any codes."""

from __future__ import annotations

import ctypes
import dataclasses
import math
import subprocess
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

from picobnn.codegen.strategies import find_strategy, table_bytes
from picobnn.codegen.strategies._lists_tables import CODES_END, filter_lists, gap_codes, low_bits_of
from picobnn.codegen.vocabulary import PadMode, Shape, WeightDomain, Window
from tests.support.lists_layers import M4, edge_layers, random_values
from tests.support.planes_layers import assert_c_equals_reference, layer, single
from tests.support.small_programs import SAME_3X3

CODED = find_strategy("planes_coded")
RUNTIME = Path(__file__).parents[2] / "firmware_templates" / "runtime"
GUARD = 0xDEADBEEF


def test_random_layers_equal_the_reference() -> None:
    rng = np.random.default_rng(3)
    assert_c_equals_reference([random_values(rng, "planes_coded") for _ in range(6)], "planes_coded")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_five_hundred_random_layers_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(500 + seed)
    assert_c_equals_reference([random_values(rng, "planes_coded") for _ in range(50)], "planes_coded", 8)


def test_edges_equal_the_reference() -> None:
    assert_c_equals_reference(edge_layers("planes_coded"), "planes_coded", 4)


@pytest.mark.parametrize(("density", "shift", "most"), [(0.1, 3, 0.55), (0.05, 4, 0.36)])
def test_codes_come_near_the_entropy(density: float, shift: int, most: float) -> None:
    rng = np.random.default_rng(7)
    made = layer(rng, Shape(8, 8, 128), SAME_3X3, PadMode.MINUS_ONE, None, 64)
    assert made is not None
    weights = (rng.random(made[0].weights.shape) < density).astype(np.uint8)
    step = dataclasses.replace(made[0], weights=weights, domain=WeightDomain(shift, -1))
    program = single(step, made[1], Shape(8, 8, 128))
    rate = 8 * table_bytes(CODED.tables(step, program, M4)) / weights.size
    share = weights.mean()
    entropy = -(share * math.log2(share) + (1 - share) * math.log2(1 - share))
    assert entropy < rate < min(most, 1.15 * entropy)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("codes") / "codes.so"
    command = ["gcc", "-std=c99", "-O2", "-fsanitize=undefined", "-fno-sanitize-recover", "-shared", "-fPIC"]
    source = str(RUNTIME / "picobnn_planes_coded.c")
    subprocess.run([*command, "-I", str(RUNTIME), source, "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


class Codes(ctypes.Structure):
    """As in the header."""

    _fields_ = (
        ("codes", ctypes.c_void_p),
        ("bit", ctypes.c_uint32),
        ("low_bits", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
    )


def decoded(
    library: ctypes.CDLL, codes: npt.NDArray[np.uint16], low_bits: int, counts: list[int], offset: int
) -> list[list[int]]:
    """The entries of filter after filter."""
    state = Codes(codes.ctypes.data, 0, low_bits, offset)
    found = []
    for count in counts:
        room = np.full((count + 1) // 2 + 1, GUARD, np.uint32)
        if count:
            library.picobnn_planes_decode(ctypes.byref(state), count, ctypes.c_void_p(room.ctypes.data))
        assert room[-1] == GUARD
        found.append(room[:-1].view(np.uint16)[:count].tolist())
    return found


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32),
    taps=st.integers(1, 4000),
    filters=st.integers(1, 5),
    low_bits=st.integers(0, 12),
    density=st.sampled_from([0.001, 0.02, 0.1, 0.5, 1.0]),
)
def test_the_decoder_finds_every_word(
    library: ctypes.CDLL, seed: int, taps: int, filters: int, low_bits: int, density: float
) -> None:
    rng = np.random.default_rng(seed)
    made = layer(rng, Shape(1, 1, taps), Window(1, 1), PadMode.MINUS_ONE, None, filters)
    assert made is not None
    weights = (rng.random((filters, 1, 1, taps)) < density).astype(np.uint8)
    step = dataclasses.replace(made[0], weights=weights, domain=WeightDomain(2, 0))
    lists = filter_lists(step, Shape(1, 1, taps), bytes(filters))
    codes = gap_codes(lists, low_bits)
    entries = decoded(library, codes, low_bits, lists.lengths.tolist(), 0)
    assert entries == [(4 * (np.flatnonzero(row) + 1)).tolist() for row in lists.added]


def test_damaged_codes_end_after_their_count(library: ctypes.CDLL) -> None:
    """Whatever the bits, so many entries are written and no more; where a code lies is known after each list."""
    rng = np.random.default_rng(5)
    for low_bits in (0, 3, 12):
        codes = rng.integers(1, 2**16, 4000, dtype=np.uint16)
        found = decoded(library, codes, low_bits, [100, 1, 7], 4)
        assert [len(entries) for entries in found] == [100, 1, 7]


def test_the_low_bits_take_the_fewest_bits() -> None:
    rng = np.random.default_rng(3)
    made = layer(rng, Shape(4, 4, 64), SAME_3X3, PadMode.MINUS_ONE, None, 9)
    assert made is not None
    weights = (rng.random(made[0].weights.shape) < 0.08).astype(np.uint8)
    step = dataclasses.replace(made[0], weights=weights, domain=WeightDomain(4, -1))
    lists = filter_lists(step, Shape(4, 4, 64), bytes(9))
    sizes = [len(gap_codes(lists, low_bits)) for low_bits in range(8)]
    assert sizes[low_bits_of(lists)] == min(sizes)
    nothing = dataclasses.replace(step, weights=np.zeros_like(weights))
    lists = filter_lists(nothing, Shape(4, 4, 64), bytes(9))
    assert len(gap_codes(lists, low_bits_of(lists))) == CODES_END


def test_tables() -> None:
    made = layer(np.random.default_rng(1), Shape(8, 8, 8), SAME_3X3, PadMode.ZERO, None, 4)
    assert made is not None
    program = single(*made, Shape(8, 8, 8))
    roles = [table.role for table in CODED.tables(program.steps[1], program, M4)]
    assert roles == ["codes", "counts", "limits", "row_classes", "column_classes"]
    assert CODED.packed_weights
