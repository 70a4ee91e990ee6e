# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: images with their labels and the reference's outputs, stored beside a program as ``golden.npz``."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import read_bytes, write_bytes

# What zipfile, zlib and numpy's header parser raise on damaged archives.
_ARCHIVE_ERRORS = (
    ValueError, KeyError, OSError, EOFError, TypeError, AttributeError, RuntimeError, SyntaxError, MemoryError,
    OverflowError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """images: uint8 (N, H, W, C); labels: int64 (N,), -1 where unknown; logits: int32 (N, classes)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Vectors:
        return Vectors(self.images[:count], self.labels[:count], self.logits[:count])


def write_vectors(path: Path, vectors: Vectors) -> None:
    """Store the vectors. The same vectors give the same bytes (no time stamp in the archive)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("images", "labels", "logits"):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(getattr(vectors, name)), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue())
    write_bytes(path, buffer.getvalue())


def read_vectors(path: Path) -> Vectors:
    """Read ``golden.npz``. Raises E_FILE_MISSING or E_DATA_FORMAT."""
    data = read_bytes(path, remedy="Run 'picobnn export' first; it writes golden.npz beside model.bnn.")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            vectors = Vectors(archive["images"], archive["labels"], archive["logits"])
    except _ARCHIVE_ERRORS as error:
        raise _bad_format(path, f"{type(error).__name__}: {error}") from None
    kinds = [str(array.dtype) for array in (vectors.images, vectors.labels, vectors.logits)]
    ranks = (vectors.images.ndim, vectors.labels.ndim, vectors.logits.ndim)
    lengths = {len(vectors.images), len(vectors.labels), len(vectors.logits)}
    if kinds != ["uint8", "int64", "int32"] or ranks != (4, 1, 2) or len(lengths) != 1 or not len(vectors):
        raise _bad_format(path, "arrays of unexpected type, rank or length")
    return vectors


def _bad_format(path: Path, why: str) -> PicobnnError:
    return PicobnnError(
        ErrorId.DATA_FORMAT,
        f"not a file of golden vectors ({why}).",
        where=str(path),
        remedy="Write it again with 'picobnn export'.",
    )
