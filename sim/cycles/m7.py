# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the Cortex-M7: in order, two instructions a cycle where their units and operands allow.

Sources: Arm publishes no table. Units, latencies and pairing follow the measurements on STM32H7 published with the
"pipeline cycle test" of jnk0le/random (``doc/cortex_m7.md``) and by quinapalus (cm7cycles). Branches are taken as
predicted, so branchy code comes out too fast. Compared with silicon: docs/cycle-models.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from picobnn.sim.cycles.instruction import Instruction, Kind


class _Unit(Enum):
    LOAD = auto()
    STORE = auto()
    MULTIPLY = auto()
    DSP = auto()
    SHIFTER = auto()
    BRANCH = auto()
    PLAIN = auto()


_UNITS = {
    Kind.LOAD: _Unit.LOAD,
    Kind.STORE: _Unit.STORE,
    Kind.MULTIPLY: _Unit.MULTIPLY,
    Kind.MULTIPLY_ADD: _Unit.MULTIPLY,
    Kind.MULTIPLY_LONG: _Unit.MULTIPLY,
    Kind.MULTIPLY_ADD_LONG: _Unit.MULTIPLY,
    Kind.DIVIDE: _Unit.MULTIPLY,
    Kind.DSP: _Unit.DSP,
    Kind.BRANCH: _Unit.BRANCH,
    Kind.CALL: _Unit.BRANCH,
    Kind.BRANCH_REGISTER: _Unit.BRANCH,
}
_SINGLE = frozenset({_Unit.STORE, _Unit.MULTIPLY, _Unit.DSP, _Unit.BRANCH})  # one of it in the core
_MULTIPLE = (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE)
_ALONE = (*_MULTIPLE, Kind.LOAD_DOUBLE, Kind.STORE_DOUBLE, Kind.SYSTEM, Kind.DIVIDE)
_DIVIDE_EXTRA = 8

# Instructions of the DSP unit that leave the shifter free.
_BESIDE_SHIFTER = ("uxtb", "uxth", "sxtb", "sxth", "uadd", "usub", "sadd", "ssub", "sel", "uq", "q", "sh", "uh", "clz")
# Results of these reach the address unit and the shifter without a wait.
_EARLY_ALU = ("add", "sub", "mov")


@dataclass(frozen=True, slots=True)
class _Result:
    cycle: int
    late: bool  # a cycle more before an address or a shifted operand can use it


@dataclass(slots=True)
class _Pipeline:
    """The cycle being filled: how many slots and which units it has given away."""

    cycle: int = 0
    issued: int = 0
    units: set[_Unit] = field(default_factory=set)
    shifter_blocked: bool = False
    results: dict[str, _Result] = field(default_factory=dict)

    def advance(self, cycle: int) -> None:
        self.cycle, self.issued, self.shifter_blocked = cycle, 0, False
        self.units.clear()

    def accepts(self, instruction: Instruction, unit: _Unit) -> bool:
        if self.issued == 2 or (self.issued and instruction.kind in _ALONE):
            return False
        if unit in self.units and unit in _SINGLE:
            return False
        if unit is _Unit.SHIFTER:
            return _Unit.SHIFTER not in self.units and not self.shifter_blocked
        return not (unit is _Unit.DSP and _Unit.SHIFTER in self.units and not _spares_shifter(instruction))

    def issue(self, instruction: Instruction) -> None:
        unit = _unit(instruction)
        needed = self._operands_ready(instruction)
        if self.cycle < needed:
            self.advance(needed)
        while not self.accepts(instruction, unit):
            self.advance(self.cycle + 1)
        self.units.add(unit)
        self.issued += 1
        if unit is _Unit.DSP:
            self.shifter_blocked = not _spares_shifter(instruction)
        if instruction.kind in _MULTIPLE:
            self.cycle += max((instruction.transfers + 1) // 2, 1) - 1
        if instruction.kind is Kind.DIVIDE:
            self.cycle += _DIVIDE_EXTRA
        if instruction.kind in _ALONE and instruction.kind is not Kind.SYSTEM:
            self.issued = 2
        result = _Result(self.cycle + _latency(instruction), not _early_result(instruction))
        self.results.update(dict.fromkeys(instruction.writes, result))

    def _operands_ready(self, instruction: Instruction) -> int:
        needed = 0
        for register in instruction.reads:
            result = self.results.get(register)
            if result is not None:
                early = register in instruction.address_registers or register == instruction.shifted_register
                needed = max(needed, result.cycle + (1 if early and result.late else 0))
        return needed


@dataclass(frozen=True, slots=True)
class M7Model:
    """Fills cycle after cycle. A block starts and ends on a cycle of its own."""

    name: str = "Cortex-M7"
    core: str = "cortex-m7"
    error_band_percent: int | None = 25

    def block_cycles(self, block: Sequence[Instruction]) -> int:
        pipeline = _Pipeline()
        for instruction in block:
            pipeline.issue(instruction)
        return pipeline.cycle + 1 if block else 0

    def taken_cycles(self, block: Sequence[Instruction], target: Instruction | None) -> int:  # noqa: ARG002
        return 0


def _unit(instruction: Instruction) -> _Unit:
    unit = _UNITS.get(instruction.kind)
    if unit is None:
        shifts = instruction.shifted_constant or instruction.shifted_register is not None
        unit = _Unit.SHIFTER if shifts else _Unit.PLAIN
    return unit


def _spares_shifter(instruction: Instruction) -> bool:
    return instruction.mnemonic.startswith(_BESIDE_SHIFTER)


def _latency(instruction: Instruction) -> int:
    narrow_load = instruction.kind is Kind.LOAD and instruction.mnemonic.startswith(("ldrb", "ldrh", "ldrs"))
    multiply = _UNITS.get(instruction.kind) is _Unit.MULTIPLY and instruction.kind is not Kind.DIVIDE
    return 2 if narrow_load or multiply else 1


def _early_result(instruction: Instruction) -> bool:
    return (
        instruction.kind is Kind.ALU
        and instruction.shifted_register is None
        and not instruction.shifted_constant
        and instruction.mnemonic.startswith(_EARLY_ALU)
    )


CORTEX_M7 = M7Model()
