# SPDX-License-Identifier: Apache-2.0
"""Tables of strategy ``planes_paired``: which filters make a couple, and the lists of a couple.

Invariant: what stands here is the format that ``picobnn_planes_paired.h`` describes. Used by ``planes_paired.py`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep
from picobnn.codegen.strategies._planes_tables import (
    GROUP,
    MIN_COUNTER_BITS,
    WINDOW,
    Int64Array,
    WordList,
    block_words,
    compare_constants,
    counter_bits,
    make_list,
    tap_classes,
    word_places,
    zero_places,
)
from picobnn.codegen.vocabulary import BitArray, Shape, Threshold

GROUP_COST, HALF_COST = 243, 129
"""Half cycles on Cortex-M4 of 16 and of 8 words, with the word of weight 16 that they leave."""
COMMON = 1 << 14
ROUNDS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Couple:
    """Two filters, the same twice where one is left over. ``adds_set``: whether each adds the words of its set bits or
    of its clear ones. ``common``, ``first``, ``second``: 0/1 (taps,), the words of both and those of one alone."""

    filters: tuple[int, int]
    adds_set: tuple[bool, bool]
    common: BitArray
    first: BitArray
    second: BitArray


@dataclass(frozen=True, slots=True, eq=False)
class PairedTables:
    """As emitted: uint32 (8 * couples,), uint8 (bytes,), uint16 (2 * couples * classes,). ``longest``: groups of the
    longest list; ``groups`` and ``half_groups``: of all lists. ``is_small``: the small core runs them."""

    filters: npt.NDArray[np.uint32]
    lists: npt.NDArray[np.uint8]
    limits: npt.NDArray[np.uint16]
    longest: int
    groups: int
    half_groups: int
    is_small: bool


def find_couples(weights: BitArray) -> list[Couple]:
    """Couples of the filters ``weights``, 0/1 (O, taps), so that few groups of words remain: greedy, then couples
    exchange filters while that gains."""
    count = len(weights)
    costs = np.stack([_costs(weights, kinds) for kinds in _KINDS]).min(axis=0)
    return [_couple(weights, first, second) for first, second in _exchange(costs, _greedy(costs, count))]


def paired_tables(step: BinaryConv2dStep, shape: Shape, flips: BitArray) -> PairedTables:
    """The tables of all couples; ``flips`` are applied in the compare. The epilogue is a threshold."""
    return _paired_tables(step, shape, flips.tobytes())


@lru_cache(maxsize=8)
def _paired_tables(step: BinaryConv2dStep, shape: Shape, flips: bytes) -> PairedTables:
    threshold = step.epilogue
    assert isinstance(threshold, Threshold)
    classes = tap_classes(step, shape)
    places, zeros = word_places(step).reshape(-1), zero_places(step)
    couples = find_couples(step.weights.reshape(len(step.weights), -1))
    adds_set = np.zeros(len(step.weights), bool)
    for couple in couples:
        adds_set[list(couple.filters)] = couple.adds_set
    ones = np.einsum("oyxc,kyx->ok", step.weights.astype(np.int64), classes.inside.astype(np.int64))
    taps = classes.inside.sum(axis=(1, 2), dtype=np.int64) * step.weights.shape[3]
    limits = compare_constants(
        threshold.thresholds,
        ones,
        taps,
        adds_set,
        np.frombuffer(flips, np.uint8).astype(np.int64),
        counter_bits(step.weights[0].size),
    )
    fullest = max(int(it.sum()) for couple in couples for it in (couple.common, couple.first, couple.second))
    is_narrow = counter_bits(step.weights[0].size) == MIN_COUNTER_BITS and block_words(step) <= WINDOW
    is_small = is_narrow and len(classes.inside) == 1 and fullest <= GROUP
    rows, columns = step.window.output_size(shape.height, shape.width)
    plane_bytes = 4 * -(-rows * columns // 32)
    records: list[int] = []
    entries: list[npt.NDArray[np.uint8]] = []
    for couple in couples:
        constants = (COMMON, *(int(limits[index, 0]) for index in couple.filters))
        heads = []
        for taken, constant in zip((couple.common, couple.first, couple.second), constants, strict=True):
            taken_places = np.sort(places[taken != 0])
            found = _short_list(taken_places, zeros) if is_small else make_list(taken_places, zeros)
            groups, rest = divmod(len(found.entries), GROUP)
            if is_small:
                heads += [0, constant & ~COMMON]
            else:
                heads.append((groups - 1 & 0xFF) << 24 | (groups & 0xFF) << 16 | 4 * found.advance)
                heads.append((found.begin & 0xFFFF) << 16 | int(rest > 0) << 15 | constant)
            entries.append(found.entries)
        first, second = (plane_bytes * index for index in couple.filters)
        records += [*heads[:2], first, *heads[2:4], second, *heads[4:]]
    sizes = np.array([len(list_) for list_ in entries])
    order = [index for couple in couples for index in couple.filters]
    return PairedTables(
        filters=np.array(records, np.uint32),
        lists=np.concatenate(entries),
        limits=limits[order].reshape(-1).astype(np.uint16),
        longest=int(-(-sizes.max() // GROUP)),
        groups=int((sizes // GROUP).sum()),
        half_groups=int((sizes % GROUP > 0).sum()),
        is_small=is_small,
    )


def _short_list(places: Int64Array, zeros: Int64Array) -> WordList:
    """At most 16 words, counted from word 0."""
    entries = np.concatenate([places, np.repeat(zeros[:1], GROUP - len(places))])
    return WordList(0, 0, entries.astype(np.uint8))


_KINDS = ((1, 1), (1, 0), (0, 1), (0, 0))
"""Whether the first and the second filter of a couple add the words of their set bits."""


def _list_cost(words: Int64Array) -> Int64Array:
    padded = np.maximum(GROUP, -(-words // 8) * 8)
    cost: Int64Array = GROUP_COST * (padded // GROUP) + HALF_COST * (padded % GROUP > 0)
    return cost


def _moves(common: Int64Array) -> tuple[Int64Array, ...]:
    """How many common words both filters may add on their own instead: those that do not fill a group."""
    return np.zeros_like(common), common % 8, common % GROUP


def _couple_costs(common: Int64Array, first: Int64Array, second: Int64Array) -> Int64Array:
    """(moves, ...): of the three lists."""
    return np.stack(
        [_list_cost(common - it) + _list_cost(first + it) + _list_cost(second + it) for it in _moves(common)]
    )


def _costs(weights: BitArray, kinds: tuple[int, int]) -> Int64Array:
    """(O, O): cost of the couple of two filters that add set or clear words."""
    first, second = (weights.astype(np.float32) if kind else 1.0 - weights.astype(np.float32) for kind in kinds)
    common = np.rint(first @ second.T).astype(np.int64)  # below 2**24: exact
    alone = [np.rint(it.sum(axis=1)).astype(np.int64) for it in (first, second)]
    result: Int64Array = _couple_costs(common, alone[0][:, None] - common, alone[1][None, :] - common).min(axis=0)
    return result


def _greedy(costs: Int64Array, count: int) -> list[tuple[int, int]]:
    """Disjoint couples, the cheapest first; a filter left over stands alone."""
    rows, columns = np.triu_indices(count, 1)
    free = np.ones(count, bool)
    couples = []
    for at in np.argsort(costs[rows, columns], kind="stable"):
        first, second = int(rows[at]), int(columns[at])
        if free[first] and free[second]:
            free[[first, second]] = False
            couples.append((first, second))
    return couples + [(int(index), int(index)) for index in np.flatnonzero(free)]


def _exchange(costs: Int64Array, couples: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Two couples exchange a filter while the sum of their costs falls, the greatest gains first."""
    pairs = np.array(couples)
    for _ in range(ROUNDS):
        first, second = pairs.T
        own = costs[first, second]
        now = own[:, None] + own
        straight = now - costs[first[:, None], first] - costs[second[:, None], second]
        crossed = now - costs[first[:, None], second] - costs[second[:, None], first]
        gains = np.triu(np.maximum(straight, crossed), 1)
        changed: set[int] = set()
        for at in np.argsort(-gains, axis=None, kind="stable")[: len(pairs)]:
            one, other = divmod(int(at), len(pairs))
            if gains[one, other] <= 0:
                break
            if one in changed or other in changed:
                continue
            changed |= {one, other}
            (a, b), (c, d) = pairs[one].tolist(), pairs[other].tolist()
            if straight[one, other] >= crossed[one, other]:
                pairs[one], pairs[other] = (a, c), (b, d)
            else:
                pairs[one], pairs[other] = (a, d), (b, c)
        if not changed:
            break
    return sorted((min(pair), max(pair)) for pair in pairs.tolist())


def _couple(weights: BitArray, first: int, second: int) -> Couple:
    """The two filters with the cheapest lists."""
    best: tuple[int, Couple] | None = None
    for kinds in _KINDS[:: 3 if first == second else 1]:
        one, other = (
            weights[index] if kind else 1 - weights[index] for index, kind in zip((first, second), kinds, strict=True)
        )
        both = one & other
        lists = (both, one & ~other & 1, other & ~one & 1)
        costs = _couple_costs(*(np.array(int(it.sum())) for it in lists))
        if best is None or int(costs.min()) < best[0]:
            moved = int(_moves(np.array(int(both.sum())))[int(costs.argmin())])
            away = np.zeros_like(both)
            away[np.flatnonzero(both)[len(np.flatnonzero(both)) - moved :]] = 1
            couple = Couple(
                (first, second),
                (bool(kinds[0]), bool(kinds[1])),
                both & ~away & 1,
                lists[1] | away,
                lists[2] | away,
            )
            best = int(costs.min()), couple
    assert best is not None
    return best[1]
