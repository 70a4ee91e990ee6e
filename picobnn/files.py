# SPDX-License-Identifier: Apache-2.0
"""Write files so that a reader never sees half of one: to a temporary name beside the target, then rename.

Bottom of the house, like ``errors.py``: every room may use it.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from picobnn.errors import ErrorId, PicobnnError


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all; makes missing folders. Raises E_FILE_UNWRITABLE."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable("file", path, error) from None


def make_folder(path: Path) -> None:
    """Make a folder and those above it; nothing happens where it is. Raises E_FILE_UNWRITABLE."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable("folder", path, error) from None


def _unwritable(kind: str, path: Path, error: OSError) -> PicobnnError:
    return PicobnnError(
        ErrorId.FILE_UNWRITABLE,
        f"the {kind} cannot be written ({error.strerror or error}).",
        where=str(path),
        remedy="Check the folder's permissions and free space.",
    )


def write_text(path: Path, text: str) -> None:
    """UTF-8 form of :func:`write_bytes`, newlines as they are."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Canonical JSON: sorted keys, two spaces, a newline at the end."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_bytes(path: Path, *, remedy: str, at_most: int = -1) -> bytes:
    """The whole file, or its first ``at_most`` bytes. Raises E_FILE_MISSING with ``remedy``."""
    try:
        with path.open("rb") as stream:
            return stream.read(at_most)
    except OSError as error:
        raise PicobnnError(
            ErrorId.FILE_MISSING, f"the file cannot be read ({error.strerror}).", where=str(path), remedy=remedy
        ) from None
