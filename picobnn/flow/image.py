# SPDX-License-Identifier: Apache-2.0
"""Program + board -> sources -> linked image: ``generate`` and ``build``, and what both leave behind.

One image: size, cycles and results that stand in one row come from the ELF of one :class:`Image`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picobnn.config import Config
from picobnn.errors import ErrorId, PicobnnError
from picobnn.flow.run_directory import RunDirectory
from picobnn.flow.vectors import Vectors, read_vectors

if TYPE_CHECKING:
    from picobnn.codegen.manifest import Manifest
    from picobnn.codegen.placement import Placement
    from picobnn.codegen.plan import Plan
    from picobnn.codegen.program import Program
    from picobnn.codegen.targets import Board, Target
    from picobnn.map_file import ModelMemory
    from picobnn.toolchain import BuiltFirmware

MANIFEST = "manifest.json"
ARENA_SECTION = ".bss.arena"  # of the harness, which owns the model's arena in our projects


@dataclass(frozen=True, slots=True)
class GenerateOutcome:
    """What ``generate`` wrote. Sizes are the compiler's own, before linking."""

    folder: str
    board: str
    core: str
    model_hash: str
    files: int
    table_bytes: int
    arena_bytes: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A linked firmware image of one model on one board."""

    folder: Path
    board: Board
    manifest: Manifest
    built: BuiltFirmware

    def memory(self) -> ModelMemory:
        """The model's share of flash and RAM, from the map file."""
        from picobnn.map_file import model_memory, read_map

        return model_memory(read_map(self.built.map), self.manifest.prefix)


@dataclass(frozen=True, slots=True)
class BuildOutcome:
    """Bytes from the map file. ``ram_bytes`` is .data, .bss and the arena of the model, with the inner loops and tables
    that start-up copies to RAM (``hot_code_bytes`` and ``ram_table_bytes``, in ``flash_bytes`` too); the stack, which
    it shares with the application, is apart: what the linker reserves. ``layer_flash_bytes``: the linked tables of
    every step."""

    folder: str
    board: str
    core: str
    elf: str
    build_id: str
    weight_bytes: int
    flash_bytes: int
    ram_bytes: int
    arena_bytes: int
    hot_code_bytes: int
    ram_table_bytes: int
    stack_reserved_bytes: int
    layer_flash_bytes: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def load_program(path: Path) -> Program:
    """Read a ``.bnn`` file. Raises E_FILE_MISSING, E_BNN_FORMAT, E_BNN_VERSION, E_BNN_CHECKSUM, E_PROGRAM_INVALID."""
    from picobnn.codegen.bnn_file import read_bnn

    return read_bnn(path)


def find_program(run: RunDirectory | None, model: Path | None) -> tuple[Path, Path]:
    """The program and its golden vectors: ``model`` and the file beside it, or those of the run."""
    if model is not None:
        return model, model.with_name("golden.npz")
    if run is None:
        raise PicobnnError(
            ErrorId.USAGE, "neither a run nor a model was named.", where="picobnn", remedy="Give --run or --model."
        )
    return run.require(run.program, "export"), run.golden


def golden_vectors(path: Path) -> Vectors | None:
    """The vectors beside a program, None when there are none."""
    return read_vectors(path) if path.is_file() else None


def make_plan_for(program: Program, target: Target, config: Config) -> Plan:
    """The plan for a core under the configured options; where kernels are chosen, within the configured budget.

    Raises E_NO_STRATEGY, E_BUDGET_EXCEEDED.
    """
    from picobnn.codegen.budget import Budget
    from picobnn.codegen.plan import Kernels, Optimize
    from picobnn.codegen.select import make_plan

    kernels, limits = Kernels(config.target.kernels), config.budget
    budget = Budget(limits.max_flash, limits.max_ram, limits.max_cycles) if kernels is Kernels.AUTO else Budget()
    return make_plan(program, target, kernels=kernels, optimize=Optimize(config.target.optimize), budget=budget)


def generate(
    program: Program, folder: Path, board_name: str, config: Config, golden: Vectors | None
) -> GenerateOutcome:
    """Write the firmware project of ``program`` for a board; leaves the folder alone when it already holds just that.

    Raises E_UNKNOWN_BOARD, E_NO_STRATEGY, E_BUDGET_EXCEEDED, E_USAGE (prefix), E_FILE_UNWRITABLE, and E_DOES_NOT_FIT
    where the RAM cannot hold what is to be copied there.
    """
    from picobnn.codegen.emit import GoldenVector, SourceFile, render_model, write_sources
    from picobnn.codegen.manifest import build_manifest
    from picobnn.codegen.placement import check_ram, ram_tables
    from picobnn.codegen.project import project_facts, render_project
    from picobnn.codegen.targets import load_board

    board = load_board(board_name)
    prefix = prefix_of(program, config)
    plan = make_plan_for(program, board.target, config)
    placement = placement_for(board, config)
    tables = ram_tables(plan, prefix, placement)
    check_ram(plan, tables, board)
    vector = GoldenVector(golden.images[0], golden.logits[0]) if golden is not None else None
    command = f"picobnn generate --board {board.id} --kernels {plan.kernels.value} --optimize {plan.optimize.value}"
    model = render_model(plan, prefix, vector, command)
    sources = (*model, *render_project(board, prefix, project_facts(plan), model, placement, tables))
    manifest = build_manifest(plan, prefix, sources, board.id, placement)
    files = (*sources, SourceFile(MANIFEST, manifest.to_json()))
    if not all(_holds(folder / source.path, source.text) for source in files):
        write_sources(files, folder)
    return GenerateOutcome(
        folder=str(folder),
        board=board.id,
        core=board.target.core,
        model_hash=manifest.model_hash,
        files=len(sources) + 1,
        table_bytes=sum(step.table_bytes for step in manifest.steps),
        arena_bytes=manifest.arena_bytes,
    )


