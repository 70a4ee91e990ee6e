# SPDX-License-Identifier: Apache-2.0
"""The best way through a chain of steps: dynamic programming over the layout of the tensor between two steps.

A way is one option per step; where an option reads another layout than the one before it wrote, the map is transposed.
Cycles and table bytes add up along the way, code that several steps share counts once; the arena needs the largest of
what the steps need. Invariant: the way that :func:`best_way` returns is optimal, not merely good: what is dropped
cannot be part of a better one. Pure integers: knows no strategies. Called by ``select.py``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from picobnn.codegen.plan import Layout

TRANSPOSABLE = (Layout.CHANNEL_WORDS, Layout.PIXEL_PLANES)

Totals = tuple[int, int, int]
"""Cycles, bytes of flash, arena bytes: indexed by :class:`Measure`."""

Code = frozenset[str]
"""Units of code, by name: whoever needs one brings it into the image, once."""

NO_CODE: Code = frozenset()


class Measure(IntEnum):
    """What a way is judged by. The values index :data:`Totals`."""

    CYCLES = 0
    FLASH = 1
    RAM = 2


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run a step. ``flash_bytes``: what it alone brings, beside ``code``. ``ram_bytes``: its output and its
    scratch, as they lie in the arena."""

    reads: Layout
    writes: Layout
    cycles: int
    flash_bytes: int
    ram_bytes: int
    code: Code = NO_CODE


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: its options (at least one), and what its input takes in the arena in each layout that it may have.
    ``transpose_cycles``: of its input, by the layout that it is turned into; ``transpose_code``: what that needs, and
    ``transpose_flash_bytes``: what each brings beside it."""

    options: tuple[Option, ...]
    input_bytes: Mapping[Layout, int]
    transpose_cycles: Mapping[Layout, int]
    transpose_code: Code = NO_CODE
    transpose_flash_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """The index of one option per stage, and what they add up to."""

    choices: tuple[int, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class _Label:
    """A way to the front of the chain; ``before`` is None at the image."""

    totals: Totals
    code: Code
    choice: int
    before: _Label | None


def joins(found: Layout, wanted: Layout) -> bool:
    """Whether a tensor stored as ``found`` can be read as ``wanted``, transposed if need be."""
    return found is wanted or (found in TRANSPOSABLE and wanted in TRANSPOSABLE)


def best_way(
    stages: Sequence[Stage],
    start: Layout,
    objective: Sequence[Measure],
    limits: Mapping[Measure, int],
    code_bytes: Mapping[str, int] | None = None,
) -> Way | None:
    """The way with the least totals in the order of ``objective`` (all three measures) among those within ``limits``
    (inclusive); None when there is none. Which of equal ways it is depends on nothing but the arguments.
    ``code_bytes``: of every unit of code; units that are not in there count nothing."""
    sizes = code_bytes or {}
    # Sums in lexicographic order keep one best label per layout; limits, or a maximum before a sum, need trade-offs.
    keep_all = bool(limits) or objective[-1] is not Measure.RAM
    # A label stands for the ways to a layout with the same code: what comes next costs them the same.
    front: dict[tuple[Layout, Code], list[_Label]] = {(start, NO_CODE): [_Label((0, 0, 0), NO_CODE, 0, None)]}
    bounds = _bounds(stages, start, objective[0], limits, sizes)
    for number, stage in enumerate(stages, 1):
        reached: dict[tuple[Layout, Code], list[_Label]] = {}
        for (layout, _), labels in front.items():
            for choice, option in enumerate(stage.options):
                if not joins(layout, option.reads):
                    continue
                for label in labels:
                    extended = _extend(label, stage, layout, choice, sizes)
                    if _is_within(extended.totals, limits) and not any(
                        bound.excludes(extended.totals, number, option.writes) for bound in bounds
                    ):
                        reached.setdefault((option.writes, extended.code), []).append(extended)
        front = _reduced(reached, objective, sizes, keep_all=keep_all)
    ends = [label for labels in front.values() for label in labels]
    if not ends:
        return None
    best = min(ends, key=lambda label: _rank(label.totals, objective))
    return Way(_choices(best), best.totals)


def _choices(label: _Label) -> tuple[int, ...]:
    """The options on the way to the label, first stage first."""
    choices: list[int] = []
    while label.before is not None:
        choices.append(label.choice)
        label = label.before
    return tuple(reversed(choices))


def _extend(label: _Label, stage: Stage, layout: Layout, choice: int, sizes: Mapping[str, int]) -> _Label:
    option = stage.options[choice]
    cycles, flash, ram = label.totals
    code = option.code
    alive = stage.input_bytes[layout] + option.ram_bytes
    cycles += option.cycles
    if option.reads is not layout:
        cycles += stage.transpose_cycles[option.reads]
        flash += stage.transpose_flash_bytes
        alive += stage.input_bytes[option.reads]
        code |= stage.transpose_code
    flash += option.flash_bytes + sum(sizes.get(unit, 0) for unit in code - label.code)
    return _Label((cycles, flash, max(ram, alive)), code | label.code, choice, label)


@dataclass(frozen=True, slots=True)
class _Bound:
    """``weights`` of cycles and flash, the least weighted sum from a stage and layout to the end without any code, and
    what it may be in all: for a way that keeps the limit and is no worse than one that is known."""

    weights: tuple[int, int]
    behind: Sequence[Mapping[Layout, int]]
    most: int

    def excludes(self, totals: Totals, stage: int, layout: Layout) -> bool:
        """Whether a way that has come to ``stage`` with ``totals`` ends above."""
        cycles, flash = self.weights
        return cycles * totals[0] + flash * totals[1] + self.behind[stage].get(layout, 0) > self.most


_SHARPEST = 2  # bounds that every label is held against


def _bounds(
    stages: Sequence[Stage], start: Layout, first: Measure, limits: Mapping[Measure, int], sizes: Mapping[str, int]
) -> list[_Bound]:
    """Bounds for the least cycles under a limit of flash, or the least flash under one of cycles.

    A multiplier of the limit (Lagrange), as a pair of whole weights, turns both into one sum whose best way is found
    without trade-offs. The best of those ways that keep all limits says what a better one may sum to. Without code the
    sums only get smaller, so that nothing is excluded that could be part of the way that is looked for, ties included.
    Empty where no multiplier leads to a way within the limits.
    """
    other = {Measure.CYCLES: Measure.FLASH, Measure.FLASH: Measure.CYCLES}.get(first)
    if other is None or other not in limits:
        return []
    known: int | None = None
    found: list[tuple[tuple[int, int], Sequence[Mapping[Layout, int]]]] = []
    for power in range(-16, 17):
        pair = (1 << max(0, -power), 1 << max(0, power))
        weights = pair if first is Measure.CYCLES else pair[::-1]
        behind, label = _least_behind(stages, start, weights, sizes)
        if label is not None and _is_within(label.totals, limits):
            known = label.totals[first] if known is None else min(known, label.totals[first])
        found.append((weights, behind))
    if known is None:
        return []
    best = known
    bounds = [
        _Bound(weights, behind, weights[first] * best + weights[other] * limits[other]) for weights, behind in found
    ]
    bounds.sort(key=lambda bound: (bound.most - bound.behind[0][start]) / bound.weights[first])
    return bounds[:_SHARPEST]


def _least_behind(
    stages: Sequence[Stage], start: Layout, weights: tuple[int, int], sizes: Mapping[str, int]
) -> tuple[Sequence[Mapping[Layout, int]], _Label | None]:
    """By stage and layout the least weighted sum to the end, without code; and the way from the start that has it."""
    behind: list[dict[Layout, int]] = [dict.fromkeys(Layout, 0)]
    choices: list[dict[Layout, int]] = []
    for stage in reversed(stages):
        least: dict[Layout, int] = {}
        chosen: dict[Layout, int] = {}
        for layout in stage.input_bytes:
            for choice, option in enumerate(stage.options):
                if not joins(layout, option.reads):
                    continue
                value = weights[0] * option.cycles + weights[1] * option.flash_bytes
                if option.reads is not layout:
                    value += weights[0] * stage.transpose_cycles[option.reads]
                    value += weights[1] * stage.transpose_flash_bytes
                value += behind[-1].get(option.writes, 0)
                if layout not in least or value < least[layout]:
                    least[layout], chosen[layout] = value, choice
        behind.append(least)
        choices.append(chosen)
    behind.reverse()
    choices.reverse()
    label, layout = _Label((0, 0, 0), NO_CODE, 0, None), start
    for stage, chosen in zip(stages, choices, strict=True):
        if layout not in chosen:
            return behind, None
        label = _extend(label, stage, layout, chosen[layout], sizes)
        layout = stage.options[chosen[layout]].writes
    return behind, label


def _is_within(totals: Totals, limits: Mapping[Measure, int]) -> bool:
    return all(totals[measure] <= limit for measure, limit in limits.items())


def _rank(totals: Totals, objective: Sequence[Measure]) -> tuple[int, ...]:
    return tuple(totals[measure] for measure in objective)


@dataclass(frozen=True, slots=True)
class _Stairs:
    """Pairs of flash and arena bytes that no other pair is at most: flash ascends, the arena descends."""

    flash: list[int] = field(default_factory=list)
    ram: list[int] = field(default_factory=list)

    def covers(self, flash: int, ram: int) -> bool:
        """Whether one of the pairs is at most this one."""
        place = bisect_right(self.flash, flash)
        return place > 0 and self.ram[place - 1] <= ram

    def add(self, flash: int, ram: int) -> None:
        first = last = bisect_left(self.flash, flash)
        while last < len(self.flash) and self.ram[last] >= ram:
            last += 1
        self.flash[first:last], self.ram[first:last] = [flash], [ram]


def _reduced(
    reached: Mapping[tuple[Layout, Code], Sequence[_Label]],
    objective: Sequence[Measure],
    sizes: Mapping[str, int],
    *,
    keep_all: bool,
) -> dict[tuple[Layout, Code], list[_Label]]:
    """Without the labels that another one is at least as good as: in all measures, or in their order.

    A label of other code counts as if it brought whatever it lacks beside this one: what comes next can cost it that
    much more, and no more.
    """
    order = tuple(Measure) if keep_all else tuple(objective)
    labels = [(state, label) for state, found in reached.items() for label in found]
    labels.sort(key=lambda pair: _rank(pair[1].totals, order))
    kept: dict[tuple[Layout, Code], list[_Label]] = {}
    stairs: dict[Layout, dict[Code, _Stairs]] = {}
    lacking: dict[tuple[Code, Code], int] = {}

    def is_beaten(layout: Layout, code: Code, label: _Label) -> bool:
        cycles, flash, ram = label.totals
        for other, steps in stairs.get(layout, {}).items():
            if (other, code) not in lacking:
                lacking[other, code] = sum(sizes.get(unit, 0) for unit in code - other)
            left = flash - lacking[other, code]
            if keep_all:
                if steps.covers(left, ram):  # those before this label take no more cycles
                    return True
            elif _rank(kept[layout, other][0].totals, order) <= _rank((cycles, left, ram), order):
                return True
        return False

    for (layout, code), label in labels:
        if not is_beaten(layout, code, label):
            kept.setdefault((layout, code), []).append(label)
            stairs.setdefault(layout, {}).setdefault(code, _Stairs()).add(*label.totals[1:])
    return kept
