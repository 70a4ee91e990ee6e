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

from picobnn.codegen.plan import Layout
from picobnn.codegen.search_bounds import Bound, find_bounds
from picobnn.codegen.ways import NO_CODE, Code, Measure, Stage, Totals, Way, is_within, joins

_LIKELY = 100  # labels that go on from a stage where a good way is looked for first


@dataclass(frozen=True, slots=True)
class _Label:
    """A way to the front of the chain; ``before`` is None at the image."""

    totals: Totals
    choice: int
    before: _Label | None


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
    bounds = find_bounds(stages, start, objective[0], limits, sizes)
    if bounds:
        likely = _best_end(stages, start, objective, limits, sizes, bounds, keep_all=keep_all, most_labels=_LIKELY)
        if likely is not None:
            for bound in bounds:
                bound.know(likely.totals)
    best = _best_end(stages, start, objective, limits, sizes, bounds, keep_all=keep_all)
    return None if best is None else Way(_choices(best), best.totals)


def _best_end(
    stages: Sequence[Stage],
    start: Layout,
    objective: Sequence[Measure],
    limits: Mapping[Measure, int],
    sizes: Mapping[str, int],
    bounds: Sequence[Bound],
    *,
    keep_all: bool,
    most_labels: int | None = None,
) -> _Label | None:
    """The best label behind the last stage. With ``most_labels``, those that the first bound leaves most room go on
    from a stage, and what comes out is a way, not always the best."""
    # A label stands for the ways to a layout with the same code: what comes next costs them the same.
    # Code that no later step may need is the same to all of them, whether it is there or not.
    front: dict[tuple[Layout, Code], list[_Label]] = {(start, NO_CODE): [_Label((0, 0, 0), 0, None)]}
    later = [NO_CODE] * (len(stages) + 1)
    for number, stage in reversed([*enumerate(stages)]):
        later[number] = later[number + 1].union(stage.transpose_code, *(option.code for option in stage.options))
    for number, stage in enumerate(stages, 1):
        reached: dict[tuple[Layout, Code], list[_Label]] = {}
        for (layout, code), labels in front.items():
            for choice, option in enumerate(stage.options):
                if not joins(layout, option.reads):
                    continue
                cost, needed = _cost_of(stage, layout, choice, code, sizes)
                needed &= later[number]
                rooms = [(bound.weights, bound.room(number, option.writes, needed)) for bound in bounds]
                extended = reached.setdefault((option.writes, needed), [])
                for label in labels:
                    cycles, flash = label.totals[0] + cost[0], label.totals[1] + cost[1]
                    totals = cycles, flash, max(label.totals[2], cost[2])
                    if all(weights[0] * cycles + weights[1] * flash <= room for weights, room in rooms) and is_within(
                        totals, limits
                    ):
                        extended.append(_Label(totals, choice, label))
        front = _undominated(reached, objective, sizes, keep_all=keep_all)
        if most_labels is not None:
            front = _roomiest(front, bounds[0], number, most_labels)
    ends = [label for labels in front.values() for label in labels]
    return min(ends, key=lambda label: _rank(label.totals, objective), default=None)


def _roomiest(
    front: Mapping[tuple[Layout, Code], Sequence[_Label]], bound: Bound, stage: int, count: int
) -> dict[tuple[Layout, Code], list[_Label]]:
    """The ``count`` labels that the bound leaves most room."""
    ranked: list[tuple[int, tuple[Layout, Code], _Label]] = []
    for state, labels in front.items():
        room, (cycle, byte) = bound.room(stage, *state), bound.weights
        ranked += [(cycle * label.totals[0] + byte * label.totals[1] - room, state, label) for label in labels]
    ranked.sort(key=lambda each: each[0])
    kept: dict[tuple[Layout, Code], list[_Label]] = {}
    for _, state, label in ranked[:count]:
        kept.setdefault(state, []).append(label)
    return kept


def _choices(label: _Label) -> tuple[int, ...]:
    """The options on the way to the label, first stage first."""
    choices: list[int] = []
    while label.before is not None:
        choices.append(label.choice)
        label = label.before
    return tuple(reversed(choices))


def _cost_of(stage: Stage, layout: Layout, choice: int, code: Code, sizes: Mapping[str, int]) -> tuple[Totals, Code]:
    """What an option costs behind a way with ``code`` to ``layout`` (arena: what is alive), and the code of both."""
    option = stage.options[choice]
    cycles, flash, alive = option.cycles, option.flash_bytes, stage.input_bytes[layout] + option.ram_bytes
    needed = code | option.code
    if option.reads is not layout:
        cycles += stage.transpose_cycles[option.reads]
        flash += stage.transpose_flash_bytes
        alive += stage.input_bytes[option.reads]
        needed |= stage.transpose_code
    return (cycles, flash + sum(sizes.get(unit, 0) for unit in needed - code), alive), needed


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


def _undominated(
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
    stairs: dict[Layout, dict[int, tuple[_Stairs, _Label]]] = {}
    bits = {unit: 1 << number for number, unit in enumerate(sizes)}
    masks = {code: sum(bits[unit] for unit in code if unit in bits) for _, code in reached}
    weights = {0: 0}

    def is_beaten(layout: Layout, mask: int, label: _Label) -> bool:
        cycles, flash, ram = label.totals
        for other, (steps, first) in stairs.get(layout, {}).items():
            if keep_all and steps.flash[0] > flash:
                continue
            missing = mask & ~other
            lacking = weights.get(missing)
            if lacking is None:
                lacking = weights[missing] = sum(sizes[unit] for unit, bit in bits.items() if missing & bit)
            if keep_all:
                if steps.covers(flash - lacking, ram):  # those before this label take no more cycles
                    return True
            elif _rank(first.totals, order) <= _rank((cycles, flash - lacking, ram), order):
                return True
        return False

    for (layout, code), label in labels:
        mask = masks[code]
        if not is_beaten(layout, mask, label):
            kept.setdefault((layout, code), []).append(label)
            stairs.setdefault(layout, {}).setdefault(mask, (_Stairs(), label))[0].add(*label.totals[1:])
    return kept
