# SPDX-License-Identifier: Apache-2.0
"""Learned gates: one real number per filter whose sign keeps or deletes it, trained layer by layer from the input up.

Xu, Dong, Li, Su, "A Main/Subsidiary Network Framework for Simplifying Binary Neural Networks" (CVPR 2019, arXiv
1812.04210). Equations, phases and rates are those of the authors' release, methods.md 1; the full paper was not
readable. Taken from it: one gate per filter with its surrogate gradient (``FilterGate``), all else frozen while the
gates of one layer train, then that layer and above retrained at a smaller rate, learning rates 1e-3 and 1e-4, gates
drawn in +-1e-4, the regularizers. Inferred, each said where it stands: the form of the distillation, fixed statistics
behind the gated layer, counts as a goal, the last epoch's gates as the decision, the first layer. The release's
XNOR-style weights, centred and scaled by a = mean |W| per filter, are picobnn's -1/+1 here: batch norm takes out a, and
latent weights are not centred.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.fit import EpochRecord, StepCallback
from picobnn.trainer.layers import FilterGate
from picobnn.trainer.models import Network
from picobnn.trainer.pruning.bottom_up import (
    Phase,
    bottom_up,
    gated_layers,
    layer_counts,
    only_trained,
    phase_seed,
    ungated_layers,
)
from picobnn.trainer.pruning.gate_loss import GateLoss, GateObjective
from picobnn.trainer.pruning.masks import set_masks
from picobnn.trainer.pruning.method import finish_masked, first_image
from picobnn.trainer.pruning.quota import Quota
from picobnn.trainer.pruning.report import PruningReport
from picobnn.trainer.pruning.structure import FilterGroup
from picobnn.trainer.pruning.training import Training
from picobnn.trainer.step import Precision

INIT_RANGE = 1e-4


@dataclass(frozen=True, slots=True)
class TrainedGates:
    """What one layer's gates came to: ``m`` float32 (filters,), the filters ``kept``, and the epochs they trained."""

    m: Tensor
    kept: Tensor
    records: tuple[EpochRecord, ...]


class Gates:
    """Gates per filter. Goal None: as many filters go as the gates say; a :class:`Quota`: exactly its counts per layer.

    ``gates`` and ``retrain``: the two phases of every layer (methods.md 1.4). ``loss``: what the gates minimise.
    ``first_layer``: gate the layer that reads the image too (the paper's first and last layers are real-valued and
    never pruned; here the first is binary like the others). The report names a first layer left alone as ``fixed`` and
    has the removed share with and without it. ``floor``: filters that stay in every layer without a quota,
    also while gates train: with none, the next batch norm has no variance and gradients explode (inferred).
    ``after_step``: called after each step of gate training, not of retraining.

    A quota (inferred, the paper has learned counts only): after every step the gates of a layer are shifted by one
    number so that just the asked count lies at or below 0. Their order is what is learned.
    """

    name: ClassVar[str] = "gates"

    def __init__(
        self,
        loss: GateLoss = GateLoss(),  # noqa: B008
        *,
        gates: Phase = Phase(1e-3),  # noqa: B008
        retrain: Phase = Phase(1e-4),  # noqa: B008
        first_layer: bool = True,
        floor: int = 1,
        after_step: Sequence[StepCallback] = (),
    ) -> None:
        self._loss = loss
        self._gates = gates
        self._retrain = retrain
        self._first_layer = first_layer
        self._floor = floor
        self._after_step = after_step
        self.trained: dict[str, TrainedGates] = {}

    def prepare(self, model: nn.Module) -> None:
        """Clears masks. A layer gets its gates when its turn comes: until then they would be exactly 1."""
        if not isinstance(model, Network) or not gated_layers(model, first_layer=self._first_layer):
            raise PicobnnError(
                ErrorId.PRUNING, "there are no layers to gate.", where=type(model).__name__,
                remedy="Use a binary network of picobnn.trainer.models.",
            )  # fmt: skip
        set_masks(model, {})

    def run(self, model: nn.Module, goal: Quota | None, training: Training) -> None:
        """Both phases for each layer. Leaves a masked network without gates."""
        self._image = first_image(training.batches)
        layers = gated_layers(model, first_layer=self._first_layer)
        counts = None if goal is None else layer_counts(goal, layers)
        self.trained = {}

        def decide(number: int, group: FilterGroup) -> Tensor:
            removed = None if counts is None else counts[group.name]
            self.trained[group.name] = self._train(model, number, group, removed, training)
            return self.trained[group.name].kept

        bottom_up(model, layers, decide, self._retrain, training)

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        small, report = finish_masked(self.name, model, self._image)
        return small, replace(report, fixed=ungated_layers(model, first_layer=self._first_layer))

    def _train(
        self, model: nn.Module, number: int, group: FilterGroup, removed: int | None, training: Training
    ) -> TrainedGates:
        """Phase A: only the gates of ``group`` train. The network is left as it was but for statistics."""
        seed = phase_seed(training, number, 0)
        main = deepcopy(model)
        gate = FilterGate(initial_gates(group.filters, seed)).to(group.layer.weight.device)
        group.layer.gate = gate

        def keep_count(_model: object = None, _place: object = None) -> None:
            if removed is not None:
                shift_to_count(gate.m, removed)
            elif int(gate.kept().sum()) < self._floor:
                shift_to_count(gate.m, max(0, group.filters - self._floor))

        keep_count()
        try:
            with only_trained(model, [gate.m]):
                result = training.fit(
                    model, objective=GateObjective(self._loss, group, gate.m, main, training.objective),
                    after_step=[keep_count, *self._after_step],
                    **self._gates.changes(seed), precision=Precision.FLOAT32,
                )  # fmt: skip
        finally:
            group.layer.gate = None
        m = gate.m.detach().cpu()
        return TrainedGates(m, chosen(m, removed, self._floor), result.records)


def initial_gates(filters: int, seed: int) -> Tensor:
    """Uniform in +-1e-4: which filters stay is decided by the first gradients, not by the draw (methods.md 1.4)."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(filters, generator=generator) * 2 - 1) * INIT_RANGE


@torch.no_grad()
def shift_to_count(m: Tensor, removed: int) -> None:
    """Shift all gates by one number, in place, so that the ``removed`` smallest are at or below 0 and no others, ties
    apart. The number lies half-way between the largest deleted and the smallest kept gate."""
    ranked = m.sort().values
    if removed == 0:
        m.sub_(torch.clamp(ranked[0] - INIT_RANGE, max=0.0))
    elif removed == len(m):
        m.sub_(torch.clamp(ranked[-1], min=0.0))
    else:
        m.sub_((ranked[removed - 1] + ranked[removed]) / 2)


def chosen(m: Tensor, removed: int | None, floor: int) -> Tensor:
    """Bool (filters,): m > 0, but at least the ``floor`` largest; with ``removed`` all but that many smallest."""
    count = len(m) - removed if removed is not None else max(floor, int((m > 0).sum()))
    kept = torch.zeros(len(m), dtype=torch.bool)
    kept[torch.argsort(m, descending=True, stable=True)[:count]] = True
    return kept
