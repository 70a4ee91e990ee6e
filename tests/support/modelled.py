# SPDX-License-Identifier: Apache-2.0
"""Modelled cycles of a fan's layers on images, from real firmware on an emulated board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.emit import render_model, write_sources
from picobnn.codegen.project import project_facts, render_project
from picobnn.codegen.targets import Board
from picobnn.harness.emulated import flash_emulated
from picobnn.harness.vectors import trace_image
from picobnn.sim.cycles import build_plugin, layer_costs, plugin_argument, read_counts
from picobnn.toolchain import build_firmware
from tests.support.fans import Fan


def modelled(fan: Fan, board: Board, images: Sequence[npt.NDArray[np.uint8]], folder: Path) -> list[list[int]]:
    """Cycles per image and step, at zero wait states."""
    program = fan.plan.program
    model = render_model(fan.plan, "model")
    write_sources((*model, *render_project(board, "model", project_facts(fan.plan), model)), folder / "fw")
    built = build_firmware(folder / "fw")
    counts = folder / "counts.txt"
    plugin = plugin_argument(build_plugin(folder), counts)
    with flash_emulated(board, built.elf, model_hash=model_hash(program), plugin=plugin) as session:
        for image in images:
            trace_image(session, image.tobytes())
    marked = [segment for segment in read_counts(counts) if segment.mark is not None]
    count, found = len(program.steps), []
    for index in range(len(images)):
        costs = layer_costs(marked[: (index + 1) * (count + 1)], built.elf, board.target.core, count)
        assert all(cost.cycles is not None for cost in costs)
        found.append([cost.cycles or 0 for cost in costs])
    return found
