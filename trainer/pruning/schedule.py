# SPDX-License-Identifier: Apache-2.0
"""Apply a method once, or prune filters in rounds: choose, compact, retrain, until the asked share is gone.

Invariant: the network handed in is not changed, and every round starts from the retrained result of the one before.
Called by the ``prune`` verb, the demo and ``bench/pruning.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.pruning.method import PruningMethod, check_together, methods_inside
from picobnn.trainer.pruning.quota import Quota, Scope, make_quota
from picobnn.trainer.pruning.report import PruningReport
from picobnn.trainer.pruning.structure import find_filters
from picobnn.trainer.pruning.training import Training

Goal = TypeVar("Goal")

Retrain = Callable[[nn.Module, int], nn.Module]
"""A compacted network and the number of the round, from 1, to the retrained network."""


@dataclass(frozen=True, slots=True)
class PruningSettings:
    """rate: share of all filters to remove, 0 to below 1; rounds: steps to get there, equal in filters; floor:
    filters every layer keeps."""

    rate: float
    rounds: int = 1
    scope: Scope = Scope.LAYER
    floor: int = 1


def apply(
    model: nn.Module, method: PruningMethod[Goal], goal: Goal, training: Training
) -> tuple[nn.Module, PruningReport]:
    """One method on a copy of the network: prepare, run, finish. Methods combine by applying one after the other.

    Raises PRUNING when the network still holds modules of a method that does not combine with this one.
    """
    for earlier in methods_inside(model):
        check_together((earlier, method.name))
    changed = deepcopy(model)
    method.prepare(changed)
    method.run(changed, goal, training)
    return method.finish(changed)


def prune(
    model: nn.Module,
    method: PruningMethod[Quota],
    settings: PruningSettings,
    training: Training,
    retrain: Retrain | None = None,
) -> tuple[nn.Module, PruningReport]:
    """The compacted (and, given ``retrain``, retrained) network and what was removed over all rounds.

    Raises PRUNING for impossible settings.
    """
    if settings.rounds < 1:
        raise PicobnnError(
            ErrorId.PRUNING, f"{settings.rounds} rounds.", where="pruning rounds", remedy="Give at least one round."
        )
    total = {group.name: group.filters for group in find_filters(model)}
    report: PruningReport | None = None
    small = model
    for number in range(1, settings.rounds + 1):
        kept = {group.name: group.filters for group in find_filters(small)}
        rate = settings.rate * number / settings.rounds
        quota = make_quota(total, kept, rate, settings.scope, settings.floor)
        small, removed = apply(small, method, quota, training)
        report = removed if report is None else report.then(removed)
        if retrain is not None:
            small = retrain(small, number)
    assert report is not None
    return small, report
