# SPDX-License-Identifier: Apache-2.0
"""The layer-wise schedule: decide which filters of layer i go, retrain layer i and above, then layer i + 1.

Xu et al. (CVPR 2019); phases as in the authors' release (methods.md 1.4). Layers below stay frozen, so that each
decision rests on a lower part that no longer moves. Called by the gates and by MSF-Cascade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.layers import InputConv2d
from picobnn.trainer.pruning.masks import set_masks
from picobnn.trainer.pruning.quota import Quota
from picobnn.trainer.pruning.statistics import reestimate_norms
from picobnn.trainer.pruning.structure import FilterGroup, find_filters
from picobnn.trainer.pruning.training import Training

Decide = Callable[[int, FilterGroup], Tensor]
"""The layer's number from 0 and its filters, to the bool mask (filters,) of those that stay."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One training of a schedule: peak learning rate, and epochs (None: as many as the training's options say)."""

    learning_rate: float
    epochs: int | None = None
    warmup: float = 0.0

    def changes(self, seed: int) -> dict[str, Any]:
        """The fields of :class:`FitOptions` that differ. A phase writes no checkpoint: no file tells where in the
        schedule it would belong."""
        fields: dict[str, Any] = {
            "learning_rate": self.learning_rate, "warmup": self.warmup, "seed": seed,
            "checkpoint": None,
        }  # fmt: skip
        return fields if self.epochs is None else {**fields, "epochs": self.epochs}


def gated_layers(model: nn.Module, *, first_layer: bool) -> tuple[FilterGroup, ...]:
    """The layers a method decides on, in execution order; ``first_layer``: also those that read the image."""
    return tuple(g for g in find_filters(model) if first_layer or not isinstance(g.layer, InputConv2d))


def ungated_layers(model: nn.Module, *, first_layer: bool) -> tuple[str, ...]:
    """Names of the other layers with filters."""
    gated = {group.name for group in gated_layers(model, first_layer=first_layer)}
    return tuple(group.name for group in find_filters(model) if group.name not in gated)


def layer_counts(goal: Quota, layers: Sequence[FilterGroup]) -> dict[str, int]:
    """Filters to remove per layer. PRUNING error for a quota over all layers together, for one on a layer that the
    method does not decide on, and where a layer would fall below the floor."""
    if isinstance(goal.remove, int):
        raise PicobnnError(
            ErrorId.PRUNING, "layers are decided one after the other and need a count each.", where="quota",
            remedy="Rank within layers: Scope.LAYER.",
        )  # fmt: skip
    counts = {group.name: goal.remove.get(group.name, 0) for group in layers}
    wrong = [name for name, count in goal.remove.items() if count and name not in counts]
    wrong += [g.name for g in layers if not 0 <= counts[g.name] <= g.filters - goal.floor]
    if wrong:
        raise PicobnnError(
            ErrorId.PRUNING, f"the counts of {', '.join(wrong)} cannot be met.", where="quota",
            remedy="Remove filters only from layers the method decides on, and keep the floor in each.",
        )  # fmt: skip
    return counts


def bottom_up(
    model: nn.Module, layers: Sequence[FilterGroup], decide: Decide, retrain: Phase, training: Training
) -> None:
    """For each of ``layers``, lowest first: decide, mask, re-estimate batch norm, retrain this layer and above.

    A removed channel becomes 0 after its sign as soon as it is decided (:func:`set_masks`), so that what is retrained
    is what compaction leaves; the release keeps the constant map of a zeroed filter, which differs at borders only.
    Re-estimating is inferred too: statistics of the network before the deletion would otherwise stand until training
    has replaced them.
    Everything below the layer is frozen in retraining, batch norms included; their statistics move.
    """
    masks: dict[str, Tensor] = {}
    for number, group in enumerate(layers):
        masks[group.name] = decide(number, group)
        set_masks(model, masks)
        reestimate_norms(model, training.batches)
        with only_trained(model, parameters_from(model, group)):
            training.fit(model, **retrain.changes(phase_seed(training, number, 1)))


def phase_seed(training: Training, number: int, phase: int) -> int:
    """Seeds that differ between the phases of a run, the same for methods that are compared."""
    return training.seed + 2 * number + phase


def parameters_from(model: nn.Module, group: FilterGroup) -> list[nn.Parameter]:
    """Parameters of a layer and of everything above it: all but those of the layers in front and their norms."""
    groups = find_filters(model)
    below = groups[: [each.layer for each in groups].index(group.layer)]
    frozen = {parameter for each in below for module in (each.layer, *each.norms) for parameter in module.parameters()}
    return [parameter for parameter in model.parameters() if parameter not in frozen]


@contextmanager
def only_trained(model: nn.Module, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside, only ``parameters`` ask for gradients, of those that did; afterwards each asks as before."""
    chosen = set(parameters)
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    for parameter, asked in before.items():
        parameter.requires_grad_(asked and parameter in chosen)
    try:
        yield
    finally:
        for parameter, asked in before.items():
            parameter.requires_grad_(asked)
