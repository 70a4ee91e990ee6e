# SPDX-License-Identifier: Apache-2.0
"""Keep a network close to the one it was made from, by its logits. Called by the methods that train masks."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.step import cross_entropy


@dataclass(frozen=True, slots=True)
class Distillation:
    """``weight`` (beta) of the loss, 0 or more, and ``temperature`` (T) above 0.

    Xu et al. (CVPR 2019) show that distilling from the main network steadies the training of masks; form and
    coefficient could not be found and their released code has none: KL with T = 1 and beta = 1 are inferred
    (methods.md 1.3 and 1.5).
    """

    weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0 or self.temperature <= 0:
            raise PicobnnError(
                ErrorId.PRUNING, f"weight {self.weight}, temperature {self.temperature}.", where="distillation",
                remedy="Give a weight of 0 or more and a temperature above 0.",
            )  # fmt: skip


DEFAULT_DISTILLATION = Distillation()


def distillation_loss(logits: Tensor, main_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``T**2 * KL(softmax(main / T) || softmax(logits / T))``, batch mean, a float32 scalar; 0 for equal logits.

    logits, main_logits: float (N, classes). The factor T**2 keeps the gradient's size (Hinton et al., 1503.02531).
    """
    ours = functional.log_softmax(logits.float() / temperature, dim=1)
    main = functional.log_softmax(main_logits.float() / temperature, dim=1)
    return functional.kl_div(ours, main, reduction="batchmean", log_target=True) * temperature**2


class Teacher:
    """A frozen copy of the network as it is now.

    Its logits come from train mode, that is from the batch's own statistics, as the student's do: eval mode has
    integers, and a student that changed nothing is at distance exactly 0. (Not so where the student's gated layer
    normalizes with fixed statistics, the default of gates.)
    """

    def __init__(self, model: nn.Module) -> None:
        self._main = deepcopy(model).train().requires_grad_(False)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """(N, classes) float, without a graph."""
        result: Tensor = self._main.to(images.device)(images)
        return result.float()


class Distilled:
    """An objective: the task, and the distance from the logits of ``main``, which is copied as it is now and frozen.

    ``loss = cross entropy + weight * distance``. For training any network beside a better one; the release of SBNN
    trains on ImageNet like that (methods.md 3.5, "knowledge distillation").
    """

    def __init__(self, main: nn.Module, distillation: Distillation = DEFAULT_DISTILLATION) -> None:
        self._teacher = Teacher(main)
        self._distillation = distillation

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and logits."""
        loss, logits = cross_entropy(model, images, labels)
        distance = distillation_loss(logits, self._teacher.logits(images), self._distillation.temperature)
        return loss + self._distillation.weight * distance, logits
