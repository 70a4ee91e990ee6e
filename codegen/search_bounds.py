# SPDX-License-Identifier: Apache-2.0
"""What no way through the rest of a chain can be below: lets the search drop ways that end above one that is known.

Two relaxations, both by Lagrange multipliers. One multiplier turns flash and cycles into one sum, where the other one
is limited. And code that several steps share is paid in parts: each unit's bytes are dealt out to the steps that may
need it, and a step pays its part whether or not another one needs the unit too. Both only lower the sum of a way, so
that its least over all ways, which is found step by step, is a lower bound. Dealing better raises it (subgradients:
parts move to the steps that the best way pays for). Called by ``search.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from picobnn.codegen.plan import Layout
from picobnn.codegen.ways import NO_CODE, Code, Measure, Stage, Totals, is_within, joins

Weights = tuple[int, int]
"""Of a cycle and of a byte of flash."""

_SHARPEST = 2  # bounds that every way is held against
_TURNS = 3  # of dealing out anew and looking for a better multiplier then
_ROUNDS = 30  # of dealing in a turn
_FACTORS = (4, 8, 11, 13, 19, 23, 32, 64)  # of the multiplier, in sixteenths


class Bound:
    """A multiplier and a dealing, with the weighted sum ``most`` of a way that keeps the limit and is no worse than one
    that is known, whose measure ``first`` is ``value``."""

    def __init__(
        self,
        stages: Sequence[Stage],
        weights: Weights,
        first: Measure,
        value: int,
        most: int,
        parts: Mapping[str, Sequence[int]],
        sizes: Mapping[str, int],
    ) -> None:
        self.weights, self._first, self._value, self._most = weights, first, value, most
        self._stages, self._sizes = stages, sizes
        self._tails = {unit: _tails(row) for unit, row in parts.items()}
        self._parts = parts
        self._behind: dict[tuple[int, Code], Mapping[Layout, int]] = {}

    def know(self, totals: Totals) -> None:
        """Of a way within the limits."""
        better = self._value - totals[self._first]
        if better > 0:
            self._value -= better
            self._most -= self.weights[self._first] * better

    def room(self, stage: int, layout: Layout, code: Code) -> int:
        """The largest weighted sum with which a way may stand before ``stage``: ``code``, which it has, is not paid
        again, and all of every other unit is dealt to the steps that are left."""
        if (stage, code) not in self._behind:
            parts = {
                unit: [0] * stage + [part * self._sizes[unit] // self._tails[unit][stage] for part in row[stage:]]
                for unit, row in self._parts.items()
                if unit not in code and self._tails[unit][stage]
            }
            behind, _ = _least_behind(self._stages, self.weights, parts, stage)
            self._behind[stage, code] = behind[0]
        return self._most - self._behind[stage, code].get(layout, 0)


@dataclass(frozen=True, slots=True)
class _Dealt:
    """One dealing: ``parts`` of each unit by stage, in bytes, the ``least`` sum at the start, and the totals (None
    where no way is complete) and units by stage of the way that has it."""

    weights: Weights
    parts: Mapping[str, Sequence[int]]
    least: int
    totals: Totals | None
    needs: Sequence[Code]


def find_bounds(
    stages: Sequence[Stage], start: Layout, first: Measure, limits: Mapping[Measure, int], sizes: Mapping[str, int]
) -> list[Bound]:
    """Bounds for the least cycles under a limit of flash, or for the least flash. Nothing is excluded that could be
    part of the way that is looked for, ties included. Empty where there is nothing to gain, or no way within the limits
    comes up."""
    other = Measure.FLASH if first is Measure.CYCLES else Measure.CYCLES
    if first is Measure.RAM or (other not in limits and (first is Measure.CYCLES or not sizes)):
        return []
    return _Dealer(stages, start, first, other, limits, sizes).bounds()


class _Dealer:
    """Tries dealings and multipliers, and keeps the best way within the limits that came up."""

    def __init__(
        self,
        stages: Sequence[Stage],
        start: Layout,
        first: Measure,
        other: Measure,
        limits: Mapping[Measure, int],
        sizes: Mapping[str, int],
    ) -> None:
        self._stages, self._start, self._first, self._other = stages, start, first, other
        self._limits, self._sizes = limits, sizes
        self._users = _users(stages, sizes)
        self._known: int | None = None

    def bounds(self) -> list[Bound]:
        even = _evenly(self._users, self._sizes, len(self._stages))
        if self._other in self._limits:
            pairs = [(1 << max(0, -power), 1 << max(0, power)) for power in range(-16, 17)]
        else:
            pairs = [(0, 1)]
        tried = [self._deal(pair, even) for pair in pairs]
        if self._known is None:
            return []
        # Parts dealt evenly say little under a limit: the multiplier to begin with is that of the best way known.
        best = min((each for each in tried if self._is_known(each)), key=self._gap)
        for _ in range(_TURNS):
            tried += self._dealt_better(best)
            if self._other in self._limits:
                cycle, byte = tried[-1].weights
                factors = [_in_lowest_terms(16 * cycle, factor * byte) for factor in _FACTORS]
                tried += [self._deal(pair, tried[-1].parts) for pair in factors]
            best = min(tried, key=self._gap)
        tried.sort(key=self._gap)
        chosen = list({each.weights: each for each in reversed(tried)}.values())[: -_SHARPEST - 1 : -1]
        first, known = self._first, self._known
        return [
            Bound(self._stages, each.weights, first, known, self._most(each), each.parts, self._sizes)
            for each in chosen
        ]

    def _deal(self, weights: Weights, parts: Mapping[str, Sequence[int]]) -> _Dealt:
        found = _deal(self._stages, self._start, weights, parts, self._sizes)
        if found.totals is not None and is_within(found.totals, self._limits):
            value = found.totals[self._first]
            self._known = value if self._known is None else min(self._known, value)
        return found

    def _dealt_better(self, dealt: _Dealt) -> list[_Dealt]:
        """The same multiplier with parts that raise the bound, the best last."""
        found, better, step, stale = dealt, [dealt], 1.0, 0
        for _ in range(_ROUNDS):
            distance = self._most(found) - found.least
            if distance <= 0:
                break
            found = self._deal(found.weights, _moved(found, self._users, self._sizes, step * distance))
            if found.least > better[-1].least:
                better.append(found)
                stale = 0
            else:
                stale += 1
            if stale == 2:
                found, step, stale = better[-1], step / 2, 0
        return better[-1:]

    def _is_known(self, dealt: _Dealt) -> bool:
        totals = dealt.totals
        return totals is not None and is_within(totals, self._limits) and totals[self._first] == self._known

    def _most(self, dealt: _Dealt) -> int:
        """The weighted sum of a way that keeps the limit and is as good as the best known."""
        return dealt.weights[self._first] * (self._known or 0) + dealt.weights[self._other] * self._limits.get(
            self._other, 0
        )

    def _gap(self, dealt: _Dealt) -> float:
        """How far the bound is from the best known way, in the measure that is minimised."""
        return (self._most(dealt) - dealt.least) / dealt.weights[self._first]


def _in_lowest_terms(cycle: int, byte: int) -> Weights:
    divisor = gcd(cycle, byte)
    return cycle // divisor, byte // divisor


def _users(stages: Sequence[Stage], sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """The stages that may need each unit of some size."""
    users: dict[str, list[int]] = {unit: [] for unit in sorted(sizes) if sizes[unit]}
    for number, stage in enumerate(stages):
        for unit in stage.transpose_code.union(*(option.code for option in stage.options)):
            if unit in users:
                users[unit].append(number)
    return {unit: numbers for unit, numbers in users.items() if numbers}


def _evenly(users: Mapping[str, Sequence[int]], sizes: Mapping[str, int], length: int) -> dict[str, list[int]]:
    """Parts of one size for all that may need a unit."""
    parts = {unit: [0] * length for unit in users}
    for unit, numbers in users.items():
        for number in numbers:
            parts[unit][number] = sizes[unit] // len(numbers)
    return parts


def _moved(
    dealt: _Dealt, users: Mapping[str, Sequence[int]], sizes: Mapping[str, int], distance: float
) -> dict[str, list[int]]:
    """The parts with some moved from the steps that do not pay for a unit to those that do, as far as would raise the
    bound by ``distance`` if the best way stayed the same; no unit's parts are more than the whole."""
    paid = {unit: {number for number in users[unit] if unit in dealt.needs[number]} for unit in users}
    norm = sum(len(rows) * (1 - len(rows) / len(users[unit])) for unit, rows in paid.items())
    parts = {unit: [*row] for unit, row in dealt.parts.items()}
    for unit, rows in paid.items():
        numbers = users[unit]
        if not 0 < len(rows) < len(numbers):
            continue
        change, share = distance / norm / dealt.weights[1], len(rows) / len(numbers)
        moved = [max(0.0, parts[unit][number] + change * ((number in rows) - share)) for number in numbers]
        scale = sizes[unit] / max(1.0, sum(moved))
        rounded = [int(value * scale) for value in moved]
        if sum(rounded) <= sizes[unit]:  # always, but for rounding
            for number, value in zip(numbers, rounded, strict=True):
                parts[unit][number] = value
    return parts


