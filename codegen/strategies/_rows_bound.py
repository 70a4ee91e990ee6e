# SPDX-License-Identifier: Apache-2.0
"""The most that ``rows`` or ``rows_mve`` takes on any input, from what one run of each of its parts costs.

Invariant: no input has counts (``_rows_counts.py``) that cost more with the same coefficients, which are not negative.

A line (row of positions) selects with its set bits or its clear ones, so at most half of its taps that count. Of what
it selects, listing costs most where few windows share a bit, and adding most where all windows hold alike many rows:
both at once is the bound of a line, which inputs reach but for what the windows' numbers modulo 8 leave. Lines share
rows of the map, so that not all lines may be at their most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program
from picobnn.codegen.strategies._common import IndexArray, fan_in
from picobnn.codegen.strategies._rows_costs import LIST_PADDING, is_per_pixel
from picobnn.codegen.strategies._rows_counts import (
    LAST_SCAN,
    Adder,
    Line,
    Plan,
    fixed_counts,
    outside_counts,
    plan_of,
)

TURNS = 1000
"""Subgradient steps towards the least bound."""

Coefficients = Mapping[str, float]
FloatArray = npt.NDArray[np.float64]
Hull = tuple[IndexArray, FloatArray]
"""Corners of a concave function of numbers of rows, from 0 on."""


def most_cycles(step: BinaryConv2dStep | BinaryDenseStep, program: Program, adder: Adder, cost: Coefficients) -> float:
    """``cost``: cycles by part. Raises KeyError where it lacks a part."""
    shape, taps = program.tensors[step.input].shape, fan_in(step)
    total = sum(cost[name] * count for name, count in fixed_counts(step, program, adder).items())
    words = (shape.channels + 31) // 32
    rows = _steps(taps)
    one = _adding(adder, cost, rows, segments=1)
    if isinstance(step, BinaryDenseStep) or is_per_pixel(step, program):
        runs, pixels = (
            (1, shape.height * shape.width) if isinstance(step, BinaryDenseStep) else (shape.height * shape.width, 1)
        )
        listing = _listing(adder, cost, pixels * words, taps // 2)
        return total + runs * (listing + cost["clear"] + float(one[rows <= taps // 2].max()))
    return total + _lines(plan_of(step, program), adder, cost, rows, one, words, taps)


def _lines(
    plan: Plan, adder: Adder, cost: Coefficients, rows: IndexArray, one: FloatArray, words: int, taps: int
) -> float:
    """All lines at their most, as far as the rows of the map that they share allow.

    With s set bits under its windows, each as often as windows hold it, a line costs at most f(s), concave on either
    side of half. For any prices b of a bit per line, the sum is at most that of max(f(s) - b s) over lines and, over
    rows of the map, of what a row full of bits fetches where that is positive: Lagrange's bound, which holds for all b
    and which subgradient steps make small.
    """
    hull, split_hull = _hull(rows, one), _hull(rows, _adding(adder, cost, rows, segments=2))
    known: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = {}
    curves = []
    for line in plan.lines:
        kind = (line.above, line.inside)
        if kind not in known:
            known[kind] = _curve(plan, line, adder, cost, hull, split_hull, words)
        curves.append(known[kind])
    longest = max(bits.size for bits, _ in curves)
    bits = np.array([np.pad(bits, (0, longest - bits.size), mode="edge") for bits, _ in curves])
    most = np.array([np.pad(most, (0, longest - most.size), mode="edge") for _, most in curves])
    height = max((max(line.top, 0) + line.inside for line in plan.lines), default=0)
    shares = np.zeros((len(curves), height))
    for number, line in enumerate(plan.lines):
        shares[number, max(line.top, 0) : max(line.top, 0) + line.inside] = 1.0
    full = plan.channels * float(plan.seen.columns.sum())
    prices = np.zeros(len(curves))
    best = np.inf
    step = float(most.max()) / max(taps * plan.lefts.size, 1)
    for turn in range(TURNS):
        gains = most - prices[:, None] * bits
        chosen = gains.argmax(axis=1)
        fetched = prices @ shares
        best = min(best, float(gains.max(axis=1).sum() + full * np.maximum(fetched, 0.0).sum()))
        slope = shares @ np.where(fetched > 0, full, 0.0) - bits[np.arange(len(curves)), chosen]
        length = float(np.linalg.norm(slope))
        if length == 0.0:
            break
        prices -= step * (len(curves) / (1.0 + turn)) ** 0.5 * slope / length
    return best


def _curve(
    plan: Plan,
    line: Line,
    adder: Adder,
    cost: Coefficients,
    hull: Hull,
    split_hull: Hull,
    words: int,
) -> tuple[FloatArray, FloatArray]:
    """Set bits under the windows, and what a line with them costs at most, at the corners of a function that is linear
    in between: set bits select up to half of the taps, clear ones above. ``hull`` is of windows in one list,
    ``split_hull``, nowhere lower, of those in two: as many as can be are taken to be such."""
    windows = np.sort(plan.seen.columns[plan.seen.columns > 0])
    room = plan.channels * line.inside
    ends = room * np.cumsum(windows)
    inside = int(ends[-1]) if windows.size else 0
    stride = int(np.diff(plan.lefts).min()) if plan.lefts.size > 1 else 1
    pixels = line.inside * int(plan.on_map.sum())
    bits, most = [], []
    for clear in (False, True):
        in_padding = 0 if plan.pad_is_zero or not clear else line.taps - inside
        if in_padding > line.taps // 2:
            continue
        outside = outside_counts(plan, line) if clear else {}
        # The bits that few windows hold come first: so many may be listed for as many rows selected.
        listable = (np.concatenate([[0], ends]), room * np.arange(windows.size + 1))
        up_to = min(line.taps / 2, in_padding + inside)
        most_listed = math.ceil(np.interp(up_to - in_padding, *listable))
        longest = most_listed + int(outside.get("outside", 0))
        wraps = longest // (plan.list_words - plan.segment_rows - LIST_PADDING + 1)
        splits = min(wraps * -(-(plan.window_width - 1) // stride), plan.lefts.size)
        fixed = sum(cost[name] * count for name, count in outside.items())
        fixed += cost["wrap"] * wraps + cost["split"] * splits
        fixed += _listing(adder, cost, pixels * words, most_listed) - cost["bit"] * most_listed
        adding = _together(hull, plan.lefts.size - splits, split_hull, splits)
        at = np.concatenate([[in_padding, up_to], in_padding + ends, adding[0]])
        selected = np.unique(np.clip(at, in_padding, up_to))
        listed = np.interp(selected - in_padding, *listable)
        bits.append(line.taps - selected if clear else selected)
        most.append(fixed + cost["bit"] * listed + np.interp(selected, *adding))
    return np.concatenate(bits), np.concatenate(most)


def _listing(adder: Adder, cost: Coefficients, words: int, bits: int) -> float:
    """Every word is looked at to its end where there are bits enough."""
    used = min(words, bits)
    scans = used * (LAST_SCAN * cost["scan"] + cost["last_scan"]) if adder.is_v6m else 0.0
    return cost["bit"] * bits + cost["used"] * used + scans


def _steps(taps: int) -> IndexArray:
    """0 .. ``taps`` selected rows, where another eight of them begins."""
    return np.concatenate([[0], np.arange(1, taps + 1, 8), [taps]])


def _adding(adder: Adder, cost: Coefficients, rows: IndexArray, segments: int) -> FloatArray:
    """Cycles of the adder for so many rows in one list, or the most that two lists of them take."""
    least = -(-rows // 8)
    cases = []
    for eights in (least,) if segments == 1 else (least, least + 1):
        odd = eights % 2
        for odds in (odd,) if segments == 1 else (odd, np.where((odd == 0) & (eights > 1), 2, odd)):
            counts = adder.counts(eights, odds, np.full_like(eights, segments))
            cases.append(sum((cost[name] * count for name, count in counts.items()), np.zeros(rows.size)))
    most: FloatArray = np.max(cases, axis=0)
    return most


def _hull(rows: IndexArray, values: FloatArray) -> Hull:
    """The least concave function above that does not fall."""
    rising = np.maximum.accumulate(values)
    corners = _corners(rows, rising)
    return rows[corners], rising[corners]


def _together(one: Hull, ones: int, other: Hull, others: int) -> Hull:
    """The most of ``ones`` of one and ``others`` of the other by the sum of their rows: the steepest pieces first."""
    lengths = np.concatenate([ones * np.diff(one[0]), others * np.diff(other[0])])
    rises = np.concatenate([ones * np.diff(one[1]), others * np.diff(other[1])])
    slopes = np.concatenate([np.diff(one[1]) / np.diff(one[0]), np.diff(other[1]) / np.diff(other[0])])
    order = np.argsort(-slopes, kind="stable")
    rows: IndexArray = np.concatenate([[0], np.cumsum(lengths[order])])
    start = ones * one[1][0] + others * other[1][0]
    return rows, start + np.concatenate([[0.0], np.cumsum(rises[order])])


def _corners(rows: IndexArray, values: FloatArray) -> list[int]:
    """Of the least concave function above."""
    corners: list[int] = []
    for index in range(rows.size):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (values[b] - values[a]) * (rows[index] - rows[a]) > (values[index] - values[a]) * (rows[b] - rows[a]):
                break
            corners.pop()
        corners.append(index)
    return corners
