# SPDX-License-Identifier: Apache-2.0
"""The 1,797 handwritten 8x8 digits that ship with picobnn (``digits.npz``).

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
doi:10.24432/C50P49, licence CC BY 4.0; this is its test part, as scikit-learn's ``load_digits`` distributes it.
Changed here: stored as uint8, 0..16 ink counts as ``min(16 * count, 255)`` so that 128 is the middle of the range.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from picobnn.trainer.data.dataset import Dataset, DatasetInfo, Split
from picobnn.trainer.data.readers import read_npz

INFO = DatasetInfo(
    name="digits",
    title="Optical Recognition of Handwritten Digits",
    shape=(8, 8, 1),
    classes=tuple("0123456789"),
    licence="CC BY 4.0",
    source="https://doi.org/10.24432/C50P49",
    split="of each class, every fifth image is test, every tenth validation; writers are shared between the splits",
)

_FILE = "digits.npz"


def find_folder(root: Path | None = None) -> Path | None:
    """The folder that holds ``digits.npz``: ``root``, or without it this package."""
    folder = Path(__file__).parent if root is None else root
    return folder if (folder / _FILE).is_file() else None


def fetch(folder: Path | None = None) -> Path:  # noqa: ARG001
    """This package's folder: the digits ship with it, nothing is fetched."""
    return Path(__file__).parent


def load(root: Path | None = None) -> Dataset:
    """1,257 training, 185 validation and 355 test images, 8x8x1. ``root`` may hold another ``digits.npz``."""
    path = (Path(__file__).parent if root is None else root) / _FILE
    counts, labels = read_npz(path, ("images", "labels"))
    images = np.minimum(counts.astype(np.uint16) * 16, 255).astype(np.uint8)[..., None]
    everything = Split(images, labels.astype(np.int64))
    rank = np.zeros(len(labels), np.int64)  # how many images of the same class came before
    for digit in range(len(INFO.classes)):
        members = np.flatnonzero(everything.labels == digit)
        rank[members] = np.arange(len(members))
    test, val = rank % 5 == 4, rank % 10 == 0
    train = ~(test | val)
    return Dataset(INFO, *(everything.take(np.flatnonzero(part)) for part in (train, val, test)))
