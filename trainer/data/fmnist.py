# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST: 70,000 28x28 grey images of clothes, read from its four idx files.

The files come from Debian's package ``dataset-fashion-mnist``, from a folder of the user's, or are fetched from the
authors' repository and checked (over the decompressed bytes, since mirrors compress differently).
Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST" (arXiv 1708.07747), licence MIT, (c) 2017 Zalando SE.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import urllib.request
import zlib
from pathlib import Path

import numpy as np

from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import make_folder, write_bytes
from picobnn.trainer.data.dataset import Dataset, DatasetInfo, Split
from picobnn.trainer.data.readers import read_idx

INFO = DatasetInfo(
    name="fmnist",
    title="Fashion-MNIST",
    shape=(28, 28, 1),
    classes=("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    licence="MIT",
    source="https://github.com/zalandoresearch/fashion-mnist",
    split="the last 5,000 of the 60,000 training images are validation; the official 10,000 are test",
)

FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of each file, decompressed."""

URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FOLDER_VARIABLE = "PICOBNN_DATA"
VALIDATION_IMAGES = 5_000
_TIMEOUT_SECONDS = 60


def cache_folder() -> Path:
    """Where fetched files go: ``$PICOBNN_DATA/fashion-mnist``, else under the user's cache folder."""
    if FOLDER_VARIABLE in os.environ:
        return Path(os.environ[FOLDER_VARIABLE]) / "fashion-mnist"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "picobnn" / "fashion-mnist"


def _file_in(folder: Path, name: str) -> Path | None:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def find_folder(root: Path | None = None) -> Path | None:
    """The folder with all four files: ``root`` or its ``fashion-mnist``; without ``root`` the cache, then Debian's."""
    candidates = (cache_folder(), DEBIAN_FOLDER) if root is None else (root, root / "fashion-mnist")
    for folder in candidates:
        if all(_file_in(folder, name) is not None for name in FILES):
            return folder
    return None


def load(root: Path | None = None) -> Dataset:
    """55,000 training, 5,000 validation and 10,000 test images, 28x28x1. Raises DATA_MISSING, DATA_FORMAT."""
    folder = find_folder(root)
    if folder is None:
        raise PicobnnError(
            ErrorId.DATA_MISSING,
            "The idx files of Fashion-MNIST are not there.",
            where=str(root) if root is not None else INFO.name,
            remedy="Run `apt-get install dataset-fashion-mnist` (Debian, Ubuntu) or `picobnn data get fmnist`, "
            f"or set {FOLDER_VARIABLE} to the folder above fashion-mnist/.",
        )
    arrays = [read_idx(path) for name in FILES if (path := _file_in(folder, name)) is not None]
    train_images, train_labels, test_images, test_labels = arrays
    train = Split(train_images[..., None], train_labels.astype(np.int64))
    cut = len(train) - VALIDATION_IMAGES
    test = Split(test_images[..., None], test_labels.astype(np.int64))
    return Dataset(INFO, train.take(slice(0, cut)), train.take(slice(cut, None)), test)


def fetch(folder: Path | None = None) -> Path:
    """Download the four files into ``folder`` (default :func:`cache_folder`), check them, return the folder.

    A file appears only after its checksum agreed. Raises DATA_MISSING without network, DATA_CHECKSUM,
    FILE_UNWRITABLE.
    """
    target = cache_folder() if folder is None else folder
    make_folder(target)
    for name, checksum in FILES.items():
        if _file_in(target, name) is None:
            write_bytes(target / f"{name}.gz", _download(f"{URL}{name}.gz", checksum))
    return target


def _download(url: str, checksum: str) -> bytes:
    """The packed file, whose content has the SHA-256 ``checksum``."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            packed: bytes = answer.read()
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        raise PicobnnError(
            ErrorId.DATA_MISSING,
            f"The download failed: {str(error) or type(error).__name__}.",
            where=url,
            remedy="Run `apt-get install dataset-fashion-mnist`, or copy the four idx files into a folder and name it.",
        ) from error
    try:
        found = hashlib.sha256(gzip.decompress(packed)).hexdigest()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        found = f"not a gzip stream ({error})"
    if found != checksum:
        raise PicobnnError(
            ErrorId.DATA_CHECKSUM,
            f"SHA-256 is {found}, expected {checksum}.",
            where=url,
            remedy="Try again; if it persists, take the files from the Debian package.",
        )
    return packed
