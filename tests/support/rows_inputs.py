# SPDX-License-Identifier: Apache-2.0
"""Inputs that make ``rows`` slow: found by hill climbing on the exact counts of its parts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program
from picobnn.codegen.strategies._common import IndexArray
from picobnn.codegen.strategies._rows_costs import is_per_pixel
from picobnn.codegen.strategies._rows_counts import Adder, Plan, counts_of, plan_of
from picobnn.codegen.vocabulary import BitArray

CHANGES = (-8, -3, -2, -1, 1, 2, 3, 8)


def worst_bits(
    step: BinaryConv2dStep | BinaryDenseStep,
    program: Program,
    adder: Adder,
    parts: Mapping[str, float],
    rng: np.random.Generator,
    tries: int,
) -> BitArray:
    """uint8 (H, W, C): of few patterns the slowest, and ``tries`` changes of it that make it slower yet."""
    shape = program.tensors[step.input].shape
    half = spread(np.full((shape.height, shape.width), shape.channels // 2), shape.channels)
    if isinstance(step, BinaryDenseStep):
        order = np.argsort(np.arange(half.size) % shape.channels % 32, kind="stable")
        flat = np.zeros(half.size, np.uint8)
        flat[order[: half.size // 2]] = 1
        return flat.reshape(half.shape)
    if is_per_pixel(step, program):
        return half

    def cycles(counts: IndexArray, clear: bool) -> float:
        bits = spread(counts, shape.channels) ^ np.uint8(clear)
        return sum(parts[name] * count for name, count in counts_of(step, program, bits, adder).items())

    plan = plan_of(step, program)
    starts = [
        (filled(plan, shape.height, order, clear, rng), clear) for order in ("even", "edges") for clear in (False, True)
    ]
    starts += [
        (with_one_more(each, step.window.height, step.window.width, shape.channels), clear) for each, clear in starts
    ]
    best, clear = max(starts, key=lambda start: cycles(*start))
    most = cycles(best, clear)
    period = step.window.height if step.window.stride_y == 1 else step.window.stride_y
    for _ in range(tries):
        changed = best.copy()
        for _ in range(int(rng.integers(1, 4))):
            y, x, more = int(rng.integers(shape.height)), int(rng.integers(shape.width)), int(rng.choice(CHANGES))
            if rng.random() < 0.7:
                changed[y % period :: period, x] += more
            else:
                changed[y, x] += more
        changed = np.clip(changed, 0, shape.channels)
        found = cycles(changed, clear)
        if found >= most:
            best, most = changed, found
    return spread(best, shape.channels) ^ np.uint8(clear)


def spread(counts: IndexArray, channels: int) -> BitArray:
    """So many set bits per pixel: the lowest bit of every word first."""
    rank = np.argsort(np.argsort(np.arange(channels) % 32, kind="stable"), kind="stable")
    return (rank < counts[..., None]).astype(np.uint8)


def filled(plan: Plan, height: int, order: str, clear: bool, rng: np.random.Generator) -> IndexArray:
    """As many bits (``clear``: clear ones) as the lines allow, row by row in the best order of some; ``order``: alike
    in all columns, or first where few windows see them."""
    windows = plan.seen.columns
    full = plan.channels * int(windows.sum())
    holds = np.zeros((len(plan.lines), height), bool)
    for number, line in enumerate(plan.lines):
        holds[number, max(line.top, 0) : max(line.top, 0) + line.inside] = True
    levels = row_levels(plan, holds, full, clear, rng)
    counts = np.zeros((height, windows.size), np.int64)
    for y, level in enumerate(levels.tolist()):
        if order == "even":
            counts[y] = level // max(int(windows.sum()), 1) * (windows > 0)
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
    best, most = np.zeros(holds.shape[1], np.int64), -1
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


def with_one_more(counts: IndexArray, height: int, width: int, channels: int) -> IndexArray:
    """A number of bits by 8 in every pixel and one more in one pixel of each window."""
    found = counts // 8 * 8
    found[::height, ::width] = np.minimum(found[::height, ::width] + 1, channels)
    return found
