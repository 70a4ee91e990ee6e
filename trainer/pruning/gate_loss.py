# SPDX-License-Identifier: Apache-2.0
"""What the gates of one layer minimise: task, regularizer and distance from the main network. Called by ``gates``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from picobnn.trainer.pruning.distillation import DEFAULT_DISTILLATION, Distillation, Teacher, distillation_loss
from picobnn.trainer.pruning.structure import FilterGroup
from picobnn.trainer.step import Objective, cross_entropy


class Regularizer(Enum):
    """R(m) (methods.md 1.3, from the history of the authors' code).

    KEPT: sum |sign(m) + 1|, gradient 1 on gates that keep and 0 on others: counts filters (2019-03-07 with d = 1).
    L1: sum |m|, pulls to 0 from both sides (2019-04-14; within the window also the gradient of 2019-03-07, d = 0).
    L0: the number of gates that are not 0, without any gradient (2019-07-12, the release). NONE: 0.
    """

    KEPT = "kept"
    L1 = "l1"
    L0 = "l0"
    NONE = "none"

    def __call__(self, m: Tensor) -> Tensor:
        """R of the gates m (O,), a scalar with its surrogate gradient."""
        if self is Regularizer.KEPT:
            kept: Tensor = _KeptCount.apply(m)
            return kept
        if self is Regularizer.L1:
            return m.abs().sum()
        return (m != 0).sum().to(m.dtype) if self is Regularizer.L0 else m.new_zeros(())


class _KeptCount(torch.autograd.Function):
    """sum |sign(m) + 1| = 2 per kept filter; the gradient to a kept m is that of sign, 1 where |m| < 1."""

    @staticmethod
    def forward(ctx: Any, m: Tensor) -> Tensor:
        ctx.save_for_backward(m)
        return 2 * (m > 0).sum().to(m.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (m,) = ctx.saved_tensors
        return grad * ((m > 0) & (m < 1))


class Statistics(Enum):
    """What the batch norm behind the gated layer normalizes with while gates train.

    BATCH: the batch, as in the release. A filter's scale then has no effect but through the norm's epsilon: the
    derivative at a kept gate is epsilon / variance of that at a deleted one. The release has filters scaled by
    mean |W| and epsilon 1e-4; with -1/+1 weights what is left lies far below float32's rounding (seen on digits: 1e-11
    under noise of 1e-8), so that kept gates move at random.
    FIXED (inferred): the main network's running statistics, as constants. A deleted filter is then the constant
    sign(beta - gamma * mean / deviation), and the derivative has one scale on both sides.
    """

    BATCH = "batch"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class GateLoss:
    """``J = task + alpha * R(m) + beta * distillation + decay / 2 * |m|**2``.

    ``alpha``: per filter, 0 or more. ``decay``: Adam's L2 weight decay of the release, 1e-5 also on m. ``distillation``
    None: off, as in the release.
    """

    regularizer: Regularizer = Regularizer.KEPT
    alpha: float = 1e-6
    decay: float = 1e-5
    distillation: Distillation | None = DEFAULT_DISTILLATION
    statistics: Statistics = Statistics.FIXED


class GateObjective:
    """The loss of the gates ``m`` of ``group``; ``main`` is the network as it was before they were put in.

    ``task``: what the training is for; where gates have a teacher of their own, the cross entropy takes its place."""

    def __init__(
        self, loss: GateLoss, group: FilterGroup, m: Tensor, main: nn.Module, task: Objective = cross_entropy
    ) -> None:
        self._loss = loss
        self._group = group
        self._m = m
        has_teacher = loss.distillation is not None and loss.distillation.weight > 0
        self._task = cross_entropy if has_teacher else task
        self._teacher = Teacher(main) if has_teacher else None

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and logits of a batch."""
        if self._loss.statistics is Statistics.FIXED:
            for norm in self._group.norms:
                norm.eval()
        value, logits = self._task(model, images, labels)
        value = value + self._loss.alpha * self._loss.regularizer(self._m)
        value = value + self._loss.decay / 2 * self._m.square().sum()
        if self._teacher is not None and self._loss.distillation is not None:
            distill = self._loss.distillation
            distance = distillation_loss(logits, self._teacher.logits(images), distill.temperature)
            value = value + distill.weight * distance
        return value, logits
