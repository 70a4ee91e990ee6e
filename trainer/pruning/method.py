# SPDX-License-Identifier: Apache-2.0
"""What a pruning method is, and the base of those that score filters once and remove the lowest.

A method is one object for one pruning: ``prepare`` puts in what it marks or trains, ``run`` is its schedule, ``finish``
takes out physically what it decided against. Invariant: the network that ``finish`` returns computes in eval mode the
integers of the network handed to it. Called by ``schedule.apply`` and ``schedule.prune``; one method per file beside
this one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import ClassVar, Protocol, TypeVar

from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.pruning.compaction import compact
from picobnn.trainer.pruning.masks import set_masks
from picobnn.trainer.pruning.quota import Quota, choose_kept
from picobnn.trainer.pruning.report import PrunedLayer, PruningReport
from picobnn.trainer.pruning.structure import FilterGroup, count_macs, find_filters
from picobnn.trainer.pruning.training import Batches, Training

GoalT = TypeVar("GoalT", contravariant=True)

_GATES_AND_STATES = (
    "gates are trained layer by layer while weights are frozen; a state search masks all layers and trains weights in "
    "the same step"
)
CONFLICTS: Mapping[frozenset[str], str] = {
    frozenset({"gates", "ising"}): _GATES_AND_STATES,
    frozenset({"gates", "edropout"}): _GATES_AND_STATES,
}
"""Names of two methods that do not combine, and why (methods.md section 5)."""


class PruningMethod(Protocol[GoalT]):
    """One pruning. ``GoalT`` is what a method can be asked for: a :class:`Quota` of filters, a share of ones, None."""

    name: ClassVar[str]

    def prepare(self, model: nn.Module) -> None:
        """Put gates, weight values or masks into the network, in place. Trains nothing."""

    def run(self, model: nn.Module, goal: GoalT, training: Training) -> None:
        """The schedule: score or train until the goal is met. Afterwards the network holds every decision.

        Raises PRUNING when the goal cannot be met, or when the method trains and ``training`` has no data set.
        """

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        """The network without what was decided against, and what was removed. ``model`` is not changed."""


class RankingMethod(ABC):
    """Scores every filter once; the smallest go. The network's weights and statistics stay as they are."""

    name: ClassVar[str]

    @abstractmethod
    def scores(self, model: nn.Module, groups: Sequence[FilterGroup], batches: Batches) -> dict[str, Tensor]:
        """Per layer float (filters,), larger is more worth keeping."""

    def prepare(self, model: nn.Module) -> None:
        """Nothing to put in: every layer has its masks. Clears them."""
        set_masks(model, {})

    def run(self, model: nn.Module, goal: Quota, training: Training) -> None:
        self._image = first_image(training.batches)
        set_masks(model, choose_kept(self.scores(model, find_filters(model), training.batches), goal))

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        return finish_masked(self.name, model, self._image)


def check_together(names: Sequence[str]) -> None:
    """Raises PRUNING, with the reason, when two of the methods named do not combine."""
    for pair in combinations(names, 2):
        reason = CONFLICTS.get(frozenset(pair))
        if reason is not None:
            raise PicobnnError(
                ErrorId.PRUNING, f"{reason}.", where=" with ".join(pair), remedy="Use one of the two methods."
            )


def methods_inside(model: nn.Module) -> tuple[str, ...]:
    """Names of the methods that have put modules into the network and not taken them out again: the ``pruning_method``
    (a string) that a method's own module class carries."""
    found = {getattr(module, "pruning_method", None) for module in model.modules()}
    return tuple(sorted(name for name in found if isinstance(name, str)))


def first_image(batches: Batches) -> Tensor:
    """One image (1, C, H, W), for counting. PRUNING error when there is none."""
    for images, _ in batches:
        if len(images):
            return images[:1]
    raise PicobnnError(
        ErrorId.PRUNING, "there are no training images.", where="pruning", remedy="Give at least one batch."
    )


def finish_masked(method: str, model: nn.Module, image: Tensor) -> tuple[nn.Module, PruningReport]:
    """Compact a masked network and count what went, with the MACs of one image (1, C, H, W)."""
    small = compact(model)
    layers = tuple(
        PrunedLayer(before.name, after.filters, before.filters)
        for before, after in zip(find_filters(model), find_filters(small), strict=True)
    )
    return small, PruningReport(method, layers, count_macs(model, image), count_macs(small, image))
