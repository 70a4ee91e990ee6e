# SPDX-License-Identifier: Apache-2.0
"""Inputs that make ``rows`` slow: found by simulated annealing on the exact counts of its parts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program
from picobnn.codegen.strategies._common import IndexArray
from picobnn.codegen.strategies._rows_costs import is_per_pixel
from picobnn.codegen.strategies._rows_counts import Adder, Plan, list_counts, outside_counts, plan_of, window_lists
from picobnn.codegen.vocabulary import BitArray

FloatArray = npt.NDArray[np.float64]

CHAINS = 24
"""Inputs annealed side by side."""

ORDERS = ("even", "edges", "tilted")

CHANGES = (-16, -8, -8, -8, -4, -1, 1, 4, 8, 8, 8, 16)
HEAT = 1e-4
"""Of the cycles: what a change may lose at the beginning; one of 8 bits in a pixel is worth up to ten times that."""


def worst_bits(
    step: BinaryConv2dStep | BinaryDenseStep,
    program: Program,
    adder: Adder,
    parts: Mapping[str, float],
    rng: np.random.Generator,
    tries: int,
) -> BitArray:
    """uint8 (H, W, C): the slowest of what ``tries`` changes each make of some patterns."""
    shape = program.tensors[step.input].shape
    half = spread(np.full((shape.height, shape.width), shape.channels // 2), shape.channels)
    if isinstance(step, BinaryDenseStep):
        order = np.argsort(np.arange(half.size) % shape.channels % 32, kind="stable")
        flat = np.zeros(half.size, np.uint8)
        flat[order[: half.size // 2]] = 1
        return flat.reshape(half.shape)
    if is_per_pixel(step, program):
        return half
    plan = plan_of(step, program)
    starts = []
    down, right = step.window.height, step.window.width
    for number in range(CHAINS // 4):
        found = filled(plan, shape.height, ORDERS[number // 2 % len(ORDERS)], number % 2 == 1, rng)
        starts += [found, with_one_more(by_eights(found, 0), down, right, shape.channels)]
        starts.append(with_one_more(by_eights(found, 0), 1, 1, shape.channels))
        starts.append(with_one_more(by_eights(found, shape.channels % 8), down, right, shape.channels))
    current, is_clear = np.array(starts), np.arange(CHAINS) // 4 % 2
    cycles = Cycles(plan, adder, parts, shape.height, is_clear)
    most = cycles.of(current)
    best, clear, slowest = current[most.argmax()], is_clear[most.argmax()], float(most.max())
    for turn in range(tries):
        changed = np.clip([with_changes(each, step, rng) for each in current], 0, shape.channels)
        found_cycles = cycles.of(changed)
        heat = HEAT * slowest * (1 - turn / tries)
        taken = found_cycles >= most - heat * rng.exponential(size=CHAINS)
        current, most = np.where(taken[:, None, None], changed, current), np.where(taken, found_cycles, most)
        if most.max() > slowest:
            best, clear, slowest = current[most.argmax()], is_clear[most.argmax()], float(most.max())
    return spread(best, shape.channels) ^ np.uint8(clear)


class Cycles:
    """What the parts that depend on the input cost, for inputs of so many bits per pixel as ``spread`` lays them: set
    ones, or clear ones where ``is_clear``."""

    def __init__(self, plan: Plan, adder: Adder, parts: Mapping[str, float], height: int, is_clear: IndexArray) -> None:
        self.plan, self.parts, self.is_clear = plan, parts, is_clear[:, None]
        self.holds = np.zeros((len(plan.lines), height), np.int64)
        for number, line in enumerate(plan.lines):
            self.holds[number, max(line.top, 0) : max(line.top, 0) + line.inside] = 1
        self.under = plan.columns[plan.on_map == 1]
        every = spread(np.arange(plan.channels + 1), plan.channels)
        self.listing = np.array(
            [[self.sum_of(list_counts(bits ^ clear, adder)) for bits in every[:, None]] for clear in (0, 1)]
        )
        self.outside = np.array([self.sum_of(outside_counts(plan, line)) for line in plan.lines])
        self.taps = np.array([line.taps for line in plan.lines])
        most = plan.segment_rows * plan.window_width // 8 + 3
        eights, odd, lists = np.meshgrid(np.arange(most), np.arange(3), (1, 2), indexing="ij")
        self.adding = np.zeros(eights.shape)
        for name, count in adder.counts(eights, odd, lists).items():
            self.adding += parts[name] * count

    def sum_of(self, counts: Mapping[str, float]) -> float:
        return sum(self.parts[name] * count for name, count in counts.items())

    def of(self, counts: IndexArray) -> FloatArray:
        """Per input of ``counts`` (N, H, W)."""
        plan, lines = self.plan, len(self.plan.lines)
        ones = (counts @ plan.seen.columns) @ self.holds.T
        inside = self.holds.sum(axis=1)[:, None]
        full = plan.channels * int(plan.seen.columns.sum()) * inside[:, 0]
        clear = 2 * np.where(self.is_clear, full - ones, ones) > self.taps
        in_columns = self.holds @ counts[:, :, self.under]
        in_columns = np.where(self.is_clear[..., None], inside * plan.channels - in_columns, in_columns)
        lengths = np.zeros((len(counts), lines, plan.columns.size), np.int64)
        padded = np.array([line.above + line.below for line in plan.lines])[:, None] * (not plan.pad_is_zero)
        turned = (inside + padded) * plan.channels - in_columns
        lengths[:, :, plan.on_map == 1] = np.where(clear[:, :, None], turned, in_columns)
        if not plan.pad_is_zero:
            lengths[:, :, plan.on_map == 0] = plan.segment_rows * clear[:, :, None]
        turns, first, second = window_lists(plan, lengths.reshape(-1, plan.columns.size))
        is_split = (second >= 0).astype(np.int64)
        eights, seconds = -(-first // 8), -(-second // 8)
        adding = self.adding[eights + seconds, eights % 2 + seconds % 2, is_split]
        adding = adding.sum(axis=1) + self.parts["wrap"] * turns + self.parts["split"] * is_split.sum(axis=1)
        listed = [(each[counts[:, :, self.under]].sum(axis=2)) @ self.holds.T for each in self.listing]
        found = np.where(clear == self.is_clear, listed[0], listed[1]) + adding.reshape(clear.shape)
        found += clear * self.outside
        total: FloatArray = found.sum(axis=1)
        return total


def with_changes(counts: IndexArray, step: BinaryConv2dStep, rng: np.random.Generator) -> IndexArray:
    """One or two changes: of a pixel, of all that windows below or to the right hold in its place, or of two."""
    changed, (height, width) = counts.copy(), counts.shape
    down = step.window.height if step.window.stride_y == 1 else step.window.stride_y
    right = step.window.width if step.window.stride_x == 1 else step.window.stride_x
    for _ in range(int(rng.integers(1, 3))):
        y, x, kind = int(rng.integers(height)), int(rng.integers(width)), int(rng.integers(6))
        more = int(rng.choice(CHANGES))
        if kind == 0:
            changed[y, x] += more
        elif kind == 1:
            changed[y % down :: down, x] += more
        elif kind == 2:
            changed[y, x::right] += more
        elif kind == 3:
            changed[y % down :: down, x::right] += more
        elif kind == 4:
            changed[y, x] += more
            changed[y, int(rng.integers(width))] -= more
        else:
            changed[y, x] += more
            changed[int(rng.integers(height)), x] -= more
    return changed


def spread(counts: IndexArray, channels: int) -> BitArray:
    """So many set bits per pixel: the lowest bit of every word first."""
    rank = np.argsort(np.argsort(np.arange(channels) % 32, kind="stable"), kind="stable")
    return (rank < counts[..., None]).astype(np.uint8)


def filled(plan: Plan, height: int, order: str, clear: bool, rng: np.random.Generator) -> IndexArray:
    """As many bits (``clear``: clear ones) as the lines allow, row by row in the best order of some; ``order``: alike
    in all columns, first where few windows see them, or more on one side of a column than on the other."""
    windows = plan.seen.columns
    full = plan.channels * int(windows.sum())
    holds = np.zeros((len(plan.lines), height), bool)
    for number, line in enumerate(plan.lines):
        holds[number, max(line.top, 0) : max(line.top, 0) + line.inside] = True
    levels = row_levels(plan, holds, full, clear, rng)
    tilt = np.ones(windows.size)
    if order == "tilted":
        is_low = (np.arange(windows.size) < rng.integers(windows.size)) ^ bool(rng.integers(2))
        low = rng.random()
        tilt = np.where(is_low, low, (windows.sum() - low * windows @ is_low) / max(int(windows @ ~is_low), 1))
    counts = np.zeros((height, windows.size), np.int64)
    for y, level in enumerate(levels.tolist()):
        if order != "edges":
            counts[y] = np.minimum(level / max(int(windows.sum()), 1) * tilt, plan.channels) * (windows > 0)
        for x in np.argsort(windows, kind="stable"):
            if windows[x]:
                counts[y, x] += min(plan.channels - counts[y, x], (level - int(counts[y] @ windows)) // windows[x])
    return counts


def row_levels(plan: Plan, holds: BitArray, full: int, clear: bool, rng: np.random.Generator) -> IndexArray:
    """Bits per row of the map, each as often as windows see it: what selects most, of many orders in which rows are
    filled as far as there is room in lines, some of which may have more and select with the other kind of bits."""
    taps = np.array([line.taps for line in plan.lines])
    inside = full * holds.sum(axis=1)
    room = np.maximum(inside - taps // 2 - 1, 0) if clear else taps // 2
    best = np.full(holds.shape[1], full // 2)
    most = int(np.minimum(holds @ best, taps - holds @ best).sum())
    for turn in range(1000):
        order = rng.permutation(holds.shape[1]) if turn > 1 else np.arange(holds.shape[1])[:: 1 - 2 * turn]
        left, levels = room + (rng.random(room.size) < turn / 4000) * full * holds.shape[1], 0 * best
        for y in order.tolist():
            if holds[:, y].any():
                levels[y] = min(full, int(left[holds[:, y]].min()))
                left[holds[:, y]] -= levels[y]
        ones = inside - holds @ levels if clear else holds @ levels
        if (found := int(np.minimum(ones, taps - ones).sum())) > most:
            best, most = levels, found
    return best


def by_eights(counts: IndexArray, over: int) -> IndexArray:
    """Rounded down to ``over`` and a number of eights, but for what is below."""
    return np.where(counts >= over, (counts - over) // 8 * 8 + over, 0)


def with_one_more(counts: IndexArray, height: int, width: int, channels: int) -> IndexArray:
    """And one bit more in one pixel of each window."""
    found = counts.copy()
    found[::height, ::width] = np.minimum(found[::height, ::width] + 1, channels)
    return found
