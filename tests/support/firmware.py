# SPDX-License-Identifier: Apache-2.0
"""Builds firmware for tests, each image once per test run, and says whether the tools are there."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from picobnn.codegen.emit import SourceFile, write_sources
from picobnn.codegen.project import ProjectFacts, render_project
from picobnn.codegen.targets import load_board
from picobnn.toolchain import BuiltFirmware, build_firmware
from tests.support.stub_model import FACTS, PREFIX, stub_files

HAVE_COMPILER = all(shutil.which(tool) for tool in ("make", "arm-none-eabi-gcc", "arm-none-eabi-objcopy"))
HAVE_EMULATOR = HAVE_COMPILER and shutil.which("qemu-system-arm") is not None

needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="needs make and arm-none-eabi-gcc")
needs_emulator = pytest.mark.skipif(not HAVE_EMULATOR, reason="needs make, arm-none-eabi-gcc and qemu-system-arm")


def build_project(
    folder: Path, board_id: str, prefix: str, facts: ProjectFacts, model: Sequence[SourceFile]
) -> BuiltFirmware:
    """Renders and builds a project in ``folder``."""
    write_sources((*model, *render_project(load_board(board_id), prefix, facts, model)), folder)
    return build_firmware(folder)


@cache
def stub_firmware(board_id: str) -> BuiltFirmware:
    """The hand-written model on a board, built once per test run."""
    folder = Path(tempfile.mkdtemp(prefix="picobnn-stub-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build_project(folder, board_id, PREFIX, FACTS, stub_files())
