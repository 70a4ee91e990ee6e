# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the Cortex-M55: a count of instructions, in which vectors take two beats of a cycle each.

Sources: the Armv8.1-M manual's beat-wise execution (DDI 0553, B5.4), on a core whose data path is 64 bits wide: a
vector instruction takes two cycles, and one when a vector transfer and a vector operation follow each other, as then
the second starts under the first's last beat. Loops of WLS/DLS and LE cost one cycle per turn. Nothing was compared
with silicon, and the model knows neither dependencies nor the pairs of 16-bit instructions that the core issues
together; figures are modelled without a band. See docs/cycle-models.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from picobnn.sim.cycles.instruction import Instruction, Kind

_VECTORS = (Kind.VECTOR, Kind.VECTOR_TRANSFER)
_REFILL = 2
_CYCLES = {
    Kind.DIVIDE: 6,
    Kind.FLOAT_LONG: 14,
    Kind.CALL: 1 + _REFILL,
    Kind.BRANCH_REGISTER: 1 + _REFILL,
    Kind.TABLE_BRANCH: 1 + _REFILL,
}


@dataclass(frozen=True, slots=True)
class M55Model:
    """See the module."""

    name: str = "Cortex-M55"
    core: str = "cortex-m55"
    error_band_percent: int | None = None

    def block_cycles(self, block: Sequence[Instruction]) -> int:
        total = 0
        before: Instruction | None = None
        for instruction in block:
            overlaps = before is not None and before.kind in _VECTORS and before.kind is not instruction.kind
            total += (1 if overlaps else 2) if instruction.kind in _VECTORS else _scalar_cycles(instruction)
            before = instruction
        return total

    def taken_cycles(self, block: Sequence[Instruction], target: Instruction | None) -> int:  # noqa: ARG002
        """A taken branch refills the pipeline, and so does a WLS that skips its loop; the end of a loop does not."""
        return _REFILL if block[-1].kind in (Kind.BRANCH, Kind.LOOP_START) else 0


def _scalar_cycles(instruction: Instruction) -> int:
    leaves = _REFILL if instruction.writes_pc else 0
    if instruction.kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE):
        return 1 + (instruction.transfers + 1) // 2 + leaves  # two words a cycle
    if instruction.kind is Kind.FLOAT_TRANSFER_MULTIPLE:
        return 1 + instruction.transfers
    if instruction.kind is Kind.LOAD and instruction.writes_pc:
        return 3 + _REFILL
    return _CYCLES.get(instruction.kind, 1)


CORTEX_M55 = M55Model()
