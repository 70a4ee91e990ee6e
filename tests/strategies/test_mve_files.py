# SPDX-License-Identifier: Apache-2.0
"""The files of the kernels for vectors: strictly clean on the Cortex-M55, empty assembly on every other core."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from picobnn.codegen.strategies import STRATEGIES
from picobnn.codegen.targets import CORES, InstructionSet, Target, find_core
from tests.support.firmware import needs_compiler

RUNTIME = Path(__file__).parents[2] / "firmware_templates" / "runtime"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Werror")
M55 = find_core("m55")
FILES = sorted({name for strategy in STRATEGIES for name in strategy.runtime_files(M55) if "_mve" in name})
ASSEMBLY = [name for name in FILES if name.endswith(".S") and name != "picobnn_mve_adders.S"]


def compiled(target: Target, name: str, folder: Path, optimization: str = "-O2") -> str:
    """The symbols of a file's object."""
    out = folder / "unit.o"
    command = ["arm-none-eabi-gcc", *target.compiler_flags, *STRICT, optimization, "-ffreestanding", f"-I{RUNTIME}"]
    result = subprocess.run([*command, "-c", str(RUNTIME / name), "-o", str(out)], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, ""), name
    return subprocess.run(["arm-none-eabi-nm", str(out)], check=True, capture_output=True, text=True).stdout


@needs_compiler
@pytest.mark.parametrize("optimization", ["-Os", "-O3"])
@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".c")])
def test_the_c_compiles_without_a_warning(name: str, optimization: str, tmp_path: Path) -> None:
    for core in ("m4", "m55"):
        compiled(find_core(core), name, tmp_path, optimization)


@needs_compiler
@pytest.mark.parametrize("target", CORES, ids=lambda target: target.core)
@pytest.mark.parametrize("name", ASSEMBLY)
def test_the_assembly_is_there_on_cores_with_vectors_only(name: str, target: Target, tmp_path: Path) -> None:
    assert (" T picobnn_" in compiled(target, name, tmp_path)) == (target.isa is InstructionSet.MVE)


def test_only_strategies_for_vectors_bring_such_files() -> None:
    assert ASSEMBLY
    owners = {strategy.name for strategy in STRATEGIES if {*strategy.runtime_files(M55)} & {*FILES}}
    assert all(name.endswith("_mve") for name in owners)
