# SPDX-License-Identifier: Apache-2.0
"""What a cycle model wants to know of one Thumb instruction, and nothing else.

Invariant: a record is complete; every field has a meaning for every kind, so that a model never asks whether a field
is there. Made by :mod:`picobnn.sim.cycles.decode` and, for cores with vectors, by :mod:`picobnn.sim.cycles.objdump`;
read by the core models.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """Timing class of an instruction, as the reference manuals group them."""

    ALU = auto()  # data processing, moves, shifts, extends, bit fields
    DSP = auto()  # packed arithmetic, extends, bit fields, counting zeros: the M7 has one unit for them
    MULTIPLY = auto()  # 32-bit result
    MULTIPLY_ADD = auto()  # 32-bit result with an accumulator
    MULTIPLY_LONG = auto()
    MULTIPLY_ADD_LONG = auto()
    DIVIDE = auto()
    LOAD = auto()
    STORE = auto()
    LOAD_DOUBLE = auto()
    STORE_DOUBLE = auto()
    LOAD_MULTIPLE = auto()  # LDM, POP
    STORE_MULTIPLE = auto()  # STM, PUSH
    BRANCH = auto()  # direct: B, Bcc, CBZ, CBNZ
    CALL = auto()  # BL
    BRANCH_REGISTER = auto()  # BX, BLX, MOV pc, ADD pc
    TABLE_BRANCH = auto()
    IF_THEN = auto()
    NOP = auto()
    SYSTEM = auto()  # MRS, MSR, CPS, barriers
    FLOAT = auto()
    FLOAT_TRANSFER = auto()  # VLDR, VSTR
    FLOAT_TRANSFER_MULTIPLE = auto()
    FLOAT_LONG = auto()  # divide and square root
    FLOAT_MULTIPLY_ADD = auto()
    VECTOR = auto()  # MVE arithmetic, moves, predicates
    VECTOR_TRANSFER = auto()  # VLDRW, VSTRW and their kin
    LOOP_START = auto()  # WLS, which may skip the loop, DLS
    LOOP_END = auto()  # LE, LETP
    UNKNOWN = auto()  # not decoded: costs one cycle everywhere and is counted apart


_LEAVING = (
    Kind.BRANCH,
    Kind.CALL,
    Kind.BRANCH_REGISTER,
    Kind.TABLE_BRANCH,
    Kind.LOOP_START,
    Kind.LOOP_END,
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction at its address. Registers are capstone's names (``r0`` .. ``r8``, ``sb``, ``sl``, ``fp``, ``ip``,
    ``sp``, ``lr``, ``pc``); ``address_registers`` are those of a memory operand, a subset of ``reads``.

    ``accumulators`` are read by the second stage of a multiply-add. ``shifted_register`` is the register that the
    barrel shifter of a data-processing instruction works on (a plain shift instruction has none);
    ``shifted_constant`` says the immediate is an 8-bit value at another place than bits 0 to 7 (no repeated pattern).
    ``transfers`` counts the registers of a multiple transfer, and is 0 elsewhere. ``target`` is the address a direct
    branch or call goes to.
    """

    address: int
    size: int
    mnemonic: str
    text: str
    kind: Kind
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    address_registers: frozenset[str] = frozenset()
    accumulators: frozenset[str] = frozenset()
    shifted_register: str | None = None
    shifted_constant: bool = False
    register_offset: bool = False
    writeback: bool = False
    transfers: int = 0
    conditional: bool = False
    sets_flags: bool = False
    target: int | None = None

    @property
    def end(self) -> int:
        return self.address + self.size

    @property
    def writes_pc(self) -> bool:
        """It goes elsewhere by writing the program counter: POP, LDR, BX, BL; of B, capstone says so of some."""
        return "pc" in self.writes

    @property
    def ends_block(self) -> bool:
        """Control may leave the straight line here."""
        return self.writes_pc or self.kind in _LEAVING

    @property
    def unaligned_wide(self) -> bool:
        """32 bits long and not at a word boundary: fetched in two words."""
        return self.size == 4 and self.address % 4 != 0