def placement_for(board: Board, config: Config) -> Placement:
    """Where inner loops and weights lie: as configured, else as the board has it."""
    from picobnn.codegen.placement import placement_of
    from picobnn.codegen.targets import Place

    def place(value: str) -> Place | None:
        return None if value == "board" else Place(value)

    return placement_of(board, place(config.target.hot_code), place(config.target.rows_weights))


def prefix_of(program: Program, config: Config) -> str:
    """``target.prefix``, or the program's name as a C identifier."""
    if config.target.prefix:
        return config.target.prefix
    name = re.sub(r"[^A-Za-z0-9_]", "_", program.name)
    return name if name[:1].isalpha() else f"model_{name}"


def _holds(path: Path, text: str) -> bool:
    """Whether the file is there with just this text."""
    return path.is_file() and path.read_bytes() == text.encode("utf-8")


def build(folder: Path) -> Image:
    """Cross-compile a generated project for the board that it was generated for.

    Raises E_FILE_MISSING, E_MANIFEST, E_TOOL_MISSING, E_TOOL_FAILED, E_DOES_NOT_FIT, E_UNKNOWN_BOARD.
    """
    from picobnn.codegen.manifest import read_manifest
    from picobnn.codegen.targets import load_board
    from picobnn.toolchain import build_firmware

    manifest = read_manifest(folder / MANIFEST)
    if manifest.board is None:
        raise PicobnnError(
            ErrorId.MANIFEST,
            "these are a model's sources without a project.",
            where=str(folder),
            remedy="Generate a project: picobnn generate --board BOARD",
        )
    return Image(folder, load_board(manifest.board), manifest, build_firmware(folder))


def build_outcome(image: Image) -> BuildOutcome:
    """The sizes of an image."""
    memory = image.memory()
    arena_bytes = _arena_bytes(image)
    _check_copies(image, memory)
    return BuildOutcome(
        folder=str(image.folder),
        board=image.board.id,
        core=image.board.target.core,
        elf=str(image.built.elf),
        build_id=image.built.build_id.hex(),
        weight_bytes=memory.weight_bytes,
        flash_bytes=memory.flash_bytes,
        ram_bytes=memory.data_bss_bytes + arena_bytes,
        arena_bytes=arena_bytes,
        hot_code_bytes=memory.hot_code_bytes,
        ram_table_bytes=memory.ram_table_bytes,
        stack_reserved_bytes=image.board.stack_bytes,
        layer_flash_bytes=tuple(
            sum(memory.per_table[table.symbol.removeprefix(f"{image.manifest.prefix}_")] for table in step.tables)
            for step in image.manifest.steps
        ),
    )


def _arena_bytes(image: Image) -> int:
    """Linked bytes of the arena. Raises E_PLAN_INVALID when the arena is not the planned one."""
    from picobnn.map_file import read_map

    sections = read_map(image.built.map).sections
    arena = sum(part.size for part in sections if part.name == ARENA_SECTION)
    if arena != image.manifest.arena_bytes:
        raise _unplanned(image, f"the linked arena has {arena} bytes, the plan {image.manifest.arena_bytes}.")
    return arena


def _check_copies(image: Image, memory: ModelMemory) -> None:
    """Raises E_PLAN_INVALID when other tables lie in RAM than planned, or code does that should not."""
    planned = image.manifest.ram_table_bytes
    if memory.ram_table_bytes != planned:
        raise _unplanned(image, f"{memory.ram_table_bytes} bytes of tables lie in RAM, the plan has {planned}.")
    if memory.hot_code_bytes and image.manifest.hot_code == "flash":
        raise _unplanned(image, f"{memory.hot_code_bytes} bytes of code lie in RAM, the plan has none.")


def _unplanned(image: Image, what: str) -> PicobnnError:
    return PicobnnError(
        ErrorId.PLAN_INVALID,
        what,
        where=str(image.built.map),
        remedy="Generate and build again; the sources were changed behind the manifest.",
    )


def make_image(program: Program, folder: Path, board_name: str, config: Config, golden: Vectors | None) -> Image:
    """Generate and build."""
    generate(program, folder, board_name, config, golden)
    return build(folder)
