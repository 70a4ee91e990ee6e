# SPDX-License-Identifier: Apache-2.0
"""Compiles the block counting plugin for QEMU with the host's C compiler.

Invariant: the shared object's name holds the hash of its sources and flags, so a cached file is the right one.
Called by whoever starts an emulator that should count.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from importlib import resources
from pathlib import Path

from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.cycles.flash import FlashLines
from picobnn.toolchain import find_tool, run_tool

SOURCES = ("block_edges.c", "qemu_plugin_abi.h")
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden")
DEFAULT_MARK = "picobnn_harness_mark"


def build_plugin(cache_dir: Path) -> Path:
    """Path of the compiled plugin in ``cache_dir`` (made if it does not exist); compiles only once per source.

    Raises E_TOOL_MISSING without a C compiler, E_TOOL_FAILED with its message where it fails, E_FILE_UNWRITABLE.
    """
    folder = resources.files("picobnn.sim.cycles") / "plugin"
    sources = {name: (folder / name).read_bytes() for name in SOURCES}
    digest = hashlib.sha256()
    for part in (*(flag.encode() for flag in FLAGS), *sources.values()):
        digest.update(len(part).to_bytes(8, "little") + part)
    plugin = cache_dir / f"block_edges-{digest.hexdigest()[:16]}.so"
    if plugin.is_file():
        return plugin
    find_tool("cc")
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir) as scratch:
            work = Path(scratch)
            for name, text in sources.items():
                (work / name).write_bytes(text)
            run_tool(["cc", *FLAGS, "-o", "plugin.so", "block_edges.c"], where="counting plugin", cwd=work)
            os.replace(work / "plugin.so", plugin)
    except OSError as error:
        raise PicobnnError(
            ErrorId.FILE_UNWRITABLE,
            f"cannot be written ({error.strerror}).",
            where=str(cache_dir),
            remedy="Choose another folder.",
        ) from error
    return plugin


def plugin_argument(plugin: Path, out: Path, mark: str = DEFAULT_MARK, flash: FlashLines | None = None) -> str:
    """What follows ``-plugin`` on QEMU's command line: counts go to ``out``, one segment per entry of ``mark``. With
    ``flash`` reads of data from there are counted too, which makes the run about three times as long."""
    watched = "" if flash is None else f",flash={flash.origin:x}:{flash.size_bytes:x}:{flash.line_bytes:x}"
    return f"{_escape(plugin)},out={_escape(out)},mark={mark}{watched}"


def _escape(path: Path) -> str:
    return str(path.absolute()).replace(",", ",,")
