# SPDX-License-Identifier: Apache-2.0
"""``picobnn build``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table
from picobnn.cli.options import BoardOption, RunOption

NAME = "build"


def invoke(
    call: Invocation,
    folder: Annotated[Path | None, typer.Argument(help="A generated project; default: the run's.")] = None,
    run: RunOption = None,
    board: BoardOption = None,
) -> None:
    """Cross-compile a generated project; flash and RAM come from the map file."""
    from picobnn.flow.image import build, build_outcome
    from picobnn.flow.run_directory import find_run

    project = folder
    if project is None:
        directory = find_run(call.config, run)
        project = directory.firmware(board or call.config_over(directory.config).target.board)
    result = build_outcome(build(project))
    rows = [
        ("image", result.elf),
        ("build id", result.build_id[:16]),
        ("weight tables, bytes", result.weight_bytes),
        ("model flash, bytes", result.flash_bytes),
        ("model RAM, bytes", result.ram_bytes),
    ]
    call.finish(
        result,
        tables=[make_table(f"{result.board} ({result.core})", ("", ""), rows)],
        next_command=f"picobnn flash {result.folder}",
    )
