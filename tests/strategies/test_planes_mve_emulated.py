# SPDX-License-Identifier: Apache-2.0
"""Strategy planes_mve on the emulated Cortex-M55: its assembly equals the reference, at the same modelled cycles
whatever the image."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import pytest

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.emit import render_model
from picobnn.codegen.pack import store_tensor
from picobnn.codegen.plan import Layout
from picobnn.codegen.program import Program
from picobnn.codegen.project import project_facts
from picobnn.codegen.targets import load_board
from picobnn.codegen.vocabulary import Shape
from picobnn.harness.emulated import flash_emulated
from picobnn.harness.vectors import trace_image
from picobnn.sim.cycles import build_plugin, layer_costs, plugin_argument, read_counts
from picobnn.sim.reference import run_program
from tests.support.firmware import build_project, needs_emulator
from tests.support.planes_layers import images, many_layers, plan_layers

SLOW = pytest.mark.slow
CASES = (
    pytest.param("mps3-an547", Shape(6, 7, 5), id="64"),
    pytest.param("mps3-an547", Shape(12, 16, 33), id="128", marks=SLOW),
    pytest.param("mps3-an547", Shape(9, 10, 5), id="128-5", marks=SLOW),
    pytest.param("mps3-an547", Shape(6, 6, 97), id="64-97", marks=SLOW),
    pytest.param("mps3-an547", Shape(11, 12, 41), id="128-41", marks=SLOW),
)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(("board_id", "shape"), CASES)
def test_every_class_equals_the_reference(board_id: str, shape: Shape, tmp_path: Path) -> None:
    program, board = many_layers(shape), load_board(board_id)
    count = len(program.steps)
    plan = plan_layers(program, board.target, "planes_mve")
    built = build_project(tmp_path / "fw", board_id, "model", project_facts(plan), render_model(plan, "model"))
    batch = images(program, 5)
    plugin = plugin_argument(build_plugin(tmp_path), tmp_path / "counts.txt")
    with flash_emulated(board, built.elf, model_hash=model_hash(program), plugin=plugin) as session:
        traces = [trace_image(session, image.tobytes()) for image in batch]
    first = program.steps[0]
    for index, step in enumerate(program.steps[1:], start=1):
        alone = Program(
            "alone",
            128,
            (*program.tensors[:2], program.tensors[step.output]),
            (first, dataclasses.replace(step, output=2)),
        )
        for number, output in enumerate(run_program(alone, batch)[-1]):
            crc = zlib.crc32(store_tensor(output, Layout.PIXEL_PLANES))
            assert traces[number][index].crc == crc, f"image {number}, {step.weights.shape}, {step.window}, {step.pool}"
    marked = [segment for segment in read_counts(tmp_path / "counts.txt") if segment.mark is not None]
    runs = [
        layer_costs(marked[: (index + 1) * (count + 1)], built.elf, board.target.core, count)
        for index in range(len(batch))
    ]
    for step in range(1, count):
        assert [run[step] for run in runs] == [runs[0][step]] * len(batch), program.steps[step].name
        assert runs[0][step].cycles is not None
