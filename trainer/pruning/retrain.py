# SPDX-License-Identifier: Apache-2.0
"""What pruning needs of the trainer: training images to score filters on, and ``fit`` as the step between rounds.

Invariant: only ``dataset.train`` is scored; validation and test images have no part in choosing filters. Called by
the ``prune`` verb, the demo and ``bench/pruning.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import Dataset
from picobnn.trainer.evaluate import images_tensor
from picobnn.trainer.fit import EpochCallback, FitOptions, fit
from picobnn.trainer.models import Network
from picobnn.trainer.pruning.schedule import Retrain

SCORED_IMAGES = 2048


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


def retrain_with(dataset: Dataset, options: FitOptions, *, on_epoch: Sequence[EpochCallback] = ()) -> Retrain:
    """A retraining step that fits the compacted network; round n uses ``options.seed + n``.

    A checkpoint file in ``options`` gets the round's number into its name.
    """

    def retrain(model: nn.Module, number: int) -> nn.Module:
        if not isinstance(model, Network):
            raise PicobnnError(
                ErrorId.PRUNING, f"{type(model).__name__} is no picobnn network.", where="retraining",
                remedy="Retrain it with a function of your own.",
            )  # fmt: skip
        path = options.checkpoint
        round_path = None if path is None else path.with_name(f"{path.stem}-round{number}{path.suffix}")
        fit(model, dataset, replace(options, seed=options.seed + number, checkpoint=round_path), on_epoch=on_epoch)
        return model

    return retrain
