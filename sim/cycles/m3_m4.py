# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the Cortex-M3 and Cortex-M4: one instruction at a time, neighbouring loads and stores overlap.

Sources: Cortex-M3 Technical Reference Manual (Arm DDI 0337I) and Cortex-M4 Technical Reference Manual (Arm 100166),
tables of instruction timings and chapters "Load/store timings"; for what those leave open (unaligned wide branch
targets, base update, stores before loads) the measurements on STM32F103 and STM32F407 published with the "pipeline
cycle test" of jnk0le/random. Compared with silicon: docs/cycle-models.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from picobnn.sim.cycles.instruction import Instruction, Kind

_LOADS = (Kind.LOAD, Kind.LOAD_DOUBLE, Kind.LOAD_MULTIPLE)
_ADDRESSED = (Kind.LOAD, Kind.STORE, Kind.LOAD_DOUBLE, Kind.STORE_DOUBLE)
_COMPUTING = (
    Kind.ALU,
    Kind.DSP,
    Kind.MULTIPLY,
    Kind.MULTIPLY_ADD,
    Kind.MULTIPLY_LONG,
    Kind.MULTIPLY_ADD_LONG,
)


@dataclass(frozen=True, slots=True)
class V7MModel:
    """Costs in cycles. ``refill`` is the manuals' P, 1 to 3: 1 when the target is aligned or 16 bits long.

    ``divide`` is the middle of the documented 2 to 12. ``chains_base_update``: a load that updates its base may overlap
    the load before it (unless that one updates the same base).
    """

    name: str
    core: str
    error_band_percent: int | None
    multiply_add: int
    multiply_long: int
    multiply_add_long: int
    chains_base_update: bool
    refill: int = 1
    divide: int = 7
    load_pc: int = 5
    table_branch: int = 6
    system: int = 2

    def block_cycles(self, block: Sequence[Instruction]) -> int:
        total = 0
        before: Instruction | None = None
        for index, instruction in enumerate(block):
            after = block[index + 1] if index + 1 < len(block) else None
            total += self._cycles(instruction, before, after)
            if instruction.kind is not Kind.IF_THEN:
                before = instruction
        return total

    def taken_cycles(self, block: Sequence[Instruction], target: Instruction | None) -> int:
        refill = self.refill if block[-1].kind is Kind.BRANCH else 0
        return refill + (1 if target is not None and target.unaligned_wide else 0)

    def _cycles(self, it: Instruction, before: Instruction | None, after: Instruction | None) -> int:
        # The address must be ready a cycle early; what the instruction before computes is not.
        late = (
            before is not None
            and it.kind in _ADDRESSED
            and before.kind in _COMPUTING
            and not before.writes.isdisjoint(it.address_registers)
        )
        return self._base_cycles(it, before, after) + (1 if late else 0)

    def _base_cycles(self, it: Instruction, before: Instruction | None, after: Instruction | None) -> int:
        match it.kind:
            case Kind.LOAD:
                if it.writes_pc:
                    return self.load_pc
                return 1 if before is not None and self._load_overlaps(it, before) else 2
            case Kind.STORE:
                return self._store_cycles(it, before, after)
            case Kind.LOAD_MULTIPLE | Kind.STORE_MULTIPLE:
                return 1 + it.transfers + (self.refill if it.writes_pc else 0)
            case Kind.LOAD_DOUBLE | Kind.STORE_DOUBLE:
                return 3
            case Kind.CALL | Kind.BRANCH_REGISTER:
                return 1 + self.refill
            case Kind.TABLE_BRANCH:
                return self.table_branch
            case Kind.MULTIPLY_ADD:
                return self.multiply_add
            case Kind.MULTIPLY_LONG:
                return self.multiply_long
            case Kind.MULTIPLY_ADD_LONG:
                return self.multiply_add_long
            case Kind.DIVIDE:
                return self.divide
            case Kind.IF_THEN:
                return 0 if before is not None and before.size == 2 else 1  # folded into a 16-bit instruction
            case Kind.SYSTEM:
                return self.system
            case Kind.FLOAT_LONG:
                return 14
            case Kind.FLOAT_MULTIPLY_ADD:
                return 3
            case Kind.FLOAT_TRANSFER:
                return 2
            case Kind.FLOAT_TRANSFER_MULTIPLE:
                return 1 + it.transfers
        return 1

    def _load_overlaps(self, it: Instruction, before: Instruction) -> bool:
        """Whether the address phase of a load runs under the data phase of the load before."""
        if before.kind is not Kind.LOAD or before.writes_pc:
            return False
        if not _loaded(before).isdisjoint(it.address_registers):
            return False
        if not it.writeback:
            return True
        return self.chains_base_update and not _updates_same_base(it, before)

    def _store_cycles(self, it: Instruction, before: Instruction | None, after: Instruction | None) -> int:
        """One cycle, two with a register offset; one less under the load before, one more in front of a load."""
        cycles = 2 if it.register_offset else 1
        if before is not None and before.kind is Kind.LOAD and self._store_overlaps(it, before):
            cycles -= 1
        if before is not None and before.kind is Kind.STORE and _updates_same_base(it, before):
            cycles += 1
        if after is not None and after.kind in _LOADS and cycles < 2:
            cycles += 1
        return cycles

    def _store_overlaps(self, it: Instruction, before: Instruction) -> bool:
        if not _loaded(before).isdisjoint(it.address_registers):
            return False
        return self.chains_base_update or not it.writeback


def _loaded(load: Instruction) -> frozenset[str]:
    """The registers a load fills from memory, its updated base left out."""
    return load.writes - load.address_registers if load.writeback else load.writes


def _updates_same_base(one: Instruction, other: Instruction) -> bool:
    return one.writeback and other.writeback and not one.address_registers.isdisjoint(other.address_registers)


CORTEX_M3 = V7MModel(
    "Cortex-M3",
    "cortex-m3",
    error_band_percent=5,
    multiply_add=2,
    multiply_long=4,  # 3 to 5, by the operands
    multiply_add_long=5,  # 4 to 7
    chains_base_update=False,
)
CORTEX_M4 = V7MModel(
    "Cortex-M4",
    "cortex-m4",
    error_band_percent=5,
    multiply_add=1,
    multiply_long=1,
    multiply_add_long=1,
    chains_base_update=True,
)
