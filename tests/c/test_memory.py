# SPDX-License-Identifier: Apache-2.0
"""The memory functions of the board layer against Python's, on every overlap and alignment."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

SOURCE = Path(__file__).parents[2] / "firmware_templates" / "board" / "picobnn_memory.c"
NAMES = ("memcpy", "memmove", "memset", "memcmp")
FLAGS = (
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
    "-fno-tree-loop-distribute-patterns",
    "-fno-builtin",
)
SIZE = 64


@pytest.fixture(scope="module", params=["-O0", "-O2", "-O3"])
def functions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("memory") / "memory.so"
    renamed = [f"-D{name}=board_{name}" for name in NAMES]
    subprocess.run(["gcc", *FLAGS, request.param, *renamed, "-shared", "-fPIC", str(SOURCE), "-o", library], check=True)
    return ctypes.CDLL(str(library))


offsets = st.integers(0, SIZE // 2)


@settings(deadline=None, max_examples=300)
@given(st.binary(min_size=SIZE, max_size=SIZE), offsets, offsets, offsets)
def test_move(functions: ctypes.CDLL, data: bytes, to: int, source: int, count: int) -> None:
    memory = (ctypes.c_uint32 * (SIZE // 4)).from_buffer_copy(data)
    expected = bytearray(data)
    expected[to : to + count] = data[source : source + count]
    start = ctypes.addressof(memory)
    functions.board_memmove(ctypes.c_void_p(start + to), ctypes.c_void_p(start + source), ctypes.c_size_t(count))
    assert bytes(memory) == bytes(expected)


@settings(deadline=None, max_examples=100)
@given(st.binary(min_size=SIZE, max_size=SIZE), offsets, offsets, st.integers(-300, 300))
def test_set_copy_and_compare(functions: ctypes.CDLL, data: bytes, to: int, count: int, value: int) -> None:
    memory = (ctypes.c_uint32 * (SIZE // 4)).from_buffer_copy(data)
    other = (ctypes.c_uint32 * (SIZE // 4))()
    start, target = ctypes.addressof(memory), ctypes.addressof(other)
    functions.board_memcpy(ctypes.c_void_p(target + to), ctypes.c_void_p(start + to), ctypes.c_size_t(count))
    assert bytes(other) == bytes(to) + data[to : to + count] + bytes(SIZE - to - count)
    functions.board_memset(ctypes.c_void_p(start + to), value, ctypes.c_size_t(count))
    expected = data[:to] + bytes([value & 0xFF]) * count + data[to + count :]
    assert bytes(memory) == expected
    order = functions.board_memcmp(ctypes.c_void_p(start), ctypes.c_void_p(target), ctypes.c_size_t(SIZE))
    assert (order > 0) - (order < 0) == (expected > bytes(other)) - (expected < bytes(other))


def test_move_calls_no_function_whose_ends_may_not_overlap() -> None:
    body = re.search(r"^void \*memmove\([^)]*\)\n\{(.*?)^\}", SOURCE.read_text(), re.DOTALL | re.MULTILINE)
    assert body is not None
    assert "memcpy" not in body[1]
