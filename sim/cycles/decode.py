# SPDX-License-Identifier: Apache-2.0
"""Bytes of Thumb code to :class:`Instruction` records, through capstone.

Invariant: every byte of a block belongs to exactly one record; what capstone does not know becomes a record of kind
UNKNOWN and of the right length, so that instruction counts stay exact. Instructions are decoded one by one, so those in
an IT block look unconditional. Called by :mod:`picobnn.sim.cycles.code` for cores without vectors.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import capstone
from capstone import arm

from picobnn.sim.cycles.instruction import Instruction, Kind

CONDITIONS = ("eq", "ne", "cs", "hs", "cc", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")

# The first entry whose prefix fits wins: longer names stand before their own prefixes.
_KINDS_BY_PREFIX: tuple[tuple[str, Kind], ...] = (
    ("ldrd", Kind.LOAD_DOUBLE),
    ("strd", Kind.STORE_DOUBLE),
    ("ldr", Kind.LOAD),
    ("str", Kind.STORE),
    ("ldm", Kind.LOAD_MULTIPLE),
    ("pop", Kind.LOAD_MULTIPLE),
    ("stm", Kind.STORE_MULTIPLE),
    ("push", Kind.STORE_MULTIPLE),
    ("udiv", Kind.DIVIDE),
    ("sdiv", Kind.DIVIDE),
    ("umull", Kind.MULTIPLY_LONG),
    ("smull", Kind.MULTIPLY_LONG),
    ("umlal", Kind.MULTIPLY_ADD_LONG),
    ("smlal", Kind.MULTIPLY_ADD_LONG),
    ("umaal", Kind.MULTIPLY_ADD_LONG),
    ("mla", Kind.MULTIPLY_ADD),
    ("mls", Kind.MULTIPLY_ADD),
    ("smla", Kind.MULTIPLY_ADD),
    ("smls", Kind.MULTIPLY_ADD),
    ("smmla", Kind.MULTIPLY_ADD),
    ("smmls", Kind.MULTIPLY_ADD),
    ("usada8", Kind.MULTIPLY_ADD),
    ("mul", Kind.MULTIPLY),
    ("smul", Kind.MULTIPLY),
    ("smuad", Kind.MULTIPLY),
    ("smusd", Kind.MULTIPLY),
    ("smmul", Kind.MULTIPLY),
    ("usad8", Kind.MULTIPLY),
    ("vdiv", Kind.FLOAT_LONG),
    ("vsqrt", Kind.FLOAT_LONG),
    ("vmla", Kind.FLOAT_MULTIPLY_ADD),
    ("vmls", Kind.FLOAT_MULTIPLY_ADD),
    ("vnml", Kind.FLOAT_MULTIPLY_ADD),
    ("vfm", Kind.FLOAT_MULTIPLY_ADD),
    ("vfnm", Kind.FLOAT_MULTIPLY_ADD),
    ("vldr", Kind.FLOAT_TRANSFER),
    ("vstr", Kind.FLOAT_TRANSFER),
    ("vldm", Kind.FLOAT_TRANSFER_MULTIPLE),
    ("vstm", Kind.FLOAT_TRANSFER_MULTIPLE),
    ("vpush", Kind.FLOAT_TRANSFER_MULTIPLE),
    ("vpop", Kind.FLOAT_TRANSFER_MULTIPLE),
    ("v", Kind.FLOAT),
)

_KINDS_BY_NAME: dict[str, Kind] = {
    **dict.fromkeys(("b", "cbz", "cbnz", *(f"b{condition}" for condition in CONDITIONS)), Kind.BRANCH),
    "bl": Kind.CALL,
    **dict.fromkeys(("bx", "blx", "bxns", "blxns"), Kind.BRANCH_REGISTER),
    **dict.fromkeys(("tbb", "tbh"), Kind.TABLE_BRANCH),
    "nop": Kind.NOP,
    **dict.fromkeys(("mrs", "msr", "dsb", "dmb", "isb", "cpsie", "cpsid", "svc", "bkpt", "wfi"), Kind.SYSTEM),
    **dict.fromkeys(("uadd8", "uadd16", "usub8", "usub16", "sadd8", "sadd16", "ssub8", "ssub16"), Kind.DSP),
    **dict.fromkeys(("uhadd8", "shadd8", "uqadd8", "qadd8", "qadd", "qsub", "sel", "ssat", "usat"), Kind.DSP),
    **dict.fromkeys(("uxtb", "uxth", "sxtb", "sxth", "uxtb16", "sxtb16", "uxtab", "uxtah", "sxtab"), Kind.DSP),
    **dict.fromkeys(("sxtah", "uxtab16", "sxtab16", "ubfx", "sbfx", "bfi", "bfc", "pkhbt", "pkhtb"), Kind.DSP),
    **dict.fromkeys(("clz", "rev", "rev16", "revsh", "rbit"), Kind.DSP),
}

# The barrel shifter as an operand: shifts and moves are the shift themselves.
_SHIFTS_AND_MOVES = ("lsl", "lsr", "asr", "ror", "mov")
_PLAIN_IMMEDIATES = (*_SHIFTS_AND_MOVES, "addw", "subw", "ubfx", "sbfx", "bfi", "bfc")
_EXTENDED_READS = frozenset({"pkhbt", "pkhtb", "uxtab", "uxtah", "sxtab", "sxtah", "uxtab16", "sxtab16"})


def _disassembler() -> capstone.Cs:
    engine = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8)
    engine.detail = True
    return engine


_ENGINE = _disassembler()


def instruction_size(halfword: int) -> int:
    """Length in bytes of the instruction that starts with this halfword (2 or 4; Armv7-M ARM, A5.1)."""
    return 4 if halfword >> 11 in (0x1D, 0x1E, 0x1F) else 2


def decode_block(code: bytes, address: int) -> tuple[Instruction, ...]:
    """The instructions of straight-line code; ``code`` is exactly the block, ``address`` that of its first byte."""
    result: list[Instruction] = []
    at = 0
    while at < len(code):
        size = instruction_size(int.from_bytes(code[at : at + 2], "little"))
        result.append(_decode(bytes(code[at : at + size]), address + at))
        at += size
    return tuple(result)


@cache
def _decode(code: bytes, address: int) -> Instruction:
    found = next(_ENGINE.disasm(code, address, 1), None)
    if found is None or found.size != len(code):
        return Instruction(address, len(code), "?", f"? {code.hex()}", Kind.UNKNOWN)
    name = found.mnemonic.removesuffix(".w").removesuffix(".n")
    operands = list(found.operands)
    memory = [operand.mem for operand in operands if operand.type == arm.ARM_OP_MEM]
    reads, writes = _registers(found, name, operands)
    kind = _kind(name, writes)
    accumulators = _accumulators(found, kind, operands)
    reads |= accumulators
    return Instruction(
        address=address,
        size=found.size,
        mnemonic=name,
        text=f"{found.mnemonic} {found.op_str}".strip(),
        kind=kind,
        reads=reads,
        writes=writes,
        address_registers=frozenset(
            found.reg_name(register) for part in memory for register in (part.base, part.index) if register
        ),
        accumulators=accumulators,
        shifted_register=_shifted_register(found, kind, name, operands),
        shifted_constant=kind is Kind.ALU and len(code) == 4 and _has_shifted_constant(name, operands),
        register_offset=any(part.index for part in memory),
        writeback=bool(found.writeback),
        transfers=_transfers(kind, name, operands),
        conditional=kind is Kind.BRANCH and name != "b",
        sets_flags=bool(found.update_flags) or name in ("cmp", "cmn", "tst", "teq"),
        target=operands[-1].imm & 0xFFFFFFFE if kind in (Kind.BRANCH, Kind.CALL) else None,
    )


def kind_of_name(name: str) -> Kind:
    """The class that a mnemonic alone tells, without its width suffix; ALU where it tells nothing else."""
    kind = _KINDS_BY_NAME.get(name)
    if kind is None and name.startswith("it"):
        kind = Kind.IF_THEN
    if kind is None:
        kind = next((found for prefix, found in _KINDS_BY_PREFIX if name.startswith(prefix)), Kind.ALU)
    return kind


def _kind(name: str, writes: frozenset[str]) -> Kind:
    kind = kind_of_name(name)
    return Kind.BRANCH_REGISTER if kind is Kind.ALU and "pc" in writes else kind


def _registers(found: Any, name: str, operands: list[Any]) -> tuple[frozenset[str], frozenset[str]]:
    read_ids, write_ids = found.regs_access()
    reads = frozenset(found.reg_name(register) for register in read_ids)
    writes = frozenset(found.reg_name(register) for register in write_ids)
    if name in _EXTENDED_READS:  # capstone 5 forgets the last source of these
        reads |= {found.reg_name(operands[-1].reg)}
    return reads, writes


def _accumulators(found: Any, kind: Kind, operands: list[Any]) -> frozenset[str]:
    if kind is Kind.MULTIPLY_ADD:
        return frozenset({found.reg_name(operands[-1].reg)})
    if kind is Kind.MULTIPLY_ADD_LONG:  # capstone 5 lists these as written only
        return frozenset(found.reg_name(operand.reg) for operand in operands[:2])
    return frozenset()


def _shifted_register(found: Any, kind: Kind, name: str, operands: list[Any]) -> str | None:
    if kind is not Kind.ALU or name.startswith(_SHIFTS_AND_MOVES):
        return None
    for operand in operands:
        if operand.type == arm.ARM_OP_REG and operand.shift.type and operand.shift.value:
            return str(found.reg_name(operand.reg))
    return None


def _has_shifted_constant(name: str, operands: list[Any]) -> bool:
    if name.startswith(_PLAIN_IMMEDIATES):
        return False
    return any(operand.type == arm.ARM_OP_IMM and _is_shifted(name, operand.imm & 0xFFFFFFFF) for operand in operands)


def _is_shifted(name: str, value: int) -> bool:
    """Whether a 32-bit modified immediate needs the shifter (Armv7-M ARM, A5.3.2): not a byte, not one of the
    patterns 00XY00XY, XY00XY00 and XYXYXYXY, not the 12-bit form of ADD and SUB."""
    low, high = value & 0xFF, value >> 8 & 0xFF
    patterns = (low, low * 0x00010001, high * 0x01000100, low * 0x01010101)
    return value not in patterns and not (name.startswith(("add", "sub")) and value < 4096)


def _transfers(kind: Kind, name: str, operands: list[Any]) -> int:
    """Registers of the list; LDM and STM name their base register as the first operand, PUSH and POP do not."""
    if kind not in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE, Kind.FLOAT_TRANSFER_MULTIPLE):
        return 0
    return len(operands) - (0 if name in ("push", "pop", "vpush", "vpop") else 1)
