# SPDX-License-Identifier: Apache-2.0
"""``picobnn flash``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table
from picobnn.cli.options import BoardOption, RunOption

NAME = "flash"


def invoke(
    call: Invocation,
    folder: Annotated[Path | None, typer.Argument(help="A generated project; default: the run's.")] = None,
    run: RunOption = None,
    board: BoardOption = None,
) -> None:
    """Build and flash a project; success is the firmware's answer with the build id that was sent."""
    from picobnn.flow.flash import flash
    from picobnn.flow.image import build
    from picobnn.flow.run_directory import find_run

    project = folder
    if project is None:
        directory = find_run(call.config, run)
        project = directory.firmware(board or call.config_over(directory.config).target.board)
    result = flash(build(project))
    rows = [
        ("build id", result.build_id[:16]),
        ("model hash", result.model_hash),
        ("core clock, Hz", result.core_clock_hz),
        ("CPUID", f"0x{result.cpuid:08x}"),
        ("timer", result.timer),
        ("steps", result.steps),
    ]
    call.finish(
        result,
        tables=[make_table(f"{result.board} answers", ("", ""), rows)],
        next_command=f"picobnn profile --board {result.board}",
    )
