# SPDX-License-Identifier: Apache-2.0
"""The transpose in C equals the layouts of pack.py in both directions, whatever the tails."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.pack import store_tensor
from picobnn.codegen.plan import Layout

RUNTIME = Path(__file__).parents[2] / "firmware_templates" / "runtime"
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-O2", "-I", str(RUNTIME))
GUARD = 0xDEADBEEF


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("transpose") / "transpose.so"
    source = str(RUNTIME / "picobnn_transpose.c")
    subprocess.run(["gcc", *FLAGS, "-fsanitize=undefined", "-shared", "-fPIC", source, "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def transposed(library: ctypes.CDLL, data: bytes, rows: int, columns: int) -> bytes:
    source = np.frombuffer(data, "<u4").copy()
    words = columns * ((rows + 31) // 32)
    target = np.full(words + 1, GUARD, np.uint32)
    library.picobnn_transpose(ctypes.c_void_p(source.ctypes.data), ctypes.c_void_p(target.ctypes.data), rows, columns)
    assert target[-1] == GUARD
    return target[:-1].astype("<u4").tobytes()


@pytest.mark.parametrize("channels", [1, 2, 31, 32, 33, 64, 70])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 31), (4, 8), (3, 11), (7, 9), (8, 8), (13, 10)])
def test_both_directions(library: ctypes.CDLL, height: int, width: int, channels: int) -> None:
    rng = np.random.default_rng(height * 100 + channels)
    bits = rng.integers(0, 2, (height, width, channels), dtype=np.uint8)
    words = store_tensor(bits, Layout.CHANNEL_WORDS)
    planes = store_tensor(bits, Layout.PIXEL_PLANES)
    assert transposed(library, words, height * width, channels) == planes
    assert transposed(library, planes, channels, height * width) == words
