# SPDX-License-Identifier: Apache-2.0
"""How often the parts of ``rows`` and ``rows_mve`` run: for a given input exactly, and what no input changes.

A part is a stretch of the C or assembly that always takes the same modelled cycles (a pass of a loop, a call), so that
the cycles of a layer are linear in these counts. Two things are not counted as they are: a carry out of the adder's
lower planes into those above, which is taken to happen always (a layer meets it unless its weights are far from
random), and the turns of the addend's bits on v6-M, which are left out (a cycle each).

Used by ``_rows_bound.py``, by the calibration in ``bench/`` and by tests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program
from picobnn.codegen.strategies._common import NO_POOL, IndexArray, window_places
from picobnn.codegen.strategies._rows_costs import LIST_PADDING, Seen, is_per_pixel, seen_by
from picobnn.codegen.strategies._rows_tables import borders_of, phases_of, sizes_of
from picobnn.codegen.vocabulary import BitArray, PadMode, PoolStage, Threshold

CHUNK_WORDS = 31
SCANNED = 6
"""Bits of a word that the list builder of v6-M looks at before it asks whether any are left."""

LAST_SCAN = 5
GROUPS = 4
"""Of 32 channels, in a vector of ``rows_mve``."""

Counts = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Adder:
    """What runs per position. ``vectors``: of ``rows_mve``, 0 in ``rows``; ``groups``: what is left to the adder of 32
    lanes."""

    vectors: int
    groups: int
    planes: int
    is_v6m: bool

    def counts(self, eights: IndexArray, odd: IndexArray, segments: IndexArray) -> dict[str, IndexArray]:
        """Per position with ``eights`` eights of rows in ``segments`` lists, ``odd`` of which hold an odd number."""
        sixteens = (eights - odd) // 2
        stored = sixteens + odd + int(self.is_v6m)
        fours = -(-stored // 4)
        high = (fours + 1) // 2 * (self.planes - 9)
        is_short = int(self.is_v6m and self.planes == 9)
        found = {
            "segment": segments,
            "sixteen": sixteens,
            "rest": odd,
            "fill": -stored % 4,
            "carry_eight": (1 - is_short) * (fours // 2),
            "carry_four": (1 - is_short) * (fours % 2),
            "carry_short": is_short * fours,
            "high": high,
        }
        carried = -(-eights // 8)
        vectors = {
            "vector_segment": segments,
            "vector_eight": eights,
            "vector_fill": -eights % 8,
            "vector_carry": carried,
            "vector_ripple": carried * (self.planes - 7),
        }
        return {name: count * self.groups for name, count in found.items()} | {
            name: count * self.vectors for name, count in vectors.items()
        }

    def fixed(self) -> Counts:
        """Per position, whatever it adds."""
        return {
            "position_groups": float(self.groups > 0),
            "group": self.groups,
            "plane": self.groups * (self.planes - 9),
            "position_vectors": float(self.vectors > 0),
            "vector": self.vectors,
            "vector_plane": self.vectors * (self.planes - 7),
        }


def adder_of(step: BinaryConv2dStep | BinaryDenseStep, *, has_vectors: bool, is_v6m: bool) -> Adder:
    sizes = sizes_of(step)
    vectors = sizes.groups // GROUPS if has_vectors else 0
    return Adder(vectors, sizes.groups - GROUPS * vectors, sizes.planes, is_v6m)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A row of positions that runs: ``above``, ``inside``, ``below`` kernel rows over the map and over padding;
    ``taps`` that count."""

    top: int
    above: int
    inside: int
    below: int
    taps: int


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A convolution. ``lefts``: of the windows of a line, from the left padding on; ``columns``: all that they hold."""

    lines: tuple[Line, ...]
    lefts: IndexArray
    columns: IndexArray
    on_map: BitArray
    seen: Seen
    channels: int
    window_width: int
    pad_is_zero: bool
    segment_rows: int
    list_words: int


def plan_of(step: BinaryConv2dStep, program: Program) -> Plan:
    shape, window, sizes = program.tensors[step.input].shape, step.window, sizes_of(step)
    pool, output = step.pool.window if step.pool is not None else NO_POOL, program.tensors[step.output].shape
    rows, columns = window.output_size(shape.height, shape.width)
    visited = window_places(output.height, pool.stride_y, pool.pad_top, pool.height, rows)
    covered = np.unique(window_places(output.width, pool.stride_x, pool.pad_left, pool.width, columns))
    seen, is_zero = seen_by(step, program), step.pad_mode is PadMode.ZERO
    lines = []
    for top in (visited * window.stride_y - window.pad_top).tolist():
        begin, end = max(top, 0), min(top + window.height, shape.height)
        inside = max(end - begin, 0)
        above = begin - top if inside else window.height
        taps = seen.row_taps * (inside if is_zero else window.height)
        lines.append(Line(top, above, inside, window.height - above - inside, taps))
    lefts = covered * window.stride_x
    under = np.unique(lefts[:, None] + np.arange(window.width))
    on_map = ((under >= window.pad_left) & (under < window.pad_left + shape.width)).astype(np.uint8)
    return Plan(
        tuple(lines),
        lefts,
        under - window.pad_left,
        on_map,
        seen,
        shape.channels,
        window.width,
        is_zero,
        sizes.segment_rows,
        sizes.list_words,
    )


def fixed_counts(step: BinaryConv2dStep | BinaryDenseStep, program: Program, adder: Adder) -> Counts:
    """What every input takes."""
    shape = program.tensors[step.input].shape
    words = (shape.channels + 31) // 32
    per_pixel = isinstance(step, BinaryDenseStep) or is_per_pixel(step, program)
    found: dict[str, float] = defaultdict(float)
    if isinstance(step, BinaryDenseStep) or per_pixel:
        runs = shape.height * shape.width if isinstance(step, BinaryConv2dStep) else 1
        pixels = 1 if isinstance(step, BinaryConv2dStep) else shape.height * shape.width
        found.update(
            dense=1, per_pixel=float(isinstance(step, BinaryConv2dStep)), run=runs, map_word=runs * pixels * words
        )
        found.update(chunk=runs * -(-pixels * words // CHUNK_WORDS), list=runs, pixel=runs * pixels)
        found.update(list_word=runs * pixels * words)
        positions = runs
    else:
        plan = plan_of(step, program)
        found.update(_fixed_of_convolution(step, program, plan, words))
        positions = len(plan.lines) * len(plan.lefts)
    if per_pixel and _has_flips(step):
        found.update(flipped=positions * sizes_of(step).groups, flip=positions)
    for name, count in adder.fixed().items():
        found[name] += positions * count
    found["phased"] += 0 if phases_of(step.domain).is_plain else positions
    return dict(found)


def _fixed_of_convolution(step: BinaryConv2dStep, program: Program, plan: Plan, words: int) -> Counts:
    shape, output, groups = program.tensors[step.input].shape, program.tensors[step.output].shape, sizes_of(step).groups
    lines, pool = len(plan.lines), step.pool.window if step.pool is not None else NO_POOL
    runs = np.flatnonzero(np.diff(plan.seen.columns, prepend=-1))
    lengths = np.diff(runs, append=shape.width)[plan.seen.columns[runs] > 0] * words
    with_pixels = sum(line.inside > 0 for line in plan.lines)
    on_map, positions = int(plan.on_map.sum()), lines * len(plan.lefts)
    inside = sum(line.inside for line in plan.lines)
    steps, moves = _walk_of_row(step, program)
    is_pooled = pool.height != 1 or pool.width != 1
    merged = window_places(
        output.width, pool.stride_x, pool.pad_left, pool.width, step.window.output_size(shape.height, shape.width)[1]
    )
    has_flips = _has_flips(step)
    is_last = step.pool is not None and step.pool.stage is PoolStage.ACC
    return {
        "conv": 1,
        "map_row": shape.height,
        "run": shape.height * len(lengths),
        "hidden_run": shape.height * (len(runs) - len(lengths)),
        "chunk": shape.height * int((-(-lengths // CHUNK_WORDS)).sum()),
        "map_word": shape.height * int(lengths.sum()),
        "out_row": output.height,
        "cleared": output.height * output.width * groups if is_pooled else 0,
        "line": lines,
        "line_row": inside,
        "step": lines * steps,
        "move": lines * moves,
        "column": lines * plan.columns.size,
        "list": with_pixels * on_map,
        "pixel": inside * on_map,
        "list_word": inside * on_map * words,
        "position": positions,
        "set": positions if borders_of(step, program).rows.size else 0,
        "flip": positions if has_flips and not is_last else 0,
        "flipped": positions * groups if has_flips and not is_last else 0,
        "pooled": positions if is_pooled else 0,
        "merged": lines * merged.size if is_pooled else 0,
        "merged_word": lines * merged.size * groups if is_pooled else 0,
        "last_flip": output.height * output.width if has_flips and is_last else 0,
        "last_flipped": output.height * output.width * groups if has_flips and is_last else 0,
    }


def _has_flips(step: BinaryConv2dStep | BinaryDenseStep) -> bool:
    return isinstance(step.epilogue, Threshold) and bool(step.epilogue.flip.any())


def _walk_of_row(step: BinaryConv2dStep, program: Program) -> tuple[int, int]:
    """Passes of the loop over the accumulator columns, and output pixels that it leaves behind."""
    shape = program.tensors[step.input].shape
    pool = step.pool.window if step.pool is not None else NO_POOL
    begin, left, moves = -pool.pad_left, program.tensors[step.output].shape.width, 0
    columns = step.window.output_size(shape.height, shape.width)[1]
    for x in range(columns):
        while left and begin + pool.width <= x:
            begin, left, moves = begin + pool.stride_x, left - 1, moves + 1
        if not left:
            return x + 1, moves
    return columns, moves


def counts_of(step: BinaryConv2dStep | BinaryDenseStep, program: Program, bits: BitArray, adder: Adder) -> Counts:
    """Of one run on ``bits``, uint8 (H, W, C) of 0 and 1."""
    found: dict[str, float] = defaultdict(float, fixed_counts(step, program, adder))
    shape = program.tensors[step.input].shape
    if isinstance(step, BinaryDenseStep) or is_per_pixel(step, program):
        pixels = shape.height * shape.width if isinstance(step, BinaryDenseStep) else 1
        runs = bits.reshape(-1, pixels, shape.channels)
        clear = 2 * runs.sum(axis=(1, 2), dtype=np.int64) > runs[0].size
        selected = runs ^ clear[:, None, None].astype(np.uint8)
        _add(found, list_counts(selected.reshape(-1, shape.channels), adder))
        rows = selected.sum(axis=(1, 2), dtype=np.int64)
        eights = -(-rows // 8)
        _add(found, adder.counts(eights, eights % 2, np.ones_like(rows)))
        found["clear"] += int(clear.sum())
        return dict(found)
    plan = plan_of(step, program)
    ones = (bits.sum(axis=2, dtype=np.int64) * plan.seen.columns).sum(axis=1)
    for line in plan.lines:
        begin = max(line.top, 0)
        clear = 2 * int(ones[begin : begin + line.inside].sum()) > line.taps
        under = plan.columns[plan.on_map == 1]
        selected = bits[begin : begin + line.inside][:, under] ^ np.uint8(clear)
        _add(found, list_counts(selected.reshape(-1, shape.channels), adder))
        lengths = np.zeros(plan.columns.size, np.int64)
        lengths[plan.on_map == 1] = selected.sum(axis=(0, 2))
        if clear:
            _add(found, outside_counts(plan, line))
            if not plan.pad_is_zero:
                lengths[plan.on_map == 1] += (line.above + line.below) * plan.channels
                lengths[plan.on_map == 0] += plan.segment_rows
        wraps, first, second = window_lists(plan, lengths[None])
        eights = -(-first // 8) + -(-second // 8)
        odd = -(-first // 8) % 2 + -(-second // 8) % 2
        split = (second >= 0).astype(np.int64)
        _add(found, adder.counts(eights, odd, 1 + split))
        found["wrap"] += int(wraps.sum())
        found["split"] += int(split.sum())
    return dict(found)


def outside_counts(plan: Plan, line: Line) -> Counts:
    """Of a line whose clear bits select."""
    if plan.pad_is_zero:
        return {"clear": 1}
    on_map = int(plan.on_map.sum()) if line.inside else 0
    off_map = plan.columns.size - on_map
    rows = off_map * plan.segment_rows + on_map * (line.above + line.below) * plan.channels
    return {"clear": 1, "padded": on_map, "beside": off_map, "outside": rows}


def window_lists(plan: Plan, lengths: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
    """Of lines whose columns list ``lengths`` (N, columns) rows: how often the lists of each begin at the front again
    (N,); per position (N, lefts) the rows of its first list and of its second, -1 where there is none."""
    limit = plan.list_words - plan.segment_rows - LIST_PADDING
    # Per column: where its list begins, and the first column of those listed since the front.
    begins, starts = np.zeros_like(lengths), np.zeros_like(lengths)
    end, start, turns = (np.zeros(len(lengths), np.int64) for _ in range(3))
    for column in range(lengths.shape[1]):
        is_full = end > limit
        end, start, turns = np.where(is_full, 0, end), np.where(is_full, column, start), turns + is_full
        begins[:, column], starts[:, column] = end, start
        end = end + lengths[:, column]
    total = np.pad(np.cumsum(lengths, axis=1), ((0, 0), (1, 0)))
    at = np.searchsorted(plan.columns, plan.lefts + plan.columns[0] - plan.lefts[0])
    until = at + plan.window_width
    # A window is in two lists where its first column lies behind the end of its last.
    is_split = begins[:, at] > begins[:, until - 1] + lengths[:, until - 1]
    at_seam = np.take_along_axis(total, starts[:, until - 1], axis=1)
    first = np.where(is_split, at_seam, total[:, until]) - total[:, at]
    second = np.where(is_split, total[:, until] - at_seam, -1)
    return turns, first, second


def list_counts(pixels: BitArray, adder: Adder) -> Counts:
    """Of pixels, (N, C), whose set bits go into lists."""
    words = -(-pixels.shape[1] // 32)
    padded = np.pad(pixels, ((0, 0), (0, 32 * words - pixels.shape[1]))).reshape(-1, 32)
    used = padded.any(axis=1)
    found = {"bit": float(pixels.sum()), "used": float(used.sum())}
    if adder.is_v6m:
        lowest = padded[used].argmax(axis=1)
        scans = (31 - lowest) // SCANNED + 1
        found |= {"scan": float(np.minimum(scans, LAST_SCAN).sum()), "last_scan": float((scans > LAST_SCAN).sum())}
    return found


def _add(found: dict[str, float], more: Mapping[str, float | IndexArray]) -> None:
    for name, counts in more.items():
        found[name] += float(np.sum(counts))
