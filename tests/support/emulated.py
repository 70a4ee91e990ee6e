# SPDX-License-Identifier: Apache-2.0
"""A plan as firmware on an emulated board: what every step computed, and what it cost, image by image."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.emit import render_model, write_sources
from picobnn.codegen.pack import store_tensor
from picobnn.codegen.plan import Plan
from picobnn.codegen.project import project_facts, render_project
from picobnn.codegen.targets import Board
from picobnn.harness.emulated import flash_emulated
from picobnn.harness.protocol import LayerRow
from picobnn.harness.vectors import trace_image
from picobnn.sim.cycles import LayerCost, build_plugin, layer_costs, plugin_argument, read_counts
from picobnn.sim.reference import StepOutput
from picobnn.toolchain import BuiltFirmware, build_firmware

ImageBatch = Iterable[npt.NDArray[np.uint8]]


def build_plan(plan: Plan, board: Board, folder: Path) -> BuiltFirmware:
    """In ``folder``; ``board`` may have another core than in its file."""
    model = render_model(plan, "model")
    write_sources((*model, *render_project(board, "model", project_facts(plan), model)), folder)
    return build_firmware(folder)


def trace_images(
    plan: Plan, board: Board, built: BuiltFirmware, images: ImageBatch, plugin: str | None = None
) -> list[list[LayerRow]]:
    """What the device says of every step, per image."""
    with flash_emulated(board, built.elf, model_hash=model_hash(plan.program), plugin=plugin) as session:
        return [trace_image(session, image.tobytes()) for image in images]


def run_traced(plan: Plan, board: Board, images: ImageBatch, folder: Path) -> list[list[LayerRow]]:
    return trace_images(plan, board, build_plan(plan, board, folder / "fw"), images)


def run_counted(
    plan: Plan, board: Board, images: ImageBatch, folder: Path
) -> tuple[list[list[LayerRow]], list[list[LayerCost]]]:
    """The device's trace and the costs of the steps, one list per image."""
    built, counts = build_plan(plan, board, folder / "fw"), folder / "counts.txt"
    traces = trace_images(plan, board, built, images, plugin_argument(build_plugin(folder), counts))
    marked = [segment for segment in read_counts(counts) if segment.mark is not None]
    steps = len(plan.steps)
    ends = [(index + 1) * (steps + 1) for index in range(len(traces))]
    return traces, [layer_costs(marked[:end], built.elf, board.target.core, steps) for end in ends]


def assert_traces_equal(plan: Plan, traces: Sequence[Sequence[LayerRow]], expected: Sequence[StepOutput]) -> None:
    """The CRC-32 that the device took of every step is that of the reference's output as the plan stores it."""
    assert all(len(trace) == len(plan.steps) for trace in traces)
    for planned, step, output in zip(plan.steps, plan.program.steps, expected, strict=True):
        layout = plan.buffers[step.output].layout
        crcs = [zlib.crc32(store_tensor(image, layout)) for image in output]
        assert [trace[planned.step].crc for trace in traces] == crcs, f"{planned.strategy}, {step}"
