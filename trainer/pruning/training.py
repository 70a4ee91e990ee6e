# SPDX-License-Identifier: Apache-2.0
"""What a pruning method may learn from: training images to score on and, for methods that train, ``fit``.

Invariant: only the training split is scored or trained on; validation and test images have no part in a decision.
Called by the methods, the ``prune`` verb and the benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import Dataset
from picobnn.trainer.evaluate import images_tensor
from picobnn.trainer.fit import FitOptions, FitResult, StepCallback, fit
from picobnn.trainer.models import Network
from picobnn.trainer.step import Objective, cross_entropy

Batches = Iterable[tuple[Tensor, Tensor]]
"""Training images uint8 (N, C, H, W) and labels int64 (N,); may be gone through more than once."""

SCORED_IMAGES = 2048


@dataclass(frozen=True, slots=True)
class Training:
    """``batches``: images to score on. ``dataset`` and ``options``: what ``fit`` trains with; None where a caller only
    scores. ``objective``: what networks are trained for, :class:`Distilled` for example; a method adds to it what is
    its own."""

    batches: Batches
    dataset: Dataset | None = None
    options: FitOptions | None = None
    objective: Objective = cross_entropy

    @property
    def seed(self) -> int:
        """What a method's own draws start from: the seed of the options, 0 where a caller only scores."""
        return 0 if self.options is None else self.options.seed

    def fit(
        self,
        model: nn.Module,
        *,
        objective: Objective | None = None,
        after_step: Sequence[StepCallback] = (),
        **changes: Any,
    ) -> FitResult:
        """Train ``model`` in place with the options, ``changes`` (fields of :class:`FitOptions`) laid over them, for
        ``objective`` or else the one that was given.

        Raises PRUNING without a data set, for a model that is no picobnn network, and for options that ask to resume:
        what a method remembers between steps is in no file. Else it raises what ``fit`` raises.
        """
        if self.dataset is None or self.options is None:
            raise PicobnnError(
                ErrorId.PRUNING, "this method trains and was given no data set.", where="pruning",
                remedy="Use training_on(dataset, options).",
            )  # fmt: skip
        if not isinstance(model, Network):
            raise PicobnnError(
                ErrorId.PRUNING, f"{type(model).__name__} is no picobnn network.", where="pruning",
                remedy="Use a network of picobnn.trainer.models, or a method that only scores.",
            )  # fmt: skip
        if self.options.resume:
            raise PicobnnError(
                ErrorId.PRUNING, "the training of a pruning method cannot be resumed.", where="pruning",
                remedy="Start it anew: leave resume out.",
            )  # fmt: skip
        options = replace(self.options, **changes)
        wanted = self.objective if objective is None else objective
        return fit(model, self.dataset, options, objective=wanted, after_step=after_step)


def training_on(
    dataset: Dataset, options: FitOptions, *, images: int = SCORED_IMAGES, objective: Objective = cross_entropy
) -> Training:
    """Everything a method may ask for: ``images`` random training images to score on, and training on ``dataset``."""
    batches = training_batches(dataset, images=images, batch_size=options.batch_size, seed=options.seed)
    return Training(batches, dataset, options, objective)


def training_batches(
    dataset: Dataset, *, images: int = SCORED_IMAGES, batch_size: int = 128, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """Random training images (N, C, H, W) uint8 with labels, ``images`` of them or all there are."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(dataset.train), generator=generator)[:images].numpy()
    part = dataset.train.take(order)
    return list(
        zip(images_tensor(part.images).split(batch_size), torch.from_numpy(part.labels).split(batch_size), strict=True)
    )
