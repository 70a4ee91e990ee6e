# SPDX-License-Identifier: Apache-2.0
"""Runs a program as real firmware on an emulated board: per step instructions counted, cycles modelled, bytes linked.

Every step's output is compared with the reference through the CRC-32 that the firmware takes of it. An emulator has no
latency: cycles are modelled at zero wait states, never measured. Used by the benchmarks of this folder.
"""

from __future__ import annotations

import atexit
import dataclasses
import os
import shutil
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.budget import Budget
from picobnn.codegen.emit import render_model
from picobnn.codegen.pack import store_tensor
from picobnn.codegen.plan import Kernels, Optimize, Plan
from picobnn.codegen.program import Program, step_macs
from picobnn.codegen.project import project_facts, render_project
from picobnn.codegen.select import NO_BUDGET, make_plan
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import Board, find_core, load_board
from picobnn.codegen.targets.costs import CoreCosts
from picobnn.flow.analyze import boards_of_cores
from picobnn.harness.emulated import flash_emulated
from picobnn.harness.vectors import trace_image
from picobnn.map_file import LinkMap, model_memory, read_map
from picobnn.sim.cycles import LayerCost, build_plugin, layer_costs, plugin_argument, read_counts
from picobnn.sim.reference import run_program
from picobnn.toolchain import BuiltFirmware, build_firmware

