# SPDX-License-Identifier: Apache-2.0
"""No instruction beyond Armv6-M in what is built for the Cortex-M0 and M0+: every runtime source and whole images.

Armv6-M has 16-bit instructions, BL and a few 32-bit system instructions (Arm DDI 0419, A5.3); CBZ, CBNZ and IT are
16-bit instructions of later architectures.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from picobnn.codegen.targets import find_core
from tests.support.firmware import needs_compiler, stub_firmware

RUNTIME = Path(__file__).parents[2] / "firmware_templates" / "runtime"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-ffreestanding")
WIDE = {"bl", "msr", "mrs", "dmb", "dsb", "isb"}
OTHER_CORES = ("_v7m.S", "_mve.S")
INSTRUCTION = re.compile(r"^ +(?:[0-9a-f]+:\t)?((?:[0-9a-f]{4} ?)+)\s+(\S+)", re.MULTILINE)


def instructions(binary: Path) -> list[tuple[str, str]]:
    """(encoding, mnemonic) of all instructions of an object or an image; data in the code is left out."""
    command = ["arm-none-eabi-objdump", "-d", str(binary)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = [(code.strip(), name) for code, name in INSTRUCTION.findall(listing)]
    return [(code, name) for code, name in found if not name.startswith(".")]


def later_instructions(binary: Path) -> set[str]:
    """Mnemonics that Armv6-M does not have."""
    return {
        name
        for code, name in instructions(binary)
        if (" " in code and name not in WIDE) or re.fullmatch(r"cbn?z|i[te]{1,4}", name)
    }


def compile_sources(core: str, level: str, folder: Path, pattern: str = "*.[cS]") -> dict[str, Path]:
    """Runtime sources as objects, by name, without a warning; a C and an assembly file may share a stem."""
    flags = [*find_core(core).compiler_flags, level, *STRICT, "-I", str(RUNTIME)]
    objects = {path.name: folder / f"{path.name}.o" for path in sorted(RUNTIME.glob(pattern))}
    for name, path in objects.items():
        subprocess.run(["arm-none-eabi-gcc", *flags, "-c", str(RUNTIME / name), "-o", str(path)], check=True)
    return objects


@needs_compiler
@pytest.mark.parametrize(("core", "level"), [("m0", "-O2"), ("m0plus", "-Os")])
def test_no_runtime_source_has_later_instructions(core: str, level: str, tmp_path: Path) -> None:
    objects = compile_sources(core, level, tmp_path)
    assert len(objects) > 20
    for name, path in objects.items():
        assert later_instructions(path) == set(), name
        if name.endswith(OTHER_CORES):
            assert instructions(path) == [], name
        elif name.endswith("_v6m.S"):
            assert instructions(path), name


@needs_compiler
@pytest.mark.parametrize("board_id", ["mps2-an385-v6m", "microbit"])
def test_no_image_has_later_instructions(board_id: str) -> None:
    elf = stub_firmware(board_id).elf
    assert len(instructions(elf)) > 500
    assert later_instructions(elf) == set()


@needs_compiler
def test_later_instructions_are_seen(tmp_path: Path) -> None:
    """Code for the Cortex-M3 has them, narrow ones too."""
    (path,) = compile_sources("m3", "-O2", tmp_path, "picobnn_rows_v7m.S").values()
    assert {"ldmia.w", "cbz", "ite"} <= later_instructions(path)
