# SPDX-License-Identifier: Apache-2.0
"""Margin-aware binarization: a pull of every latent weight towards its binary value while the network trains.

Xu, Yang, Zhang, Liu, "Margin-aware binarized weight networks" (ICIG 2017). Only the abstract could be read: it proposes
deterministic binarization with a "Binary-L2 regularization" that minimises the margins between latent weights and the
boundaries. The formula, its coefficient and its schedule are inferred (methods.md 4.2, 4.3). Nothing leaves the
network, and inference costs what it did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.estimators import drawn_sign_ste, hard_sign, sign_ste
from picobnn.trainer.fit import StepCallback, StepRecord
from picobnn.trainer.layers import BinaryWeightLayer
from picobnn.trainer.models import Network, valued_layers
from picobnn.trainer.pruning.general_domain import MET_WITHIN, Ones, share_of_ones
from picobnn.trainer.pruning.margins import measure_margins
from picobnn.trainer.pruning.method import finish_masked, first_image
from picobnn.trainer.pruning.report import PruningReport
from picobnn.trainer.pruning.statistics import reestimate_norms
from picobnn.trainer.pruning.training import Training

DEFAULT_LAM = 0.03
"""Inferred: the source's coefficient was not found."""
RAMP_SHARE = 0.5
"""Part of the steps over which the coefficient rises: lam * min(1, t / (T / 2)) (methods.md 4.3, inferred)."""

_SMALLEST = 1e-12  # a layer of zeros stays one


class Form(Enum):
    """R(w) for w in [-1, 1], all three inferred (methods.md 4.2); A fits the words margin, L2 and binary best."""

    A = "a"
    """1/2 (1 - |w|)^2, the squared distance to the binary weight: strongest at 0, where it jumps."""
    B = "b"
    """1/2 (1 - w^2), weight decay with its sign turned: nothing at 0, strongest at the clip."""
    C = "c"
    """1/4 (1 - w^2)^2, a double well: nothing at 0 nor at the ends."""


class Binarization(Enum):
    """How train mode makes signs. ``STOCHASTIC``: drawn with the hard sigmoid, BinaryConnect's second form."""

    DETERMINISTIC = "deterministic"
    STOCHASTIC = "stochastic"


def regularizer(form: Form, weight: Tensor) -> Tensor:
    """R(w), summed over the weights; a scalar with its graph."""
    if form is Form.A:
        return (1 - weight.abs()).square().sum() / 2
    if form is Form.B:
        return (1 - weight.square()).sum() / 2
    return (1 - weight.square()).square().sum() / 4


def slope(form: Form, weight: Tensor) -> Tensor:
    """dR/dw per weight, without a graph; at 0 form A pulls to +1, the sign of 0."""
    weight = weight.detach()
    if form is Form.A:
        return weight - hard_sign(weight)
    return -weight if form is Form.B else -weight * (1 - weight.square())


class MarginPull:
    """The step callback: ``w <- clip(w - lr * lam_t * dR/dw, -1, 1)`` for every binary weight tensor, first and last
    layer included, after Adam's step and outside its normalisation (decoupled, as AdamW decays; inferred).

    ``ready``: the pull acts only after steps behind which this holds, after every step where None.
    ``ramp``: lam_t rises from 0 with each step that the pull acts after, over half as many as are left at the first of
    them; else it is lam at once.
    """

    def __init__(
        self,
        form: Form = Form.A,
        lam: float = DEFAULT_LAM,
        *,
        ramp: bool = True,
        ready: Callable[[Network], bool] | None = None,
    ) -> None:
        if lam < 0:
            raise PicobnnError(
                ErrorId.PRUNING, f"a margin coefficient of {lam}.", where="binary-l2", remedy="Give 0 or more."
            )
        self._form = form
        self._lam = lam
        self._ramp = ramp
        self._ready = ready
        self._rise = 0.0
        self._acted = 0
        self.coefficient = 0.0
        """lam_t of the last step, 0 where the pull did not act."""

    @torch.no_grad()
    def __call__(self, model: Network, place: StepRecord) -> None:
        if place.step == 0:
            self._acted = 0
        self.coefficient = 0.0
        if self._ready is not None and not self._ready(model):
            return
        if self._acted == 0:
            self._rise = (place.steps - place.step) * RAMP_SHARE
        self.coefficient = self._lam * min(1.0, self._acted / self._rise) if self._ramp else self._lam
        self._acted += 1
        if self.coefficient == 0:
            return
        for layer in model.modules():
            if isinstance(layer, BinaryWeightLayer):
                rate = place.learning_rate * self.coefficient
                layer.weight.sub_(slope(self._form, layer.weight), alpha=rate).clamp_(-1, 1)


