# SPDX-License-Identifier: Apache-2.0
"""The rule-based baselines of learned gates: MSF-Layerwise and MSF-Cascade, for given counts per layer.

Xu et al. (CVPR 2019) name them and say that they are greedy, rule-based and compared after retraining; neither the rule
nor what MSF stands for could be found. Both readings below, and what the two variants do, are inferred (methods.md
1.6). Give them the counts that the learned method found, so that every layer loses as many filters.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor, nn

from picobnn.trainer.estimators import hard_sign
from picobnn.trainer.pruning.bottom_up import Phase, bottom_up, gated_layers, layer_counts, phase_seed, ungated_layers
from picobnn.trainer.pruning.masks import set_masks
from picobnn.trainer.pruning.method import finish_masked, first_image
from picobnn.trainer.pruning.quota import Quota, choose_kept
from picobnn.trainer.pruning.report import PruningReport
from picobnn.trainer.pruning.statistics import reestimate_norms
from picobnn.trainer.pruning.structure import FilterGroup
from picobnn.trainer.pruning.training import Training


class Rule(Enum):
    """Which filters of a layer go first.

    SCALE: those of the smallest ``a[o]``, see :func:`filter_scales`. SIMILAR: those that agree in most bits with one
    that stays. SIMILAR_OR_OPPOSITE: the same, a filter and its negative counted as agreeing.
    """

    SCALE = "scale"
    SIMILAR = "similar"
    SIMILAR_OR_OPPOSITE = "similar_or_opposite"

    def scores(self, weight: Tensor) -> Tensor:
        """Float (O,) for latent weights (O, ...); the smallest go first."""
        if self is Rule.SCALE:
            return filter_scales(weight)
        return deletion_order(weight, opposite=self is Rule.SIMILAR_OR_OPPOSITE)


def filter_scales(weight: Tensor) -> Tensor:
    """``a[o] = mean |clip(W - mean over inputs of W, -1, 1)|`` of latent weights (O, I, ...): all the magnitude that an
    XNOR-style filter keeps (methods.md 1.3). With one input channel, where centring leaves nothing, ``mean |W|``."""
    latent = weight.detach().float().cpu()
    if latent.shape[1] > 1:
        latent = latent - latent.mean(dim=1, keepdim=True)
    return latent.clamp(-1, 1).abs().flatten(1).mean(1)


def agreement(weight: Tensor, *, opposite: bool) -> Tensor:
    """Share of equal weight bits of every two filters, float64 (O, O), 0 to 1; ``opposite``: or of unequal ones, if
    more. 0 on the diagonal."""
    signs = hard_sign(weight.detach().float().cpu()).flatten(1).double()
    equal = (1 + signs @ signs.T / signs.shape[1]) / 2
    if opposite:
        equal = torch.maximum(equal, 1 - equal)
    return equal.fill_diagonal_(0.0)


def deletion_order(weight: Tensor, *, opposite: bool) -> Tensor:
    """Place (O,) at which the greedy rule deletes each filter, 0 first.

    Each time the pair of remaining filters with the highest agreement loses the one with the smaller scale, at equal
    scales the later one.
    """
    equal = agreement(weight, opposite=opposite)
    scales = filter_scales(weight)
    order = torch.zeros(len(equal))
    for place in range(len(equal) - 1):
        first, second = divmod(int(equal.argmax()), len(equal))
        gone = min(first, second) if scales[min(first, second)] < scales[max(first, second)] else max(first, second)
        order[gone] = place
        equal[gone] = -1.0
        equal[:, gone] = -1.0
    order[int(equal.amax(dim=1).argmax())] = len(equal) - 1
    return order


class MsfLayerwise:
    """All layers ranked on the original network, independently; then retrained once, as a whole (None: not here)."""

    name: ClassVar[str] = "msf_layerwise"

    def __init__(self, rule: Rule = Rule.SCALE, *, retrain: Phase | None = Phase(1e-4)) -> None:  # noqa: B008
        self._rule = rule
        self._retrain = retrain

    def prepare(self, model: nn.Module) -> None:
        """Clears masks."""
        set_masks(model, {})

    def run(self, model: nn.Module, goal: Quota, training: Training) -> None:
        self._image = first_image(training.batches)
        layers = gated_layers(model, first_layer=True)
        counts = layer_counts(goal, layers)
        scores = {group.name: self._rule.scores(group.layer.weight) for group in layers}
        set_masks(model, choose_kept(scores, Quota(counts, goal.floor)))
        reestimate_norms(model, training.batches)
        if self._retrain is not None:
            training.fit(model, **self._retrain.changes(phase_seed(training, 0, 1)))

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        return finish_masked(self.name, model, self._image)


class MsfCascade:
    """Bottom-up like the gates: each layer ranked on the network as retrained after the layer below."""

    name: ClassVar[str] = "msf_cascade"

    def __init__(
        self, rule: Rule = Rule.SCALE, *, retrain: Phase = Phase(1e-4), first_layer: bool = True  # noqa: B008
    ) -> None:  # fmt: skip
        self._rule = rule
        self._retrain = retrain
        self._first_layer = first_layer

    def prepare(self, model: nn.Module) -> None:
        """Clears masks."""
        set_masks(model, {})

    def run(self, model: nn.Module, goal: Quota, training: Training) -> None:
        self._image = first_image(training.batches)
        layers = gated_layers(model, first_layer=self._first_layer)
        counts = layer_counts(goal, layers)

        def decide(_number: int, group: FilterGroup) -> Tensor:
            scores = {group.name: self._rule.scores(group.layer.weight)}
            return choose_kept(scores, Quota({group.name: counts[group.name]}, goal.floor))[group.name]

        bottom_up(model, layers, decide, self._retrain, training)

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        small, report = finish_masked(self.name, model, self._image)
        return small, replace(report, fixed=ungated_layers(model, first_layer=self._first_layer))
