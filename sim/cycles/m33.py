# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the Cortex-M33: in order, one instruction a cycle, results that arrive a cycle late, and a second slot
that takes a branch, an IT or a NOP.

Sources: Arm publishes no table. The rules are the measurements on the RP2350 published with the "pipeline cycle test"
of jnk0le/random (``doc/cortex_m33.md``); the divider's 6 cycles are an estimate. Compared with silicon:
docs/cycle-models.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from picobnn.sim.cycles.instruction import Instruction, Kind

_MULTIPLIES = (Kind.MULTIPLY, Kind.MULTIPLY_ADD, Kind.MULTIPLY_LONG, Kind.MULTIPLY_ADD_LONG)
_STORES = (Kind.STORE, Kind.STORE_DOUBLE, Kind.STORE_MULTIPLE)
_CYCLES = {
    Kind.LOAD_DOUBLE: 2,
    Kind.STORE_DOUBLE: 2,
    Kind.DIVIDE: 6,
    Kind.CALL: 2,
    Kind.BRANCH_REGISTER: 2,
    Kind.TABLE_BRANCH: 5,
    Kind.FLOAT_LONG: 14,
}


@dataclass(frozen=True, slots=True)
class M33Model:
    """A scoreboard: an instruction starts when its operands are there, and blocks the core for its own cycles."""

    name: str = "Cortex-M33"
    core: str = "cortex-m33"
    error_band_percent: int | None = 10

    def block_cycles(self, block: Sequence[Instruction]) -> int:
        now = 0
        ready: dict[str, int] = {}
        for instruction, paired in zip(block, _paired(block), strict=True):
            start = max((ready.get(register, 0) for register in _needed_early(instruction)), default=0)
            now = max(now, start) + (0 if paired else _issue_cycles(instruction))
            for register in instruction.writes:
                ready[register] = now + _extra_latency(instruction, register)
        return now

    def taken_cycles(self, block: Sequence[Instruction], target: Instruction | None) -> int:  # noqa: ARG002
        """A branch in the second slot costs 1 cycle when taken, 2 behind an instruction that sets the flags; one in the
        first slot costs 2, of which the block holds the first."""
        if block[-1].kind is not Kind.BRANCH:
            return 0
        return 2 if _paired(block)[-1] and block[-2].sets_flags else 1


def _paired(block: Sequence[Instruction]) -> list[bool]:
    """Which instructions go into the second slot of the one before."""
    result: list[bool] = []
    before: Instruction | None = None
    for instruction in block:
        paired = before is not None and not result[-1] and _pairs(before, instruction)
        result.append(paired)
        before = instruction
    return result


def _pairs(first: Instruction, second: Instruction) -> bool:
    if second.kind is Kind.IF_THEN:
        return True
    narrow = first.size == 2 and second.size == 2
    return narrow and (second.kind is Kind.NOP or (second.kind is Kind.BRANCH and second.conditional))


def _issue_cycles(instruction: Instruction) -> int:
    if instruction.kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE):
        return instruction.transfers + (1 if instruction.writes_pc else 0)
    if instruction.kind is Kind.FLOAT_TRANSFER_MULTIPLE:
        return 1 + instruction.transfers
    return _CYCLES.get(instruction.kind, 1)


def _needed_early(instruction: Instruction) -> frozenset[str]:
    """The operands of the first stage: neither the accumulator of a multiply-add nor the data of a store."""
    if instruction.kind in _STORES:
        return instruction.address_registers
    return instruction.reads - instruction.accumulators


def _extra_latency(instruction: Instruction, register: str) -> int:
    """Cycles between the end of an instruction and the moment its result can be used."""
    if instruction.writeback and register in instruction.address_registers:
        return 0
    late = (
        instruction.kind in (Kind.LOAD, Kind.LOAD_DOUBLE)
        or instruction.kind in _MULTIPLIES
        or (instruction.kind is Kind.ALU and (instruction.shifted_constant or instruction.shifted_register is not None))
    )
    return 1 if late else 0


CORTEX_M33 = M33Model()
