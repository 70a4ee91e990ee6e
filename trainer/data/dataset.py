# SPDX-License-Identifier: Apache-2.0
"""What a data set is: three splits of uint8 images with labels, and a record that says where they come from.

Invariant: images are uint8 (N, H, W, C), labels int64 (N,) below the number of classes. The test split is for the
last number only; choices are made on the validation split. Made by the modules beside this one, used by fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.errors import ErrorId, PicobnnError


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Facts known without loading. ``shape`` is (H, W, C); ``licence`` and ``source`` are for reports."""

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    licence: str
    source: str
    split: str


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Images uint8 (N, H, W, C) with labels int64 (N,)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: npt.NDArray[np.int64] | slice) -> Split:
        """The images and labels at ``index``."""
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Three splits that share no image. Raises DATA_FORMAT when a split breaks the invariant above."""

    info: DatasetInfo
    train: Split
    val: Split
    test: Split

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.info.classes

    @property
    def licence(self) -> str:
        return self.info.licence

    def __post_init__(self) -> None:
        for part, split in (("train", self.train), ("val", self.val), ("test", self.test)):
            where = f"{self.info.name} ({part})"
            if split.images.dtype != np.uint8 or split.images.shape != (len(split), *self.info.shape):
                raise PicobnnError(
                    ErrorId.DATA_FORMAT,
                    f"Images are {split.images.dtype} {split.images.shape}, labels {split.labels.shape}.",
                    where=where,
                    remedy=f"Expected uint8 images of shape (N, {', '.join(map(str, self.info.shape))}) and N labels.",
                )
            if len(split) and not 0 <= int(split.labels.min()) <= int(split.labels.max()) < len(self.info.classes):
                raise PicobnnError(
                    ErrorId.DATA_FORMAT,
                    f"Labels run from {split.labels.min()} to {split.labels.max()}.",
                    where=where,
                    remedy=f"There are {len(self.info.classes)} classes, numbered from 0.",
                )
