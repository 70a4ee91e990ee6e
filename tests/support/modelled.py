# SPDX-License-Identifier: Apache-2.0
"""Modelled cycles of a fan's layers on images, from real firmware on an emulated board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picobnn.codegen.targets import Board
from tests.support.emulated import run_counted
from tests.support.fans import Fan


def modelled(fan: Fan, board: Board, images: Sequence[npt.NDArray[np.uint8]], folder: Path) -> list[list[int]]:
    """Cycles per image and step, at zero wait states."""
    _, runs = run_counted(fan.plan, board, images, folder)
    assert all(cost.cycles is not None for run in runs for cost in run)
    return [[cost.cycles or 0 for cost in run] for run in runs]