def _deal(
    stages: Sequence[Stage],
    start: Layout,
    weights: Weights,
    parts: Mapping[str, Sequence[int]],
    sizes: Mapping[str, int],
) -> _Dealt:
    behind, choices = _least_behind(stages, weights, parts, 0)
    totals, needs = _follow(stages, start, choices, sizes)
    return _Dealt(weights, parts, behind[0].get(start, 0), totals, needs)


def _least_behind(
    stages: Sequence[Stage], weights: Weights, parts: Mapping[str, Sequence[int]], begin: int
) -> tuple[list[Mapping[Layout, int]], list[dict[Layout, int]]]:
    """By stage from ``begin`` on and layout the least weighted sum to the end where each step pays its parts, and the
    option that has it."""
    behind: list[Mapping[Layout, int]] = [dict.fromkeys(Layout, 0)]
    choices: list[dict[Layout, int]] = []
    for number in range(len(stages) - 1, begin - 1, -1):
        stage, after = stages[number], behind[-1]
        part = {unit: row[number] for unit, row in parts.items() if row[number]}
        least: dict[Layout, int] = {}
        chosen: dict[Layout, int] = {}
        for choice, option in enumerate(stage.options):
            flash = option.flash_bytes + sum([part[unit] for unit in option.code if unit in part])
            value = weights[0] * option.cycles + weights[1] * flash + after.get(option.writes, 0)
            for layout in stage.input_bytes:
                total = value
                if option.reads is not layout:
                    if not joins(layout, option.reads):
                        continue
                    flash = stage.transpose_flash_bytes + _sum_of(part, stage.transpose_code - option.code)
                    total += weights[0] * stage.transpose_cycles[option.reads] + weights[1] * flash
                if layout not in least or total < least[layout]:
                    least[layout], chosen[layout] = total, choice
        behind.append(least)
        choices.append(chosen)
    return behind[::-1], choices[::-1]


