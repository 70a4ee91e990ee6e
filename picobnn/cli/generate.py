# SPDX-License-Identifier: Apache-2.0
"""``picobnn generate``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table
from picobnn.cli.options import (
    BoardOption,
    KernelsOption,
    ModelOption,
    OptimizeOption,
    RunOption,
    config_of,
    target_overrides,
)

NAME = "generate"


class ProjectFormat(str, Enum):
    """Shapes of an exported project."""

    MAKE = "make"


def invoke(
    call: Invocation,
    run: RunOption = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; default: the run's firmware/<board>.")
    ] = None,
    board: BoardOption = None,
    kernels: KernelsOption = None,
    optimize: OptimizeOption = None,
    project: Annotated[ProjectFormat, typer.Option("--format", help="Project to write.")] = ProjectFormat.MAKE,
) -> None:
    """Write the C sources, the project and the manifest of a program for a board."""
    from picobnn.flow.image import find_program, generate, golden_vectors, load_program
    from picobnn.flow.run_directory import find_run

    directory = None if model is not None else find_run(call.config, run)
    config = target_overrides(config_of(call, directory), board, kernels, optimize)
    program_path, golden = find_program(directory, model)
    folder = out or (
        directory.firmware(config.target.board) if directory else program_path.parent / "firmware" / config.target.board
    )
    result = generate(load_program(program_path), folder, config.target.board, config, golden_vectors(golden))
    rows = [
        ("folder", result.folder),
        ("board", f"{result.board} ({result.core})"),
        ("format", project.value),
        ("files", result.files),
        ("weight and threshold tables, bytes", result.table_bytes),
        ("arena, bytes", result.arena_bytes),
    ]
    call.finish(
        result,
        tables=[make_table("", ("", ""), rows)],
        next_command=f"picobnn build {result.folder}",
    )
