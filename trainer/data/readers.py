# SPDX-License-Identifier: Apache-2.0
"""Readers of idx files (plain or gzip) and npz files. A file is checked before memory is taken for it.

Called by the data sets beside this module.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picobnn.errors import ErrorId, PicobnnError

_IDX_UINT8 = 0x08
_MAX_BYTES = 2**31

# What zipfile, zlib and numpy's header parser raise on damaged archives.
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, RuntimeError, SyntaxError, TypeError,
)  # fmt: skip


def _format_error(path: Path, what: str) -> PicobnnError:
    return PicobnnError(
        ErrorId.DATA_FORMAT, what, where=str(path), remedy="Fetch or copy the file again; it may be incomplete."
    )


def _require(path: Path) -> None:
    if not path.is_file():
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            "There is no such file.",
            where=str(path),
            remedy="Check the folder given for the data.",
        )


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The uint8 array in an idx file; a name that ends in ``.gz`` is decompressed. Raises FILE_MISSING, DATA_FORMAT.

    Format: 0x0000, type byte, number of dimensions, each dimension as big-endian u32, data in C order.
    """
    _require(path)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0":
                raise _format_error(path, "This is not an idx file.")
            kind, dimensions = head[2], head[3]
            if kind != _IDX_UINT8 or not 1 <= dimensions <= 4:
                raise _format_error(path, f"The idx file has type 0x{kind:02x}, {dimensions} dimensions, not bytes.")
            sizes = file.read(4 * dimensions)
            if len(sizes) < 4 * dimensions:
                raise _format_error(path, "The idx header is cut short.")
            shape = struct.unpack(f">{dimensions}I", sizes)
            count = math.prod(shape)
            if count > _MAX_BYTES:
                raise _format_error(path, f"The idx header announces {count} bytes.")
            data = file.read(count + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _format_error(path, f"The gzip stream is damaged ({error}).") from error
    if len(data) != count:
        raise _format_error(path, f"The idx header announces {count} bytes, the file has {len(data)} or more.")
    return np.frombuffer(data, np.uint8).reshape(shape).copy()


def read_npz(path: Path, keys: tuple[str, ...]) -> tuple[npt.NDArray[np.generic], ...]:
    """The arrays named ``keys`` of an npz file, without pickle. Raises FILE_MISSING, DATA_FORMAT."""
    _require(path)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file):
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            for key in keys:
                if key not in archive.files:
                    raise _format_error(path, f"There is no array {key!r}; the file has {archive.files}.")
            return tuple(archive[key] for key in keys)
    except (
        zipfile.BadZipFile,
        ValueError,
        OSError,
        EOFError,
        zlib.error,
        RuntimeError,
        SyntaxError,
        TypeError,
    ) as error:
        raise _format_error(path, f"The npz file cannot be read ({error}).") from error
