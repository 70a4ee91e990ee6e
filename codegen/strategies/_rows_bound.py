# SPDX-License-Identifier: Apache-2.0
"""The most that ``rows`` or ``rows_mve`` takes on any input, from what one run of each of its parts costs.

Invariant: no input has counts (``_rows_counts.py``) that cost more with the same coefficients, which are not negative.

A line (row of positions) selects with its set bits or its clear ones, so at most half of its taps that count. Of what
it selects, listing costs most where few windows share a bit, and adding most where all windows hold alike many rows:
both at once is the bound, which inputs reach but for what the windows' numbers modulo 8 and lines that share rows of
the map leave.
"""

from __future__ import annotations

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

Coefficients = Mapping[str, float]
FloatArray = npt.NDArray[np.float64]


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
    plan = plan_of(step, program)
    more = float((_adding(adder, cost, rows, segments=2) - one).max())
    hull = _concave(rows, np.maximum.accumulate(one))
    known: dict[tuple[int, int], float] = {}
    for line in plan.lines:
        kind = (line.above, line.inside)
        if kind not in known:
            known[kind] = max(
                _line(plan, line, adder, cost, (rows, hull), more, clear=clear, words=words) for clear in (False, True)
            )
        total += known[kind]
    return total


def _line(
    plan: Plan,
    line: Line,
    adder: Adder,
    cost: Coefficients,
    hull: tuple[IndexArray, FloatArray],
    more: float,
    *,
    clear: bool,
    words: int,
) -> float:
    selected, pixels = line.taps // 2, line.inside * int(plan.on_map.sum())
    outside = outside_counts(plan, line) if clear else {}
    in_padding = (
        0 if plan.pad_is_zero or not clear else line.taps - line.inside * plan.channels * int(plan.seen.columns.sum())
    )
    if in_padding > selected:
        return 0.0
    # The bits that few windows hold come first: so many may be listed for as many rows selected.
    windows = np.sort(plan.seen.columns[plan.seen.columns > 0])
    room = plan.channels * line.inside
    taken = np.clip((selected - in_padding) - room * (np.cumsum(windows) - windows), 0, room * windows)
    listed = int((taken // windows).sum())
    wraps = (listed + int(outside.get("outside", 0))) // (plan.list_words - plan.segment_rows - LIST_PADDING + 1)
    stride = int(plan.lefts[1] - plan.lefts[0]) if plan.lefts.size > 1 else 1
    splits = min(wraps * -(-(plan.window_width - 1) // stride), plan.lefts.size)
    adding = plan.lefts.size * float(np.interp(selected / plan.lefts.size, *hull)) + splits * more
    return (
        sum(cost[name] * count for name, count in outside.items())
        + _listing(adder, cost, pixels * words, listed)
        + adding
        + cost["wrap"] * wraps
        + cost["split"] * splits
    )


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


def _concave(rows: IndexArray, values: FloatArray) -> FloatArray:
    """The least concave function above, at the same ``rows``."""
    corners: list[int] = []
    for index in range(rows.size):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (values[b] - values[a]) * (rows[index] - rows[a]) > (values[index] - values[a]) * (rows[b] - rows[a]):
                break
            corners.pop()
        corners.append(index)
    return np.interp(rows, rows[corners], values[corners])
