# SPDX-License-Identifier: Apache-2.0
"""Units of code as read from objects, and the fit of a model's own code."""

from __future__ import annotations

from pathlib import Path

import pytest
from code_sections import fit_model, read_units

from picobnn.codegen.targets.code_sizes import CodeUnit
from picobnn.toolchain import run_tool
from tests.support.firmware import needs_compiler

FIRST = """
extern int outer(int);
__attribute__((noinline)) static int once(int x) { return x * 3 + 7; }
__attribute__((noinline)) static int shared(int x) { return outer(x) / 5; }
int one(int x) { return once(x) + shared(x) + 1; }
int two(int x) { return shared(x + 2) - 1; }
extern const int table[3];
const int table[3] = {1, 2, 3};
"""
SECOND = """
extern const int table[];
extern void *memset(void *, int, unsigned);
__attribute__((noinline)) static int shared(int x) { return table[x]; }
int outer(int x) { return shared(x) + x; }
int inner(int x) { return shared(x) - x; }
int other(void *x) __attribute__((alias("more")));
int more(void *x) { memset(x, 0, 99u); return 1; }
"""


def compiled(folder: Path, name: str, text: str) -> Path:
    (folder / f"{name}.c").write_text(text)
    flags = ["-mcpu=cortex-m4", "-mthumb", "-O1", "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
    run_tool(["arm-none-eabi-gcc", *flags, "-c", f"{name}.c"], where=name, cwd=folder)
    return folder / f"{name}.o"


@needs_compiler
def test_sections_their_sizes_and_what_they_refer_to(tmp_path: Path) -> None:
    first, second = compiled(tmp_path, "first", FIRST), compiled(tmp_path, "second", SECOND)
    units = read_units([first, second])
    uses = {name: unit.uses for name, unit in units.items()}
    assert uses == {
        "one": ("first.shared",),  # and what it alone calls, folded into it
        "two": ("first.shared",),
        "first.shared": ("outer",),
        "table": (),
        "outer": ("second.shared",),
        "inner": ("second.shared",),
        "second.shared": ("table",),
        "more": (),  # what no object defines is not counted
        "other": ("more",),
    }
    assert units["table"] == CodeUnit(12)
    assert units["other"].size_bytes == 0
    sizes = run_tool(["arm-none-eabi-size", "-A", first, second], where="size").stdout.splitlines()
    loaded = sum(int(line.split()[1]) for line in sizes if line.startswith((".text", ".rodata")))
    assert sum(unit.size_bytes for unit in units.values()) == loaded


@pytest.mark.parametrize(("once", "step", "transpose"), [(60, 35, 20), (72, 36, 0)])
def test_the_models_own_code_is_a_sum_of_three_kinds(once: int, step: int, transpose: int) -> None:
    counts = [(steps, turns) for steps in (1, 2, 5, 8) for turns in (0, min(1, steps - 1), steps // 3)]
    rows = [(steps, turns, once + steps * step + turns * transpose) for steps, turns in counts]
    assert fit_model(rows) == (once, step, transpose)
    assert fit_model([(steps, 0, size - turns * transpose) for steps, turns, size in rows]) == (once, step, 0)
