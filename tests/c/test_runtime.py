# SPDX-License-Identifier: Apache-2.0
"""Runs the plain-C unit tests of the runtime, with and without sanitizers, and crc32 and argmax against Python."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "firmware_templates" / "runtime"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-I", str(RUNTIME))
SOURCES = [str(RUNTIME / f"picobnn_{stem}.c") for stem in ("runtime", "direct", "xnor", "xnor_compare")]
"""What the unit tests call. The strategies' tests compile the other sources on the host, under the same warnings, and
tests/codegen/test_v6m_opcodes.py all of them for two cores."""

SANITIZE = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all", "-g")


@pytest.mark.parametrize("flags", [("-O2",), ("-Os",), ("-O1", *SANITIZE)], ids=["O2", "Os", "sanitized"])
def test_unit_tests_in_c(flags: tuple[str, ...], tmp_path: Path) -> None:
    program = tmp_path / "runtime_test"
    unit = str(Path(__file__).parent / "runtime_test.c")
    subprocess.run(["gcc", *STRICT, *flags, unit, *SOURCES, "-o", str(program)], check=True)
    result = subprocess.run([str(program)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_c_is_formatted() -> None:
    tool = shutil.which("clang-format", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        pytest.skip("needs clang-format")
    names = [*RUNTIME.glob("picobnn_*.[ch]"), ROOT / "sim" / "hostc_driver.c", Path(__file__).parent / "runtime_test.c"]
    result = subprocess.run([tool, "--dry-run", "-Werror", *names], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("runtime") / "runtime.so"
    subprocess.run(["gcc", *STRICT, "-O2", "-shared", "-fPIC", *SOURCES, "-o", str(path)], check=True)
    library = ctypes.CDLL(str(path))
    library.picobnn_crc32.restype = ctypes.c_uint32
    library.picobnn_crc32.argtypes = [ctypes.c_uint32, ctypes.c_char_p, ctypes.c_size_t]
    library.picobnn_argmax.restype = ctypes.c_uint32
    library.picobnn_argmax.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    return library


@settings(deadline=None, max_examples=100)
@given(first=st.binary(max_size=200), second=st.binary(max_size=200))
def test_crc32_equals_zlib(runtime: ctypes.CDLL, first: bytes, second: bytes) -> None:
    crc = runtime.picobnn_crc32(0, first, len(first))
    assert crc == zlib.crc32(first)
    assert runtime.picobnn_crc32(crc, second, len(second)) == zlib.crc32(first + second)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 2), min_size=1, max_size=20))
def test_argmax_equals_numpy(runtime: ctypes.CDLL, logits: list[int]) -> None:
    values = np.array(logits, np.int32)
    assert runtime.picobnn_argmax(values.ctypes.data, len(values)) == int(np.argmax(values))
