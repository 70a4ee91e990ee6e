# SPDX-License-Identifier: Apache-2.0
"""Firmware on an emulated board under the counting plugin: what it computed, and what every step cost, per image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.emit import render_model, write_sources
from picobnn.codegen.plan import Plan
from picobnn.codegen.project import project_facts, render_project
from picobnn.codegen.targets import Board
from picobnn.harness.emulated import flash_emulated
from picobnn.harness.protocol import LayerRow
from picobnn.harness.vectors import trace_image
from picobnn.sim.cycles import LayerCost, build_plugin, layer_costs, plugin_argument, read_counts
from picobnn.toolchain import build_firmware


def run_counted(
    plan: Plan, board: Board, images: Iterable[npt.NDArray[np.uint8]], folder: Path
) -> tuple[list[list[LayerRow]], list[list[LayerCost]]]:
    """The device's trace and the costs of the steps, one list per image. ``board`` may have another core than in its
    file."""
    program, counts = plan.program, folder / "counts.txt"
    model = render_model(plan, "model")
    write_sources((*model, *render_project(board, "model", project_facts(plan), model)), folder / "fw")
    built = build_firmware(folder / "fw")
    plugin = plugin_argument(build_plugin(folder), counts)
    with flash_emulated(board, built.elf, model_hash=model_hash(program), plugin=plugin) as session:
        traces = [trace_image(session, image.tobytes()) for image in images]
    marked = [segment for segment in read_counts(counts) if segment.mark is not None]
    steps = len(program.steps)
    ends = [(index + 1) * (steps + 1) for index in range(len(traces))]
    return traces, [layer_costs(marked[:end], built.elf, board.target.core, steps) for end in ends]
