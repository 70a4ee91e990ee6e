# SPDX-License-Identifier: Apache-2.0
"""Slow rows of positions (lines) for ``rows``, and maps that have many of them.

A line sees the sums of its map rows column by column: its lists. A search over one line's lists finds what costs most
in all windows at once, remainders modulo 8 included. Rows of the map are then dealt so that every line has those lists:
the last row of each is what the others leave of the sum, so that with stride 1 the map repeats every window height.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from picobnn.codegen.strategies._common import IndexArray
from picobnn.codegen.strategies._rows_counts import Line, Plan
from tests.support.rows_cycles import Cycles, FloatArray, padded_rows

DRAWN = 3000
"""Lists with a period, of which the best are annealed."""

CHAINS = 64
TURNS = 300
CHANGES = (-16, -8, -8, -4, -2, -1, 1, 2, 4, 8, 8, 16)
HEAT = 1e-3
"""Of the cycles of a line: what a change may lose at the beginning."""

ORDERS = 5

Kind = tuple[int, int]
"""Of a line: rows of the map and of padding under its windows."""


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Rows listed per column of the map, (W,), by kind of line and by whether clear bits select; ``shared``: those that
    lines of all kinds can have, padding above and below included."""

    by_kind: dict[tuple[Kind, bool], IndexArray]
    shared: dict[bool, IndexArray]


def kind_of(line: Line) -> Kind:
    return line.inside, line.above + line.below


def slow_lists(plan: Plan, cycles: Cycles, rng: np.random.Generator) -> Lists:
    lines = {kind_of(line): line for line in plan.lines if line.inside}
    found = Lists({}, {})
    for clear in (False, True):
        for kind, line in lines.items():
            lists = slowest(plan, line, cycles, clear, (line.inside, line.inside * plan.channels), rng)
            if lists is not None:
                found.by_kind[kind, clear] = lists
        if len(lines) < 2:
            continue
        padded = [padded_rows(plan, line, clear=clear) for line in lines.values()]
        least = max(rows + line.inside for rows, line in zip(padded, lines.values(), strict=True))
        most = min(rows + line.inside * plan.channels for rows, line in zip(padded, lines.values(), strict=True))
        lists = slowest(plan, lines[max(lines)], cycles, clear, (least, most), rng) if least <= most else None
        if lists is not None:
            found.shared[clear] = lists
    return found


