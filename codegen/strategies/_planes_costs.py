# SPDX-License-Identifier: Apache-2.0
"""What a convolution's map costs the forms of ``planes``, whatever their lists: counts of ``picobnn_planes_gather.c``,
``picobnn_planes_block.c`` and ``picobnn_planes_pool.c``.

Used by the modules of the forms only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from picobnn.codegen.program import BinaryConv2dStep, Program
from picobnn.codegen.strategies._common import IndexArray
from picobnn.codegen.strategies._interface import CostTerm
from picobnn.codegen.strategies._planes_common import pool_window
from picobnn.codegen.strategies._planes_tables import tap_classes
from picobnn.codegen.vocabulary import Shape

LANES = 32
"""Pixels of a block."""


@dataclass(frozen=True, slots=True)
class MapCounts:
    """``blocks`` of 32 pixels. ``compares``: classes of border met, over all blocks, or 0 with one class.

    ``gathered``: ``block``; ``column``, ``tap``: columns of the window and taps placed; ``mask``: rows under the mask
    of a column; ``run``, ``word``: taps gathered in one piece and their words; ``blank``: words cleared; ``piece``:
    rows met where a tap is gathered row by row, ``merge``, ``merged``: those inside and their words.

    ``around``, of classes: ``lane``, ``sought``: pixels whose class is looked up, classes looked at. Of the input by
    phases: ``phase``, ``phase_row``: planes of phases and rows of theirs; where rows do not cross words ``split``,
    ``split_word``, ``split_row``: planes, words, and rows taken out of words. Of the end: ``finish``: planes whose
    padding is cleared, without a pool; with pools of 2x2 that halve the map ``halved``, ``halved_row``,
    ``halved_word``: planes, rows written and words of the map read; with others ``pooled``, ``pooled_part``,
    ``pooled_row``: planes, parts of rows written and rows of the map read for them.
    """

    blocks: int
    compares: int
    gathered: tuple[CostTerm, ...]
    around: tuple[CostTerm, ...]

    @property
    def terms(self) -> tuple[CostTerm, ...]:
        return self.gathered + self.around


GATHERED = ("block", "column", "tap", "mask", "run", "word", "blank", "piece", "merge", "merged")
AROUND = (
    *("lane", "sought", "phase", "phase_row", "split", "split_word", "split_row"),
    *("finish", "halved", "halved_row", "halved_word", "pooled", "pooled_part", "pooled_row"),
)


def map_counts(step: BinaryConv2dStep, program: Program) -> MapCounts:
    """Of an accepted step."""
    return _map_counts(step, program.tensors[step.input].shape, program.tensors[step.output].shape)


@lru_cache(maxsize=16)
def _map_counts(step: BinaryConv2dStep, shape: Shape, output: Shape) -> MapCounts:
    gathered = _gather_counts(step, shape)
    met, around = class_counts(step, shape, LANES)
    around |= _phase_counts(step, shape) | _finish_counts(step, shape, output)
    return MapCounts(gathered["block"], met, _terms(GATHERED, gathered), _terms(AROUND, around))


def _terms(names: tuple[str, ...], counts: dict[str, int]) -> tuple[CostTerm, ...]:
    return tuple(CostTerm.always(name, counts.get(name, 0)) for name in names)


def counted_groups(groups: int) -> tuple[int, int]:
    """Groups of 16 words that ``picobnn_planes_sum_words`` counts for ``groups`` of words, those of the carries
    included, and carries that it clears to fill groups up."""
    counted, cleared = groups, 0
    while groups > 1:
        cleared += -groups % 16
        groups = -(-groups // 16)
        counted += groups
    return counted, cleared


def _gather_counts(step: BinaryConv2dStep, shape: Shape) -> dict[str, int]:
    window = step.window
    rows, columns = window.output_size(shape.height, shape.width)
    pixels = np.arange(rows * columns)
    blocks, taps = -(-len(pixels) // LANES), window.height * window.width
    y, x = np.divmod(pixels, columns)
    reads_y = y * window.stride_y - window.pad_top + np.arange(window.height)[:, None]
    reads_x = x * window.stride_x - window.pad_left + np.arange(window.width)[:, None]
    inside_y = (reads_y >= 0) & (reads_y < shape.height)
    inside_x = (reads_x >= 0) & (reads_x < shape.width)
    # From its column on, a block meets rows until its 32 pixels are over.
    met = int((-(-(LANES + np.arange(blocks) * LANES % columns) // columns)).sum())
    masked = int((~inside_x.all(axis=1)).sum())
    is_whole = columns == -(-shape.width // window.stride_x)
    places: IndexArray = pixels // LANES if is_whole else pixels // LANES * rows + y
    runs = sum(len(np.unique(places[one & other])) for one in inside_y for other in inside_x)
    counts = {"block": blocks, "column": blocks * window.width, "tap": blocks * taps, "mask": met * masked}
    if is_whole:
        return counts | {
            "run": runs,
            "word": runs * shape.channels,
            "blank": (blocks * taps - runs) * shape.channels,
        }
    return counts | {
        "blank": blocks * taps * shape.channels,
        "piece": met * taps,
        "merge": runs,
        "merged": runs * shape.channels,
    }


def class_counts(step: BinaryConv2dStep, shape: Shape, lanes: int) -> tuple[int, dict[str, int]]:
    """Classes met, over all blocks of ``lanes`` pixels, and pixels and classes looked at for them, where the class
    changes from a pixel to the next; nothing with one class."""
    classes = tap_classes(step, shape)
    if len(classes.inside) == 1:
        return 0, {}
    kinds = (classes.rows[:, None] + classes.columns).reshape(-1)
    met = sought = 0
    for first in range(0, len(kinds), lanes):
        block = kinds[first : first + lanes]
        seen: list[int] = []
        for kind in block[np.flatnonzero(np.diff(block, prepend=-1))].tolist():
            if kind not in seen:
                seen.append(kind)
            sought += 1 + seen.index(kind)
        met += len(seen)
    return met, {"lane": len(kinds), "sought": sought}


def _phase_counts(step: BinaryConv2dStep, shape: Shape) -> dict[str, int]:
    stride_y, stride_x = step.window.stride_y, step.window.stride_x
    if stride_y * stride_x == 1:
        return {}
    if stride_y == stride_x == 2 and _divides_word(shape.width):
        words = shape.channels * -(-shape.height * shape.width // 32)
        # Two columns of phases; a word of 16 pixels per row is one row, else four words of 8 bits hold its rows.
        rows = 0 if shape.width == 32 else 4 * 16 // shape.width * words
        return {"split": shape.channels, "split_word": words, "split_row": rows}
    return {
        "phase": shape.channels * stride_y * stride_x,
        "phase_row": shape.channels * shape.height * sum(-(-(shape.width - at) // 32) for at in range(stride_x)),
    }


def _finish_counts(step: BinaryConv2dStep, shape: Shape, output: Shape) -> dict[str, int]:
    pool, filters = pool_window(step), len(step.weights)
    if pool is None:
        return {"finish": filters} if output.height * output.width % 32 else {}
    height, width = step.window.output_size(shape.height, shape.width)
    is_halving = (pool.height, pool.width, pool.stride_y, pool.stride_x) == (2, 2, 2, 2)
    is_inside = pool.pad_top == pool.pad_left == 0 and 2 * output.width <= width and 2 * output.height <= height
    if is_halving and is_inside and width <= LANES:
        rows = filters * output.height
        words = filters * -(-2 * output.height * width // 32)
        return {"halved": filters, "halved_row": rows, "halved_word": words}
    at_once = 1 if pool.stride_x > 2 else (LANES - pool.width) // pool.stride_x + 1
    parts = filters * -(-output.width // at_once)
    tops = np.arange(output.height) * pool.stride_y - pool.pad_top
    read = int((np.minimum(tops + pool.height, height) - np.maximum(tops, 0)).sum())
    return {"pooled": filters, "pooled_part": parts * output.height, "pooled_row": parts * read}


def _divides_word(width: int) -> bool:
    """Whether rows do not cross words."""
    return width > 1 and 32 % width == 0
