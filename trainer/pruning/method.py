# SPDX-License-Identifier: Apache-2.0
"""What a pruning method is, and the base of those that score filters once and remove the lowest.

Invariant: after ``prepare`` the network's masks remove the filters of the quota; ``finish`` gives a compacted
network whose eval integers equal those of the network handed to it. Called by ``schedule.prune``; one method per
file beside this one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol

from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.pruning.compaction import compact
from picobnn.trainer.pruning.masks import set_masks
from picobnn.trainer.pruning.quota import Quota, choose_kept
from picobnn.trainer.pruning.report import PrunedLayer, PruningReport
from picobnn.trainer.pruning.structure import FilterGroup, count_macs, find_filters

Batches = Iterable[tuple[Tensor, Tensor]]
"""Training images uint8 (N, C, H, W) and labels int64 (N,); may be gone through more than once."""


class PruningMethod(Protocol):
    """One round of pruning: mark filters, then take them out."""

    name: ClassVar[str]

    def prepare(self, model: nn.Module, quota: Quota, batches: Batches) -> None:
        """Set the network's masks so that the quota is met. May train; weights are its own business."""

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        """The prepared network without the marked filters, and what was removed."""


class RankingMethod(ABC):
    """Scores every filter once; the smallest go. The network's weights and statistics stay as they are."""

    name: ClassVar[str]

    @abstractmethod
    def scores(self, model: nn.Module, groups: Sequence[FilterGroup], batches: Batches) -> dict[str, Tensor]:
        """Per layer float (filters,), larger is more worth keeping."""

    def prepare(self, model: nn.Module, quota: Quota, batches: Batches) -> None:
        self._image = first_image(batches)
        set_masks(model, choose_kept(self.scores(model, find_filters(model), batches), quota))

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        return finish_masked(self.name, model, self._image)


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
