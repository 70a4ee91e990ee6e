# SPDX-License-Identifier: Apache-2.0
"""Everything emitted compiles without a warning, on the host and for the cores, at every optimization; what comes out
is small, aligned and in need of no library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from picobnn.codegen.emit import GoldenVector, render_model, write_sources
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import find_core
from picobnn.sim.reference import run_program
from tests.support.small_programs import SMALL_PROGRAMS, fixed_images

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Werror")
CROSS = "arm-none-eabi-gcc"
needs_cross = pytest.mark.skipif(shutil.which(CROSS) is None, reason=f"needs {CROSS}")
needs_cxx = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All small programs in one folder, each with its own prefix."""
    path = tmp_path_factory.mktemp("sources")
    for name, program in SMALL_PROGRAMS.items():
        image = fixed_images(program, 1)
        vector = GoldenVector(image[0], run_program(program, image)[-1][0])
        write_sources(render_model(make_plan(program, find_core("m4")), name, vector), path)
    return path


def compile_all(folder: Path, *command: str) -> None:
    names = sorted(path.name for path in folder.glob("*.c"))
    result = subprocess.run([*command, "-c", *names], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not result.stderr


@pytest.mark.parametrize("optimization", ["-O0", "-O2"])
@pytest.mark.parametrize("hook", [(), ("-DPICOBNN_LAYER_HOOK",), ("-DPICOBNN_NO_STRINGS",)])
def test_host(folder: Path, optimization: str, hook: tuple[str, ...]) -> None:
    compile_all(folder, "gcc", *STRICT, optimization, *hook)


@needs_cross
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", "cortex-m33", "cortex-m55"])
@pytest.mark.parametrize("optimization", ["-Os", "-O2", "-O3"])
def test_cross(folder: Path, core: str, optimization: str) -> None:
    compile_all(folder, CROSS, *find_core(core).compiler_flags, *STRICT, optimization)


@needs_cxx
def test_headers_serve_cpp(folder: Path, tmp_path: Path) -> None:
    headers = "".join(f'#include "{path.name}"\n' for path in sorted(folder.glob("*.h")))
    unit = tmp_path / "unit.cpp"
    unit.write_text(headers + "int main() { return two_layers_check_weights(); }\n")
    flags = ("-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", str(folder))
    result = subprocess.run(["g++", *flags, "-c", str(unit), "-o", str(tmp_path / "unit.o")], capture_output=True)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.parametrize("header", [f"{name}.h" for name in SMALL_PROGRAMS] + ["picobnn_runtime.h", "picobnn_xnor.h"])
def test_headers_stand_alone(folder: Path, header: str, tmp_path: Path) -> None:
    unit = tmp_path / "unit.c"
    unit.write_text(f'#include "{header}"\nint main(void) {{ return 0; }}\n')
    command = ["gcc", *STRICT, "-I", str(folder), "-c", str(unit), "-o", str(tmp_path / "unit.o")]
    result = subprocess.run(command, capture_output=True)
    assert result.returncode == 0, result.stderr.decode()


@needs_cross
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4"])
@pytest.mark.parametrize("optimization", ["-O2", "-O3"])
def test_kernels_need_no_library(folder: Path, tmp_path: Path, core: str, optimization: str) -> None:
    """No memset, no division, no popcount helper comes in behind our back: the files need nothing but each other."""
    out = tmp_path / "runtime.o"
    names = sorted(path.name for path in folder.glob("picobnn_*.c"))
    flags = (*find_core(core).compiler_flags, *STRICT, optimization, "-nostdlib", "-r")
    subprocess.run([CROSS, *flags, *names, "-o", str(out)], cwd=folder, check=True)
    undefined = subprocess.run(["arm-none-eabi-nm", "-u", str(out)], capture_output=True, text=True, check=True)
    assert not undefined.stdout.split()


@needs_cross
@pytest.mark.parametrize("optimization", ["-Os", "-O2"])
def test_tables_are_aligned_to_words(folder: Path, tmp_path: Path, optimization: str) -> None:
    """As the kernels ask, of tables of half-words too; left to itself the compiler does so above -Os only."""
    out, found = tmp_path / "weights.o", 0
    for path in sorted(folder.glob("*_weights.c")):
        flags = (*find_core("m4").compiler_flags, *STRICT, optimization)
        subprocess.run([CROSS, *flags, "-c", str(path), "-o", str(out)], check=True)
        with out.open("rb") as file:
            tables = [part for part in ELFFile(file).iter_sections() if part.name.startswith(".rodata.")]
        found += len(tables)
        assert all(table["sh_addralign"] >= 4 for table in tables), path.name
    assert found


@needs_cross
def test_runtime_stays_small(folder: Path, tmp_path: Path) -> None:
    """At most 5 KiB of linked runtime for a model with an input convolution, a convolution and a dense layer on M4."""
    out = tmp_path / "model.elf"
    flags = (
        *find_core("m4").compiler_flags,
        "-std=c99",
        "-O2",
        "-ffunction-sections",
        "-nostdlib",
        "-Wl,--gc-sections",
    )
    roots = [f"-Wl,-u,{name}_{verb}" for name in SMALL_PROGRAMS for verb in ("run", "check_weights")]
    names = sorted(path.name for path in folder.glob("*.c"))
    subprocess.run([CROSS, *flags, *roots, "-Wl,-e,two_layers_run", *names, "-o", str(out)], cwd=folder, check=True)
    listing = subprocess.run(["arm-none-eabi-nm", "-S", str(out)], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    sizes = {row[3]: int(row[1], 16) for row in rows if len(row) == 4 and row[2] in "tTrR"}
    runtime = {name: size for name, size in sizes.items() if not name.startswith(tuple(SMALL_PROGRAMS))}
    layers = sum(size for name, size in runtime.items() if name.endswith("_layer"))
    assert sum(runtime.values()) - layers <= 5 * 1024, runtime
