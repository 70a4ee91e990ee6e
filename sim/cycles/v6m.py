# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the Cortex-M0 and Cortex-M0+: no overlap at all, so a table of fixed costs.

Sources: Cortex-M0 Technical Reference Manual (Arm DDI 0432C), table 3-1; Cortex-M0+ Technical Reference Manual
(Arm DDI 0484C), table 3-1. Compared with silicon: Cortex-M0 only (docs/cycle-models.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from picobnn.sim.cycles.instruction import Instruction, Kind


@dataclass(frozen=True, slots=True)
class V6MModel:
    """Costs in cycles. A multiple transfer of n registers takes ``transfer + n``, POP to the pc ``pop_pc`` + n.

    ``multiply`` is 1: parts with the 32-cycle multiplier exist, and those that picobnn knows by name have the fast one.
    Loads and stores take two cycles; the one-cycle I/O port of the Cortex-M0+ holds no tensor.
    """

    name: str
    core: str
    error_band_percent: int | None
    branch_taken: int
    call: int
    branch_register: int
    pop_pc: int
    system: int
    multiply: int = 1
    memory: int = 2
    transfer: int = 1

    def block_cycles(self, block: Sequence[Instruction]) -> int:
        return sum(self._cycles(instruction) for instruction in block)

    def taken_cycles(self, block: Sequence[Instruction], target: Instruction | None) -> int:  # noqa: ARG002
        return self.branch_taken - 1 if block[-1].kind is Kind.BRANCH else 0

    def _cycles(self, instruction: Instruction) -> int:
        match instruction.kind:
            case Kind.LOAD | Kind.STORE:
                return self.memory
            case Kind.LOAD_MULTIPLE | Kind.STORE_MULTIPLE:
                return instruction.transfers + (self.pop_pc if instruction.writes_pc else self.transfer)
            case Kind.CALL:
                return self.call
            case Kind.BRANCH_REGISTER:
                return self.branch_register
            case Kind.MULTIPLY:
                return self.multiply
            case Kind.SYSTEM:
                return self.system
        return 1


CORTEX_M0 = V6MModel(
    "Cortex-M0",
    "cortex-m0",
    error_band_percent=5,
    branch_taken=3,
    call=4,
    branch_register=3,
    pop_pc=4,
    system=4,
)
CORTEX_M0PLUS = V6MModel(
    "Cortex-M0+",
    "cortex-m0plus",
    error_band_percent=None,
    branch_taken=2,
    call=3,
    branch_register=2,
    pop_pc=3,
    system=3,
)
