# SPDX-License-Identifier: Apache-2.0
"""Inputs that make ``rows`` slow: maps of slow rows of positions, improved by simulated annealing on the exact counts
of its parts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program
from picobnn.codegen.strategies._common import IndexArray
from picobnn.codegen.strategies._rows_costs import is_per_pixel
from picobnn.codegen.strategies._rows_counts import Adder, plan_of
from picobnn.codegen.vocabulary import BitArray
from tests.support.rows_cycles import Cycles, spread
from tests.support.rows_lines import dealt, slow_lists

DEALT = 300
"""Maps, of which the slowest are annealed side by side."""

CHAINS = 24
TURNS = 100
CHANGES = (-16, -8, -8, -8, -4, -1, 1, 4, 8, 8, 8, 16)
HEAT = 1e-4
"""Of the cycles: what a change may lose at the beginning; one of 8 bits in a pixel is worth up to ten times that."""


def worst_bits(
    step: BinaryConv2dStep | BinaryDenseStep,
    program: Program,
    adder: Adder,
    parts: Mapping[str, float],
    rng: np.random.Generator,
) -> BitArray:
    """uint8 (H, W, C)."""
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
    cycles = Cycles(plan, adder, parts, shape.height)
    lists, is_clear = slow_lists(plan, cycles, rng), np.arange(DEALT) % 2
    current = np.array([dealt(plan, shape.height, lists, bool(clear), rng) for clear in is_clear])
    most = cycles.of(current, is_clear)
    order = np.argsort(-most)[:CHAINS]
    current, is_clear, most = current[order], is_clear[order], most[order]
    best, clear, slowest = current[0], is_clear[0], float(most[0])
    for turn in range(TURNS):
        changed = np.clip([with_changes(each, step, rng) for each in current], 0, shape.channels)
        found = cycles.of(changed, is_clear)
        heat = HEAT * slowest * (1 - turn / TURNS)
        taken = found >= most - heat * rng.exponential(size=CHAINS)
        current, most = np.where(taken[:, None, None], changed, current), np.where(taken, found, most)
        if most.max() > slowest:
            best, clear, slowest = current[most.argmax()], is_clear[most.argmax()], float(most.max())
    return spread(best, shape.channels) ^ np.uint8(clear)


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