def slowest(
    plan: Plan, line: Line, cycles: Cycles, clear: bool, limits: tuple[int, int], rng: np.random.Generator
) -> IndexArray | None:
    """The lists of a line that cost most of those found, each within ``limits``: uint (W,), of set or of clear bits
    where these can select in lists within them; None where they cannot."""
    windows = plan.seen.columns
    on_map = plan.on_map == 1
    outside = np.zeros(plan.columns.size, np.int64)
    outside[on_map] = padded_rows(plan, line, clear=clear)
    if clear and not plan.pad_is_zero:
        outside[~on_map] = plan.segment_rows
    inside = plan.channels * line.inside * int(windows.sum())
    room = inside - line.taps // 2 - 1 if clear else line.taps // 2
    if room < limits[0] * int(windows.sum()):
        return None

    def cost(lists: IndexArray) -> FloatArray:
        lengths = np.broadcast_to(outside, (len(lists), outside.size)).copy()
        lengths[:, on_map] += lists[:, cycles.under]
        found = cycles.of_lists(lengths) + cycles.parts["bit"] * lists[:, cycles.under].sum(axis=1)
        costs: FloatArray = np.where(lists @ windows <= room, found, -np.inf)
        return costs

    drawn = with_period(plan, room, limits, rng)
    costs = cost(drawn)
    order = np.resize(np.argsort(-costs)[: CHAINS // 2], CHAINS)
    current, most = drawn[order], costs[order]
    best, slowest_yet = current[0], float(most[0])
    moves, kinds = list_moves(windows.size, plan.window_width)
    for turn in range(TURNS):
        first, size = kinds[rng.integers(len(kinds), size=CHAINS)].T
        signs = moves[first + (rng.random(CHAINS) * size).astype(np.int64)]
        changed = np.clip(current + rng.choice(CHANGES, size=(CHAINS, 1)) * signs, *limits)
        found = cost(changed)
        heat = HEAT * slowest_yet * (1 - turn / TURNS)
        taken = found >= most - heat * rng.exponential(size=CHAINS)
        current, most = np.where(taken[:, None], changed, current), np.where(taken, found, most)
        if most.max() > slowest_yet:
            best, slowest_yet = current[most.argmax()], float(most.max())
    return best


def with_period(plan: Plan, room: int, limits: tuple[int, int], rng: np.random.Generator) -> IndexArray:
    """Lists (``DRAWN``, W) that repeat every window width or few strides, half of them longer in columns that few
    windows hold, and all as long as ``room`` allows."""
    windows, shape = plan.seen.columns, (DRAWN, plan.seen.columns.size)
    stride = int(np.diff(plan.lefts).min()) if plan.lefts.size > 1 else 1
    periods = rng.choice([plan.window_width, stride, 2 * stride, 3 * stride, shape[1]], size=(DRAWN, 1))
    phases = (np.arange(shape[1]) + rng.integers(shape[1], size=(DRAWN, 1))) % periods
    weights = rng.random(shape) ** rng.choice([0.3, 1.0, 3.0, 10.0], size=(DRAWN, 1))
    weights = np.take_along_axis(weights, np.minimum(phases, shape[1] - 1), axis=1)
    seldom = (int(windows.max()) / np.maximum(windows, 1)) ** 2
    weights *= np.where(rng.random((DRAWN, 1)) < 0.5, seldom, 1.0)
    scale = room / np.maximum(weights @ windows, 1e-9)
    for _ in range(6):
        lists = np.clip(weights * scale[:, None], *limits).astype(np.int64)
        scale *= np.clip(room / np.maximum(lists @ windows, 1), 0.5, 2.0)
    for x in rng.permutation(np.flatnonzero(windows)):
        lists[:, x] = np.clip(lists[:, x] + (room - lists @ windows) // windows[x], *limits)
    return lists


def list_moves(columns: int, width: int) -> tuple[IndexArray, IndexArray]:
    """What changes add to and take from, (moves, W): a column, one more than another, all columns a window width apart
    or those to the right of one, such more than others. And per kind the first of its moves and their number."""
    at = np.arange(columns)
    one, alike = np.eye(columns, dtype=np.int64), ((at - at[:, None]) % width == 0).astype(np.int64)
    right, apart = alike * (at >= at[:, None]), alike[: min(width, columns)]
    between = [(each[:, None] - each).reshape(-1, columns) for each in (one, apart)]
    moves = (one, between[0], apart, right, between[1])
    sizes = np.array([len(each) for each in moves])
    return np.concatenate(moves), np.stack([np.cumsum(sizes) - sizes, sizes], axis=1)


def dealt(plan: Plan, height: int, lists: Lists, clear: bool, rng: np.random.Generator) -> IndexArray:
    """Bits per pixel (H, W), set ones or ``clear`` ones: line by line from one end or from the middle, rows that no
    line had yet share what is left of its lists. At the ends the other kind of bits may select."""
    channels, width = plan.channels, plan.seen.columns.size
    rows = np.full((height, width), -1)
    share = rng.dirichlet(np.full(plan.segment_rows // channels, rng.choice([0.2, 1.0, 20.0])))
    order = rng.random(height)
    is_shared = clear in lists.shared and bool(rng.integers(2))
    turned = {kind_of(line): bool(rng.integers(2)) for line in plan.lines}
    turned[max(turned)] = False
    for line in lines_in_order(plan, int(rng.integers(ORDERS))):
        under = range(max(line.top, 0), max(line.top, 0) + line.inside)
        new = [y for y in under if rows[y, 0] < 0]
        kind, selects = kind_of(line), clear ^ turned[kind_of(line)]
        if is_shared:
            left = lists.shared[clear] - padded_rows(plan, line, clear=clear)
        elif (kind, selects) in lists.by_kind:
            left = lists.by_kind[kind, selects]
            left = left if selects == clear else line.inside * channels - left
        elif (kind, not selects) in lists.by_kind:
            left = lists.by_kind[kind, not selects]
            left = left if selects != clear else line.inside * channels - left
        else:
            continue
        left = left - sum((rows[y] for y in under if rows[y, 0] >= 0), np.zeros(width, np.int64))
        left = within(left, plan.seen.columns, (len(new), len(new) * channels), rng)
        shares = share[: len(new)] / share[: len(new)].sum()
        for y, part in zip(new, shares, strict=True):
            rows[y] = np.clip(np.floor(part * left), 1, channels)
        for y in sorted(new, key=lambda y: order[y]):
            rows[y] = np.clip(rows[y] + left - sum(rows[other] for other in new), 1, channels)
    return np.maximum(rows, 0)


def within(lists: IndexArray, windows: IndexArray, limits: tuple[int, int], rng: np.random.Generator) -> IndexArray:
    """Lists (W,) kept to their limits; what windows hold less or more by it, others get or give in eights."""
    kept = np.clip(lists, *limits)
    missing = int((lists - kept) @ windows)
    for x in rng.permutation(np.flatnonzero(windows)):
        if abs(missing) < 8 * windows[x]:
            continue
        room = limits[1] - kept[x] if missing > 0 else kept[x] - limits[0]
        eights = min(int(room), abs(missing) // int(windows[x])) // 8 * (8 if missing > 0 else -8)
        kept[x] += eights
        missing -= eights * int(windows[x])
    return kept


def lines_in_order(plan: Plan, order: int) -> list[Line]:
    """From above, from below, first those at the ends, or first those with most rows of the map, from the middle or
    from above."""
    middle = plan.lines[len(plan.lines) // 2].top
    keys: tuple[Callable[[Line], tuple[int, int]], ...] = (
        lambda line: (0, line.top),
        lambda line: (0, -line.top),
        lambda line: (line.inside, line.top),
        lambda line: (-line.inside, abs(line.top - middle)),
        lambda line: (-line.inside, line.top),
    )
    return sorted(plan.lines, key=keys[order])
