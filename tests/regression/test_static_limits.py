# SPDX-License-Identifier: Apache-2.0
"""The compiler refuses generated C whose layers were edited beyond what their kernels can hold."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from picobnn.codegen.emit import render_model, runtime_text, write_sources
from picobnn.codegen.plan import Kernels, Plan
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import direct, xnor
from picobnn.codegen.strategies import slice as slice_
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import Shape
from tests.support.slice_layers import Layer, chain
from tests.support.small_programs import SAME_3X3, two_layers

LIMITS = {"direct": direct.MAX_FAN_IN, "xnor": xnor.MAX_FAN_IN}
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.mark.parametrize("name", LIMITS)
def test_headers_state_the_limit_that_the_strategy_keeps(name: str) -> None:
    assert f"#define PICOBNN_{name.upper()}_MAX_TAPS {LIMITS[name]}u\n" in runtime_text(f"picobnn_{name}.h")


def test_slices_state_the_limits_that_the_strategy_keeps() -> None:
    text = runtime_text("picobnn_slice.h")
    assert f"#define PICOBNN_SLICE_MAX_TAPS {slice_.MAX_FAN_IN}u\n" in text
    assert f"#define PICOBNN_SLICE_MAX_PLANES {slice_.MAX_PLANES}u\n" in text


def compiles(folder: Path, path: str, pattern: str, replacement: str, plan: Plan | None = None) -> bool:
    """Whether the sources of a small model compile after an edit of one of them."""
    plan = plan or make_plan(two_layers(), find_core("m4"), kernels=Kernels.XNOR)
    write_sources(render_model(plan, "net"), folder)
    text, count = re.subn(pattern, replacement, (folder / path).read_text())
    assert count == 1
    (folder / path).write_text(text)
    command = ["gcc", *STRICT, "-fsyntax-only", "net.c", "net_weights.c"]
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0


@needs_compiler
@pytest.mark.parametrize("name", LIMITS)
def test_taps_beyond_the_accumulator_do_not_compile(name: str, tmp_path: Path) -> None:
    pattern = rf"\(\d+u, (PICOBNN_{name.upper()}_MAX_TAPS)\)"
    assert compiles(tmp_path, "net.c", pattern, rf"({LIMITS[name]}u, \1)")
    assert not compiles(tmp_path, "net.c", pattern, rf"({LIMITS[name] + 1}u, \1)")


@needs_compiler
@pytest.mark.parametrize(("name", "limit"), [("TAPS", slice_.MAX_FAN_IN), ("PLANES", slice_.MAX_PLANES)])
def test_slices_beyond_their_limits_do_not_compile(name: str, limit: int, tmp_path: Path) -> None:
    pattern = rf"\(\d+u, (PICOBNN_SLICE_MAX_{name})\)"
    plan = make_plan(chain((Layer(SAME_3X3),), Shape(5, 5, 3)), find_core("m4"), forced={1: "slice"})
    assert compiles(tmp_path, "net.c", pattern, rf"({limit}u, \1)", plan)
    assert not compiles(tmp_path, "net.c", pattern, rf"({limit + 1}u, \1)", plan)


@needs_compiler
def test_a_table_of_another_length_does_not_compile(tmp_path: Path) -> None:
    assert not compiles(tmp_path, "net_weights.c", r"(net_dense1_weights)\[6\]", r"\1[7]")
    assert not compiles(tmp_path, "net_weights.c", r"(net_dense1_biases\[3\].*\n *-?\d+,)", r"\1 1,")
