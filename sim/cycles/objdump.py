# SPDX-License-Identifier: Apache-2.0
"""The code of an ELF for a core with vectors (MVE), read from the listing of ``arm-none-eabi-objdump``.

capstone stops at the first vector load, so such images are decoded by objdump, all of them and nothing else. Registers
other than the program counter are left out of the records: the model of these cores knows no dependencies. Called by
:mod:`picobnn.sim.cycles.code`.
"""

from __future__ import annotations

import re
from pathlib import Path

from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.cycles.decode import CONDITIONS, kind_of_name
from picobnn.sim.cycles.instruction import Instruction, Kind
from picobnn.toolchain import run_tool

_LINE = re.compile(r"^\s*(?P<address>[0-9a-f]+):\t(?P<code>[0-9a-f]{4}(?: [0-9a-f]{4})?)\s+\t(?P<text>\S.*)$")
_TARGET = re.compile(r"\b(?P<target>[0-9a-f]+) <")
_LIST = re.compile(r"\{(?P<list>[^}]*)\}")
_VECTOR_REGISTER = re.compile(r"\bq[0-7]\b")
_FLOAT_REGISTER = re.compile(r"\b(?:s\d+|d\d+\b(?!\[))")

_LOOPS = {"le": Kind.LOOP_END, "letp": Kind.LOOP_END, "wls": Kind.LOOP_START, "wlstp": Kind.LOOP_START}
_LOOPS |= {"dls": Kind.LOOP_START, "dlstp": Kind.LOOP_START}
_DIRECT = (Kind.BRANCH, Kind.CALL, Kind.LOOP_END, Kind.LOOP_START)


def disassemble(elf: Path) -> dict[int, Instruction]:
    """Every instruction of the executable sections by its address. Data between them (literals) is left out.

    Raises E_TOOL_MISSING, E_TOOL_FAILED, and E_BAD_INPUT where the listing holds no code.
    """
    command = ["arm-none-eabi-objdump", "-d", "-z", "-m", "armv8.1-m.main", str(elf)]
    listing = run_tool(command, where=str(elf)).stdout
    found = [parse_line(line) for line in listing.splitlines()]
    result = {instruction.address: instruction for instruction in found if instruction is not None}
    if not result:
        raise PicobnnError(
            ErrorId.BAD_INPUT, "holds no Thumb code.", where=str(elf), remedy="Give the linked firmware image."
        )
    return result


def parse_line(line: str) -> Instruction | None:
    """One line of ``objdump -d``; None for a line that is no instruction."""
    match = _LINE.match(line)
    if match is None or match["text"].startswith("."):
        return None
    address, size = int(match["address"], 16), len(match["code"]) // 5 * 2 + 2
    text = match["text"].split("@")[0].split(";")[0].strip()
    full_name, _, operands = text.partition("\t")
    name = full_name.removesuffix(".w").removesuffix(".n")
    kind = _kind(name, operands) if "UNDEFINED" not in match["text"] else Kind.UNKNOWN
    target = _TARGET.search(match["text"])
    listed = _LIST.search(operands)
    writes_pc = "pc" in (listed["list"] if listed and kind is Kind.LOAD_MULTIPLE else operands.partition(",")[0])
    if kind is Kind.ALU and writes_pc and not name.startswith(("cmp", "cmn", "tst", "teq")):
        kind = Kind.BRANCH_REGISTER
    writes_pc = (writes_pc and kind in (Kind.LOAD, Kind.LOAD_MULTIPLE)) or kind is Kind.BRANCH_REGISTER
    return Instruction(
        address=address,
        size=size,
        mnemonic=name,
        text=text.replace("\t", " "),
        kind=kind,
        writes=frozenset({"pc"}) if writes_pc else frozenset(),
        transfers=_registers(listed["list"]) if listed is not None else 0,
        conditional=kind is Kind.BRANCH and name != "b",
        target=int(target["target"], 16) if target is not None and kind in _DIRECT else None,
    )


def _kind(name: str, operands: str) -> Kind:
    stem = name.partition(".")[0]
    if stem in _LOOPS:
        return _LOOPS[stem]
    if name.startswith("v") and not name.startswith(("vmrs", "vmsr", "vpush", "vpop", "vldm", "vstm")):
        # Without registers of either kind it works on predicates; d0[1] is a lane.
        is_vector = bool(_VECTOR_REGISTER.search(operands)) or not _FLOAT_REGISTER.search(operands)
        if is_vector:
            return Kind.VECTOR_TRANSFER if name.startswith(("vldr", "vld2", "vld4", "vst")) else Kind.VECTOR
    for condition in CONDITIONS:
        if name in (f"bx{condition}", f"blx{condition}", f"bl{condition}") and name not in ("blt", "ble", "bls"):
            name = name.removesuffix(condition)
    return kind_of_name(name)


def _registers(listed: str) -> int:
    """Registers of a list as objdump writes it: ``r0, r4-r7`` or ``d8-d15``."""
    total = 0
    for part in listed.split(","):
        first, _, last = part.strip().partition("-")
        total += int(last[1:]) - int(first[1:]) + 1 if last else 1
    return total