PREFIX = "model"
TRANSPOSES = "picobnn_transpose"


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One step of one run.

    ``cycles`` (modelled, None on a core without a model) and ``instructions`` (counted) leave out what turns the input
    into the strategy's layout; ``transpose_*`` hold it. ``code_bytes`` are the linked runtime objects of the
    strategy, ``table_bytes`` the linked tables of the step; ``scratch_bytes`` the arena bytes of the step alone.
    ``is_equal``: the output equals the reference, bit for bit.
    """

    strategy: str
    macs: int
    instructions: int
    cycles: int | None
    transpose_cycles: int | None
    transpose_instructions: int
    table_bytes: int
    code_bytes: int
    scratch_bytes: int
    input_bytes: int
    output_bytes: int
    is_equal: bool


@dataclass(frozen=True, slots=True)
class RunFigures:
    """One inference. ``flash_bytes`` and ``arena_bytes`` are those of the whole model."""

    board: str
    core: str
    steps: tuple[StepFigures, ...]
    flash_bytes: int
    arena_bytes: int


def board_of(core: str) -> Board:
    """The emulated board for a core. Raises E_UNKNOWN_CORE, E_UNKNOWN_BOARD."""
    return load_board(boards_of_cores([core])[0])


def roomy_board_of(core: str) -> Board:
    """The same with room for large programs: code for Cortex-M0 runs on the board of M0+ (both are v6-M)."""
    board = board_of(core)
    if board.target.core != "cortex-m0":
        return board
    return dataclasses.replace(board_of("m0plus"), target=board.target)


def plan_for(
    program: Program,
    board: Board,
    kernels: Kernels,
    optimize: Optimize = Optimize.SPEED,
    forced: Mapping[int, str] | None = None,
    costs: CoreCosts | None = None,
    budget: Budget = NO_BUDGET,
) -> Plan:
    """The plan for a board's core. ``costs``: instead of those that are known. Raises E_NO_STRATEGY and, with a
    budget, E_BUDGET_EXCEEDED."""
    return make_plan(
        program, board.target, kernels=kernels, optimize=optimize, forced=forced, costs=costs, budget=budget
    )


def link_plan(plan: Plan, board: Board) -> tuple[BuiltFirmware, LinkMap]:
    """Builds the plan's firmware. One folder per board and core: only files that change are compiled again.

    Raises E_TOOL_MISSING, E_TOOL_FAILED, E_DOES_NOT_FIT.
    """
    folder = Path(_build_folder(board.id, board.target.core))
    model = render_model(plan, PREFIX)
    for source in (*model, *render_project(board, PREFIX, project_facts(plan), model)):
        path = folder / source.path
        if not path.is_file() or path.read_bytes() != source.text.encode():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.text.encode())
    # Objects depend on the Makefile for its flags, which are the board's; only its lists of files differ here.
    os.utime(folder / "Makefile", (0, 0))
    built = build_firmware(folder)
    return built, read_map(built.map)


@cache
def _build_folder(board: str, core: str) -> str:
    folder = tempfile.mkdtemp(prefix=f"picobnn-bench-{board}-{core}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def run_plan(plan: Plan, board: Board, image: npt.NDArray[np.uint8]) -> RunFigures:
    """Builds the plan's firmware and runs ``image``, uint8 (H, W, C), on the emulated board.

    Raises E_TOOL_MISSING, E_TOOL_FAILED, E_DOES_NOT_FIT, E_EMULATOR_FAILED.
    """
    program = plan.program
    built, link_map = link_plan(plan, board)
    with tempfile.TemporaryDirectory(prefix="picobnn-bench-") as name:
        counts = Path(name) / "counts.txt"
        plugin = plugin_argument(build_plugin(Path.home() / ".cache" / "picobnn"), counts)
        with flash_emulated(board, built.elf, model_hash=model_hash(program), plugin=plugin) as session:
            rows = trace_image(session, image.tobytes())
        costs = layer_costs(read_counts(counts), built.elf, board.target.core, len(program.steps))
    outputs = run_program(program, image[None])
    equal = []
    for row, output, step in zip(rows, outputs, program.steps, strict=True):
        shape = program.tensors[step.output].shape
        stored = store_tensor(output.reshape(shape.height, shape.width, -1), plan.buffers[step.output].layout)
        equal.append(row.crc == zlib.crc32(stored))
    return RunFigures(
        board=board.id,
        core=board.target.core,
        steps=tuple(_figures(plan, index, costs[index], link_map, equal[index]) for index in range(len(costs))),
        flash_bytes=model_memory(link_map, PREFIX).flash_bytes,
        arena_bytes=plan.arena_bytes,
    )


def modelled_cycles(plan: Plan, board: Board, images: Sequence[npt.NDArray[np.uint8]]) -> list[list[int]]:
    """Builds the plan's firmware and runs ``images``, uint8 (H, W, C), in one session: cycles per image and step, at
    zero wait states. For cores with a cycle model.

    Raises E_TOOL_MISSING, E_TOOL_FAILED, E_DOES_NOT_FIT, E_EMULATOR_FAILED.
    """
    built, _ = link_plan(plan, board)
    with tempfile.TemporaryDirectory(prefix="picobnn-bench-") as name:
        counts = Path(name) / "counts.txt"
        plugin = plugin_argument(build_plugin(Path.home() / ".cache" / "picobnn"), counts)
        with flash_emulated(board, built.elf, model_hash=model_hash(plan.program), plugin=plugin) as session:
            for image in images:
                trace_image(session, image.tobytes())
        marked = [segment for segment in read_counts(counts) if segment.mark is not None]
    steps, found = len(plan.steps), []
    for index in range(len(images)):
        costs = layer_costs(marked[: (index + 1) * (steps + 1)], built.elf, board.target.core, steps)
        assert all(cost.cycles is not None for cost in costs)
        found.append([cost.cycles or 0 for cost in costs])
    return found


def _figures(plan: Plan, index: int, cost: LayerCost, link_map: LinkMap, is_equal: bool) -> StepFigures:
    planned, step = plan.steps[index], plan.program.steps[index]
    around = [part for part in cost.functions if part.name.startswith(TRANSPOSES)] if planned.transpose_bytes else []
    stems = {PurePosixPath(file).stem for file in find_strategy(planned.strategy).runtime_files(find_core(plan.core))}
    tables = link_map.by_section(f".rodata.{PREFIX}.")
    around_cycles = None if cost.cycles is None else sum(part.cycles or 0 for part in around)
    return StepFigures(
        strategy=planned.strategy,
        macs=step_macs(plan.program, step),
        instructions=cost.instructions - sum(part.instructions for part in around),
        cycles=None if cost.cycles is None or around_cycles is None else cost.cycles - around_cycles,
        transpose_cycles=around_cycles,
        transpose_instructions=sum(part.instructions for part in around),
        table_bytes=sum(size for table, size in tables.items() if table.startswith(f"{step.name}_")),
        code_bytes=link_map.flash_bytes(lambda part: part.stem in stems),
        scratch_bytes=planned.scratch_bytes,
        input_bytes=plan.buffers[step.input].size_bytes,
        output_bytes=plan.buffers[step.output].size_bytes,
        is_equal=is_equal,
    )
