# SPDX-License-Identifier: Apache-2.0
"""Which words each filter adds where lists hold 16-bit offsets, the constants of the compare, and how flash holds both.

Invariant: what stands here is the format that ``picobnn_planes_lists.h`` describes. Used by ``_lists.py`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from picobnn.codegen.pack import pack_codes
from picobnn.codegen.program import BinaryConv2dStep
from picobnn.codegen.strategies._planes_tables import tap_classes
from picobnn.codegen.vocabulary import BitArray, Shape, Threshold

CORE_BITS = (8, 10, 12)
"""Bits per counter of the cores."""

MAX_SHIFT = 6
LIMIT_BITS = 16
MAX_GROUPS = 255
MAX_OFFSET = 65535
HALF_GROUP = 8
GROUP = 16
MAX_LOW_BITS = 12
CODES_END = 2
"""Readable half-words behind the codes."""

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ListForm:
    """What the words of a block stand for.

    The compared value is ``2**shift * (words added) + ratio * (bits set)``; ``has_complement``: behind the taps stand
    their complements, for removed weights. ``adds_clear``: None where each filter adds the fewer of its set and clear
    weights, otherwise whether all filters add the clear ones.
    """

    shift: int
    ratio: int
    has_complement: bool
    adds_clear: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class FilterLists:
    """``added``: 0/1 (O, taps, or twice as many with complements), in the order of the words. ``limits``: what the
    compare adds, (O, classes)."""

    form: ListForm
    added: BitArray
    limits: Int64Array
    counter_bits: int

    @property
    def lengths(self) -> Int64Array:
        """Words that each filter adds."""
        lengths: Int64Array = self.added.sum(axis=1, dtype=np.int64)
        return lengths

    @property
    def half_groups(self) -> Int64Array:
        """The same in groups of 8."""
        groups: Int64Array = -(-self.lengths // HALF_GROUP)
        return groups

    @property
    def block_words(self) -> int:
        """Words of one block without its start: zero word or carries, taps (counted: a multiple of 16), complements."""
        places: int = self.added.shape[1]
        carries: int = 2**self.form.shift
        return carries + (-(-places // GROUP) * GROUP if self.form.ratio else places)


def list_form(step: BinaryConv2dStep) -> ListForm:
    """Of a step whose domain is -1 and +1, or whose clear weights are 0, where taps are removed."""
    shift, ratio = step.domain.shift, step.domain.ratio
    if ratio == 0:
        return ListForm(shift=0, ratio=0, has_complement=False, adds_clear=False)
    if step.kept is not None:
        return ListForm(shift=0, ratio=0, has_complement=True, adds_clear=False)
    inverse = -(2**shift) - ratio
    if inverse == ratio:
        return ListForm(shift, ratio, has_complement=False, adds_clear=None)
    adds_clear = 2 * int(step.weights.sum(dtype=np.int64)) > step.weights.size
    return ListForm(shift, inverse if adds_clear else ratio, has_complement=False, adds_clear=adds_clear)


@lru_cache(maxsize=8)
def filter_lists(step: BinaryConv2dStep, shape: Shape, flips: bytes) -> FilterLists:
    """Lists and constants; ``flips``, uint8 (O,), are applied in the compare. The epilogue is a threshold."""
    form = list_form(step)
    set_taps = _in_word_order(step.weights)
    if form.has_complement:
        assert step.kept is not None
        adds_clear = np.zeros(len(set_taps), bool)
        added = np.concatenate([set_taps, _in_word_order(step.kept - step.weights)], axis=1)
    else:
        fewer = 2 * set_taps.sum(axis=1, dtype=np.int64) > set_taps.shape[1]
        adds_clear = fewer if form.adds_clear is None else np.full(len(set_taps), form.adds_clear)
        added = set_taps ^ adds_clear[:, None].astype(np.uint8)
    least = _least_values(step, shape, form)
    # Added set words, the result is value >= least; added clear words it is not (value >= 1 - least).
    wanted = np.where(adds_clear[:, None], 1 - least, least)
    taps = set_taps.shape[1]
    low = min(0, form.ratio * taps)
    high = max(0, form.ratio * taps) + 2**form.shift * added.sum(axis=1, dtype=np.int64)
    reach = int(-((low - int(high.max()) - 1) // 2**form.shift))
    needed = reach.bit_length() + 1
    bits = next((core for core in CORE_BITS if core >= needed), needed)
    constants = -np.clip(wanted, low, high[:, None] + 1)
    upright = (adds_clear == (np.frombuffer(flips, np.uint8) != 0)).astype(np.int64)
    above = (constants >> form.shift & 2**bits - 1) ^ upright[:, None] << bits - 1
    limits = above << form.shift | constants & 2**form.shift - 1
    return FilterLists(form, added, limits, bits)


def _in_word_order(bits: BitArray) -> BitArray:
    """(O, ky, kx, I) -> (O, taps): taps down the columns of the window."""
    return np.ascontiguousarray(bits.transpose(0, 2, 1, 3)).reshape(len(bits), -1)


def _least_values(step: BinaryConv2dStep, shape: Shape, form: ListForm) -> Int64Array:
    """The least value of ``2**k B1 + r B`` that reaches the threshold, (O, classes), with the step's own k and r; with
    removed taps: of set bits under set weights and clear bits under clear ones."""
    assert isinstance(step.epilogue, Threshold)
    classes = tap_classes(step, shape).inside.astype(np.int64)
    thresholds = step.epilogue.thresholds.astype(np.int64)[:, None]
    ones = np.einsum("oyxc,kyx->ok", step.weights.astype(np.int64), classes)
    if form.has_complement:
        assert step.kept is not None
        clear = (step.kept - step.weights).astype(np.int64)
        clear_inside = np.einsum("oyxc,kyx->ok", clear, classes)
        outside: Int64Array = clear.sum(axis=(1, 2, 3))[:, None] - clear_inside
        reached: Int64Array = -(-(thresholds + ones + clear_inside) // 2) + outside
        return reached
    taps = classes.sum(axis=(1, 2)) * step.weights.shape[3]
    if form.ratio == 0:
        # Without r the power of two is a factor of every sum.
        scaled: Int64Array = -(-thresholds // 2**step.domain.shift)
        halved: Int64Array = -(-(scaled + ones) // 2)
        return halved
    least: Int64Array = -(-(thresholds + 2**step.domain.shift * ones + step.domain.ratio * taps) // 2)
    return least


def listed_words(lists: FilterLists, has_classes: bool) -> npt.NDArray[np.uint32]:
    """All lists with heads and constants, as they lie in flash: uint32."""
    parts: list[npt.NDArray[np.uint32]] = []
    shift = lists.form.shift
    for added, half_groups, limit in zip(lists.added, lists.half_groups, lists.limits[:, 0], strict=True):
        groups, rest = divmod(int(half_groups), 2)
        constant = 0 if has_classes else (int(limit) >> shift) << 8 | (int(limit) & 2**shift - 1) << 2
        entries = np.zeros(HALF_GROUP * int(half_groups), np.uint32)
        places = np.flatnonzero(added)
        entries[: len(places)] = 4 * (places + 2**shift)
        head = np.array([groups << 24 | groups << 16 | rest << 15], np.uint32)
        pairs = (entries[::2] | entries[1::2] << 16).astype(np.uint32)
        parts += [head, pairs, np.array([constant], np.uint32)]
    return np.concatenate(parts)


def low_bits_of(lists: FilterLists) -> int:
    """The k of the Rice codes that take the fewest bits for all filters."""
    gaps = _gaps(lists)
    sizes = [int(((gaps - 1 >> low_bits) + 1 + low_bits).sum()) for low_bits in range(MAX_LOW_BITS + 1)]
    return sizes.index(min(sizes))


def gap_codes(lists: FilterLists, low_bits: int) -> npt.NDArray[np.uint16]:
    """The codes of all filters, one behind the other (R. F. Rice, 1979), and what must be readable behind them."""
    values = _gaps(lists) - 1
    ends = ((values >> low_bits) + 1 + low_bits).cumsum()
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    bits[ends - low_bits - 1] = 1
    for place in range(low_bits):
        bits[ends - 1 - place] = values >> place & 1
    return np.concatenate([pack_codes(bits), np.zeros(CODES_END, np.uint16)])


def _gaps(lists: FilterLists) -> Int64Array:
    """Distances from every added word to the one before; the first of a filter: to the place before its first."""
    filters, places = np.nonzero(lists.added)
    before = np.concatenate([[-1], places[:-1]])
    is_first = np.concatenate([[True], filters[1:] != filters[:-1]])[: len(filters)]
    gaps: Int64Array = places - np.where(is_first, -1, before[: len(places)])
    return gaps