def _follow(
    stages: Sequence[Stage], start: Layout, choices: Sequence[Mapping[Layout, int]], sizes: Mapping[str, int]
) -> tuple[Totals | None, list[Code]]:
    """What the way of the choices adds up to, None where it ends early, and the code of its steps."""
    cycles = flash = ram = 0
    needs: list[Code] = []
    layout = start
    for stage, chosen in zip(stages, choices, strict=True):
        if layout not in chosen:
            return None, needs
        option = stage.options[chosen[layout]]
        cycles += option.cycles
        flash += option.flash_bytes
        code, alive = option.code, stage.input_bytes[layout] + option.ram_bytes
        if option.reads is not layout:
            cycles += stage.transpose_cycles[option.reads]
            flash += stage.transpose_flash_bytes
            alive += stage.input_bytes[option.reads]
            code |= stage.transpose_code
        ram = max(ram, alive)
        needs.append(code)
        layout = option.writes
    flash += _sum_of(sizes, NO_CODE.union(*needs))
    return (cycles, flash, ram), needs


def _sum_of(sizes: Mapping[str, int], code: Code) -> int:
    return sum(sizes[unit] for unit in code if unit in sizes)


def _tails(row: Iterable[int]) -> list[int]:
    """Sums of a row from each place to its end."""
    tails = [0]
    for value in reversed([*row]):
        tails.append(tails[-1] + value)
    return tails[::-1]
