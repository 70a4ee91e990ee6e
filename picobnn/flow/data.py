# SPDX-License-Identifier: Apache-2.0
"""Data sets: which there are, where their files lie, and fetching them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """One data set. ``folder`` is None when its files are missing."""

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: int
    licence: str
    source: str
    split: str
    folder: str | None


@dataclass(frozen=True, slots=True)
class DataResult:
    """The data sets asked for."""

    datasets: tuple[DatasetFacts, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"datasets": [asdict(facts) for facts in self.datasets]}


def data_list(root: Path | None = None) -> DataResult:
    """All data sets."""
    from picobnn.trainer.data import DATASETS

    return DataResult(tuple(_facts(name, root) for name in DATASETS))


def data_info(name: str, root: Path | None = None) -> DataResult:
    """One data set. Raises E_CONFIG_VALUE for an unknown name."""
    return DataResult((_facts(name, root),))


def data_get(name: str, root: Path | None = None) -> DataResult:
    """Make a data set available. Raises E_DATA_MISSING without a network, E_DATA_CHECKSUM for a damaged file."""
    from picobnn.trainer.data import fetch_dataset

    fetch_dataset(name, root)
    return data_info(name, root)


def _facts(name: str, root: Path | None) -> DatasetFacts:
    from picobnn.trainer.data import dataset_folder, dataset_info

    info = dataset_info(name)
    folder = dataset_folder(name, root)
    return DatasetFacts(
        info.name,
        info.title,
        info.shape,
        len(info.classes),
        info.licence,
        info.source,
        info.split,
        None if folder is None else str(folder),
    )