def count_is_met(goal: Ones) -> Callable[[Network], bool]:
    """For :class:`MarginPull` inside :class:`GeneralDomain`: whether few enough weights are ones.

    Weights must cross 0 to meet the constraint, and a strong pull of form A keeps them from it, hence a ramp once it is
    met (methods.md 5, inferred). The constraint may be lost again: the pull then waits until it holds anew, so that
    pull and penalty, which switches off at the same distance, take turns. A projection keeps it from its ramp's end on.
    """

    def met(model: Network) -> bool:
        share = share_of_ones([layer.weight.detach() for layer in valued_layers(model)])
        return float(share) <= goal.share + MET_WITHIN

    return met


class BinaryL2:
    """Train with the pull. Its goal is None: nothing is removed.

    ``lam = 0`` is plain training, bit for bit, the deterministic baseline; with ``STOCHASTIC`` it is the other one.
    ``after_step``: what else the training does after each step, for combinations. Inside :class:`GeneralDomain` use
    ``GeneralDomain(after_step=[MarginPull(ready=count_is_met(goal))])``.
    """

    name: ClassVar[str] = "binary-l2"

    def __init__(
        self,
        form: Form = Form.A,
        lam: float = DEFAULT_LAM,
        *,
        ramp: bool = True,
        binarization: Binarization = Binarization.DETERMINISTIC,
        after_step: Sequence[StepCallback] = (),
    ) -> None:
        self._pull = MarginPull(form, lam, ramp=ramp)
        self._binarization = binarization
        self._after_step = after_step

    def prepare(self, model: nn.Module) -> None:
        """Set how train mode makes signs. For drawn ones, scale every layer's latent weights so that the largest has
        magnitude 1 (inferred): near 0, where picobnn's start, draws are coin tosses and nothing is learned.

        PRUNING error for a network without binary weights.
        """
        layers = _binary_layers(model)
        if not layers:
            raise PicobnnError(
                ErrorId.PRUNING, "there are no binary weights.", where=type(model).__name__,
                remedy="Use a network of picobnn.trainer.models, not its float twin.",
            )  # fmt: skip
        for layer in layers:
            layer.train_binarizer = sign_ste
            if self._binarization is Binarization.STOCHASTIC:
                layer.train_binarizer = drawn_sign_ste
                layer.weight.data /= layer.weight.detach().abs().max().clamp_min(_SMALLEST)

    def run(self, model: nn.Module, goal: None, training: Training) -> None:  # noqa: ARG002
        """Train with the options of ``training``. Drawn signs gave other statistics than eval mode meets: they are
        estimated anew with the signs of the latent weights (inferred; epochs' validation figures lack this)."""
        self._image = first_image(training.batches)
        training.fit(model, after_step=(*self._after_step, self._pull))
        if self._binarization is Binarization.STOCHASTIC:
            for layer in _binary_layers(model):
                layer.train_binarizer = sign_ste
            reestimate_norms(model, training.batches)

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        """A copy, compacted where masks of an earlier method remove channels, with the margins in the report."""
        small, report = finish_masked(self.name, deepcopy(model), self._image)
        return small, replace(report, margins=measure_margins(small))


def _binary_layers(model: nn.Module) -> list[BinaryWeightLayer]:
    return [layer for layer in model.modules() if isinstance(layer, BinaryWeightLayer)]
