# SPDX-License-Identifier: Apache-2.0
"""How many filters to remove, and which ones given a score each.

Invariant: no layer falls below its floor, and at least the asked share of all filters is removed, less than one
filter per layer more (``Scope.WORDS``: about the share). Called by the ranking methods and by ``schedule.prune``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import chain

import torch
from torch import Tensor

from picobnn.errors import ErrorId, PicobnnError

_WORD, _EIGHTH = 32, 8  # channels


class Scope(Enum):
    """Rank filters against those of their own layer, or against all.

    ``LAYER``: each layer loses the same share, rounded up. ``EVEN``: the share to within one filter, so that the sum is
    what was asked for. ``GLOBAL``: as the scores of all layers say. ``WORDS``: each layer keeps the number nearest to
    its share that wastes no lanes of a word: whole words of 32 channels, below one word a multiple of 8, or all it has.
    """

    LAYER = "layer"
    EVEN = "even"
    GLOBAL = "global"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Quota:
    """``remove``: filters to remove in each layer, or in all together. ``floor``: filters every layer keeps."""

    remove: Mapping[str, int] | int
    floor: int = 1


def make_quota(filters: Mapping[str, int], kept: Mapping[str, int], rate: float, scope: Scope, floor: int) -> Quota:
    """The quota that takes layers of ``filters`` filters, of which ``kept`` are left, to ``rate`` removed in all.

    A layer at its floor gives less. PRUNING error when ``rate`` is not in [0, 1) or the floors leave too few filters
    to remove.
    """
    if not 0 <= rate < 1 or floor < 1:
        raise PicobnnError(
            ErrorId.PRUNING, f"cannot remove {rate:.3g} of the filters with a floor of {floor}.", where="pruning rate",
            remedy="Give a rate from 0 to below 1 and a floor of at least 1.",
        )  # fmt: skip
    gone = {name: filters[name] - kept[name] for name in filters}
    room = {name: max(0, count - floor) for name, count in kept.items()}
    wanted = max(0, _share(rate, sum(filters.values())) - sum(gone.values()))
    if scope is Scope.WORDS:
        wholes = {name: _nearest_whole(count, (1 - rate) * count, floor) for name, count in filters.items()}
        return Quota({name: max(0, count - wholes[name]) for name, count in kept.items()}, floor)
    each = {name: min(max(0, _share(rate, count) - gone[name]), room[name]) for name, count in filters.items()}
    most = sum(each.values()) if scope is Scope.LAYER else sum(room.values())
    if wanted > most:
        raise PicobnnError(
            ErrorId.PRUNING, f"{wanted} filters are to go, the floor of {floor} per layer lets {most} go.",
            where="pruning rate", remedy="Lower the rate or the floor.",
        )  # fmt: skip
    if scope is Scope.EVEN:
        return Quota(_spread(filters, gone, room, wanted, rate), floor)
    return Quota(each if scope is Scope.LAYER else wanted, floor)


def _nearest_whole(count: int, share: float, floor: int) -> int:
    """The number of ``count`` filters to keep that is nearest to ``share``, the larger of two: see ``Scope.WORDS``."""
    wholes = chain(range(_EIGHTH, min(_WORD, count), _EIGHTH), range(_WORD, count, _WORD), [count])
    allowed = [whole for whole in wholes if whole >= min(floor, count)]
    return min(allowed, key=lambda whole: (abs(whole - share), -whole))


def _spread(
    filters: Mapping[str, int], gone: Mapping[str, int], room: Mapping[str, int], wanted: int, rate: float
) -> dict[str, int]:
    """``wanted`` filters one by one from the layer that is furthest behind its share, the first of equal ones."""
    taken = dict.fromkeys(filters, 0)
    for _ in range(wanted):
        open_layers = [name for name in filters if taken[name] < room[name]]
        taken[max(open_layers, key=lambda name: rate * filters[name] - gone[name] - taken[name])] += 1
    return taken


def choose_kept(scores: Mapping[str, Tensor], quota: Quota) -> dict[str, Tensor]:
    """Bool masks (filters,) per layer: the filters with the smallest scores go, ties by position.

    Across layers, scores are compared after dividing by the layer's root mean square.
    """
    kept = {name: torch.ones(len(score), dtype=torch.bool) for name, score in scores.items()}
    if not isinstance(quota.remove, int):
        for name, count in quota.remove.items():
            order = torch.argsort(scores[name], stable=True)
            kept[name][order[:count]] = False
        return kept
    ranked = sorted(
        (value / scale, layer, index)
        for layer, (score, scale) in enumerate((s.double(), _scale(s)) for s in scores.values())
        for index, value in enumerate(score.tolist())
    )
    names = list(scores)
    left = quota.remove
    for _, layer, index in ranked:
        mask = kept[names[layer]]
        if left and int(mask.sum()) > quota.floor:
            mask[index] = False
            left -= 1
    return kept


def _share(rate: float, count: int) -> int:
    """``rate * count``, up to the next integer; 0.35 * 20 is 7 although the product is a little more."""
    return math.ceil(rate * count - 1e-9)


def _scale(score: Tensor) -> float:
    return float(score.double().square().mean().sqrt()) or 1.0
