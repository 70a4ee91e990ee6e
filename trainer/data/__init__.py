# SPDX-License-Identifier: Apache-2.0
"""Data sets, one per file, and the table of their names."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import digits, fmnist
from picobnn.trainer.data.dataset import Dataset, DatasetInfo, Split
from picobnn.trainer.data.readers import read_idx, read_npz

_MODULES: dict[str, ModuleType] = {module.INFO.name: module for module in (digits, fmnist)}

DATASETS: tuple[str, ...] = tuple(sorted(_MODULES))
"""Names that :func:`load_dataset` takes."""


def _module(name: str) -> ModuleType:
    if name not in _MODULES:
        raise PicobnnError(
            ErrorId.CONFIG_VALUE,
            f"There is no data set {name!r}.",
            where="data set name",
            remedy=f"Choose one of: {', '.join(DATASETS)}.",
        )
    return _MODULES[name]


def load_dataset(name: str, root: Path | None = None) -> Dataset:
    """The data set called ``name``, from ``root`` or from where it is usually found; never from the network.

    Raises CONFIG_VALUE for an unknown name, DATA_MISSING with the command that gets the files, DATA_FORMAT.
    """
    dataset: Dataset = _module(name).load(root)
    return dataset


def dataset_info(name: str) -> DatasetInfo:
    """Facts about a data set, without loading it. Raises CONFIG_VALUE."""
    info: DatasetInfo = _module(name).INFO
    return info


def dataset_folder(name: str, root: Path | None = None) -> Path | None:
    """Where the files of a data set lie, or None when they are missing. Raises CONFIG_VALUE."""
    folder: Path | None = _module(name).find_folder(root)
    return folder


def fetch_dataset(name: str, folder: Path | None = None) -> Path:
    """Make a data set available, from the network if need be, and return its folder.

    Raises CONFIG_VALUE, DATA_MISSING (no network), DATA_CHECKSUM.
    """
    present = dataset_folder(name, folder)
    if present is not None:
        return present
    fetched: Path = _module(name).fetch(folder)
    return fetched


__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetInfo",
    "Split",
    "dataset_folder",
    "dataset_info",
    "fetch_dataset",
    "load_dataset",
    "read_idx",
    "read_npz",
]
