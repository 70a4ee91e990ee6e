# SPDX-License-Identifier: Apache-2.0
"""Bit order is LSB first, words are little endian, padding is 0; packing and unpacking are inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.pack import load_tensor, pack_bits, pack_words, store_tensor, unpack_bits, unpack_words
from picobnn.codegen.plan import Layout, layout_bytes
from picobnn.codegen.vocabulary import Shape

seeds = st.integers(0, 2**32 - 1)


def test_element_i_is_bit_i_of_the_run() -> None:
    for index in (0, 1, 7, 8, 31, 32, 39):
        bits = np.zeros(40, np.uint8)
        bits[index] = 1
        data = pack_bits(bits)
        assert data[index // 8] == 1 << index % 8
        assert sum(data) == data[index // 8]
        words = pack_words(bits)
        assert words.dtype == np.uint32
        assert words[index // 32] == 1 << index % 32
        assert sum(words.tolist()) == words[index // 32]


@settings(deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), seeds)
def test_bits_round_trip(shape: list[int], seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)
    data = pack_bits(bits)
    assert len(data) == (bits.size + 7) // 8
    np.testing.assert_array_equal(unpack_bits(data, tuple(shape)), bits)


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 100), seeds)
def test_words_round_trip_with_zero_padding(rows: int, length: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (rows, length), dtype=np.uint8)
    words = pack_words(bits)
    assert words.shape == (rows, (length + 31) // 32)
    np.testing.assert_array_equal(unpack_words(words, length), bits)
    assert sum(int(word).bit_count() for word in words.flat) == bits.sum()


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 70), st.sampled_from(Layout), seeds)
def test_tensors_round_trip(height: int, width: int, channels: int, layout: Layout, seed: int) -> None:
    shape = Shape(height, width, channels)
    rng = np.random.default_rng(seed)
    low, high = {
        Layout.HWC_BYTES: (0, 256),
        Layout.CHANNEL_WORDS: (0, 2),
        Layout.PIXEL_PLANES: (0, 2),
        Layout.HWC_INT32: (-(2**31), 2**31),
    }[layout]
    values = rng.integers(low, high, (height, width, channels))
    data = store_tensor(values, layout)
    assert len(data) == layout_bytes(layout, shape)
    np.testing.assert_array_equal(load_tensor(data, shape, layout), values)


@pytest.mark.parametrize(
    ("layout", "values", "data"),
    [
        (Layout.HWC_BYTES, [[[1, 255]]], b"\x01\xff"),
        (Layout.HWC_INT32, [[[-2, 258]]], b"\xfe\xff\xff\xff\x02\x01\x00\x00"),
        (Layout.CHANNEL_WORDS, [[[1, 0, 1], [0, 1, 1]]], b"\x05\x00\x00\x00\x06\x00\x00\x00"),
        (Layout.PIXEL_PLANES, [[[1, 0, 1], [0, 1, 1]]], b"\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00"),
    ],
)
def test_stored_bytes(layout: Layout, values: list[list[list[int]]], data: bytes) -> None:
    assert store_tensor(np.array(values), layout) == data
