# SPDX-License-Identifier: Apache-2.0
"""Tables of strategy ``planes``: where the words of a block lie, the lists of them, and the constants of the compare.

Invariant: what stands here is the format that ``picobnn_planes.h`` describes. Used by ``planes.py``, and in parts by
the modules of its other forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep
from picobnn.codegen.vocabulary import BitArray, Int32Array, PadMode, Shape, Threshold

RUN = 96
"""Words of one tap that follow each other without a zero word between them."""
WINDOW = 256
"""Words that a list entry, one byte, tells apart."""
GROUP = 16
MIN_COUNTER_BITS, MAX_COUNTER_BITS = 7, 12
MAX_WORDS = 4096
MAX_GROUPS = 255

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class WordList:
    """The words that one filter adds, in the order of addition: group i holds 16 bytes, each a place in the window
    that starts at word ``begin + i * advance``; the last group holds 8 or 16."""

    begin: int
    advance: int
    entries: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class TapClasses:
    """Which taps count where: positions of the map by class. ``inside`` is 0/1 (classes, ky, kx); the class of a
    position is ``rows[y] + columns[x]``."""

    rows: Int64Array
    columns: Int64Array
    inside: BitArray


@dataclass(frozen=True, slots=True, eq=False)
class FilterTables:
    """As emitted: uint32 (2 * O,), uint8 (bytes,), uint16 (O * classes,). ``groups``: of the longest list."""

    filters: npt.NDArray[np.uint32]
    lists: npt.NDArray[np.uint8]
    limits: npt.NDArray[np.uint16]
    groups: int


def block_words(step: BinaryConv2dStep) -> int:
    """Words that 32 output pixels take, zero words included: a multiple of 16."""
    _, rows, columns, channels = step.weights.shape
    used: int = 1 + rows * columns * (channels + -(-channels // RUN))
    return -(-used // GROUP) * GROUP


def counter_bits(taps: int) -> int:
    """Bits per counter: the compared value lies in -(n + 2) / 2 to (n + 2) / 2."""
    return max(MIN_COUNTER_BITS, (taps // 2 + 1).bit_length() + 1)


def word_places(step: BinaryConv2dStep) -> Int64Array:
    """Word of every weight (ky, kx, channel): taps down the columns of the window, a zero word before each run."""
    _, rows, columns, channels = step.weights.shape
    ky, kx, channel = np.ogrid[:rows, :columns, :channels]
    runs = -(-channels // RUN)
    places: Int64Array = 1 + (kx * rows + ky) * (channels + runs) + channel + channel // RUN
    return places


def zero_places(step: BinaryConv2dStep) -> Int64Array:
    """The words that are always 0, ascending."""
    used = np.zeros(block_words(step), bool)
    used[word_places(step).reshape(-1)] = True
    return np.flatnonzero(~used)


def tap_classes(step: BinaryConv2dStep, shape: Shape) -> TapClasses:
    """The classes in which taps lie in zero padding; one class where padding counts as -1 or there is none."""
    window = step.window
    height, width = window.output_size(shape.height, shape.width)
    sides = []
    for positions, taps, stride, pad, size in (
        (height, window.height, window.stride_y, window.pad_top, shape.height),
        (width, window.width, window.stride_x, window.pad_left, shape.width),
    ):
        reads = np.arange(positions)[:, None] * stride - pad + np.arange(taps)
        inside = (reads >= 0) & (reads < size) | (step.pad_mode is not PadMode.ZERO)
        sides.append(np.unique(inside, axis=0, return_inverse=True))
    (rows, row_of), (columns, column_of) = sides
    inside = (rows[:, None, :, None] & columns[None, :, None, :]).reshape(-1, window.height, window.width)
    return TapClasses(row_of.reshape(-1) * len(columns), column_of.reshape(-1), inside.astype(np.uint8))


def make_list(places: Int64Array, zeros: Int64Array) -> WordList:
    """``places``: the words to add, ascending; ``zeros``: words that are 0, no two of them further apart than a run.

    Words that do not fill a group are made up with zero words.
    """
    if not len(places):
        return WordList(0, 0, np.full(GROUP, zeros[0], np.uint8))
    groups = np.arange(len(places)) // GROUP
    mean = int((places[-1] - places[0]) / max(1, groups[-1]))
    advances = np.arange(max(0, mean - 40), mean + 40)
    offsets = places - advances[:, None] * groups
    spreads = offsets.max(axis=1) - offsets.min(axis=1)
    best = int(spreads.argmin())
    if spreads[best] < WINDOW:
        begin = int(offsets[best].min())
        entries = list(offsets[best] - begin)
        base = begin + int(advances[best]) * int(groups[-1])
        entries += [_zero_in(zeros, base) - base] * _missing(len(entries))
        return WordList(begin, int(advances[best]), np.array(entries, np.uint8))
    return min((_spread_list(places, zeros, advance) for advance in (16, 24)), key=lambda it: len(it.entries))


def filter_tables(step: BinaryConv2dStep, shape: Shape, flips: BitArray) -> FilterTables:
    """The tables of all filters; ``flips`` are applied in the compare. The epilogue is a threshold."""
    assert isinstance(step.epilogue, Threshold)
    return _filter_tables(step, shape, flips.tobytes())


@lru_cache(maxsize=8)
def _filter_tables(step: BinaryConv2dStep, shape: Shape, flips: bytes) -> FilterTables:
    threshold = step.epilogue
    assert isinstance(threshold, Threshold)
    classes = tap_classes(step, shape)
    bits = counter_bits(step.weights[0].size)
    places, zeros = word_places(step), zero_places(step)
    ones = np.einsum("oyxc,kyx->ok", step.weights.astype(np.int64), classes.inside.astype(np.int64))
    taps = classes.inside.sum(axis=(1, 2), dtype=np.int64) * step.weights.shape[3]
    adds_set = 2 * step.weights.sum(axis=(1, 2, 3), dtype=np.int64) <= step.weights[0].size
    limits = compare_constants(
        threshold.thresholds, ones, taps, adds_set, np.frombuffer(flips, np.uint8).astype(np.int64), bits
    )
    records, lists, most = [], [], 0
    for index, weights in enumerate(step.weights):
        found = make_list(np.sort(places[weights == int(adds_set[index])]), zeros)
        groups, rest = divmod(len(found.entries), GROUP)
        has_rest = int(rest > 0)
        most = max(most, groups + has_rest)
        head = (groups - 1 & 0xFF) << 24 | (groups & 0xFF) << 16 | 4 * found.advance
        records += [head, (found.begin & 0xFFFF) << 16 | has_rest << 15 | int(limits[index, 0])]
        lists.append(found.entries)
    return FilterTables(np.array(records, np.uint32), np.concatenate(lists), limits.reshape(-1).astype(np.uint16), most)


def compare_constants(
    thresholds: Int32Array,
    ones: Int64Array,
    taps: Int64Array,
    adds_set: npt.NDArray[np.bool_],
    flips: Int64Array,
    bits: int,
) -> Int64Array:
    """What the compare adds, (O, classes): the constant above a bit that says whether halves round up where X is odd.

    With s the words added, f = floor(X / 2) and H = ceil((T + 2 W - n) / 2), over the taps that count: adding the set
    words, the result is ``2 s - X >= H``, that is ``s - f >= K`` (+ 1 where X is odd and H even); adding the clear
    words it is ``not (s - f >= K)`` with K = 1 - ceil(H / 2) (+ 1 where X is odd and H odd).
    """
    clipped = np.clip(thresholds.astype(np.int64)[:, None], -taps, taps + 1)
    half = -((taps - clipped - 2 * ones) // 2)
    above = -((-half) // 2)
    is_set = adds_set[:, None]
    level = np.where(is_set, above, 1 - above)
    rounds = (half % 2 == 0) == is_set
    inverted = (is_set ^ (flips[:, None] != 0)).astype(np.int64)
    constants = (-level & ((1 << bits) - 1)) ^ inverted << (bits - 1)
    result: Int64Array = constants << 1 | rounds
    return result


def _missing(entries: int) -> int:
    """Entries that bring a list to a multiple of 8, and to 16 at least."""
    return max(GROUP - entries, -entries % 8)


def _zero_in(zeros: Int64Array, base: int) -> int:
    """A zero word in the window at ``base``."""
    return int(zeros[np.searchsorted(zeros, base)])


def _spread_list(places: Int64Array, zeros: Int64Array, advance: int) -> WordList:
    """A list for words that lie too unevenly: groups are made up with zero words where the window must move on.

    A window that advances by 16 words per group of 16 never leaves a word behind; with a larger advance it may.
    """
    begin = int(places[0])
    entries: list[int] = []
    following = 0
    while following < len(places):
        base = begin + advance * (len(entries) // GROUP)
        offset = int(places[following]) - base
        if offset < 0:
            return _spread_list(places, zeros, 16)
        if offset < WINDOW:
            entries.append(offset)
            following += 1
        else:
            entries.append(_zero_in(zeros, base) - base)
    base = begin + advance * ((len(entries) - 1) // GROUP)
    entries += [_zero_in(zeros, base) - base] * _missing(len(entries))
    return WordList(begin, advance, np.array(entries, np.uint8))
