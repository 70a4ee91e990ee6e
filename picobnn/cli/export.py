# SPDX-License-Identifier: Apache-2.0
"""``picobnn export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table

NAME = "export"


def invoke(
    call: Invocation,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder; default: the model's newest.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Another checkpoint; default: the pruned one, else the dense.")
    ] = None,
    dump_after: Annotated[
        str | None, typer.Option("--dump-after", metavar="PASS", help="Print the graph after this pass, or after all.")
    ] = None,
) -> None:
    """Write the integer program model.bnn and golden vectors from a checkpoint."""
    from picobnn.flow.export import export
    from picobnn.flow.run_directory import find_run

    def dump(stage: str, text: str) -> None:
        if dump_after in (stage, "all"):
            print(f"# after {stage}\n{text}", file=sys.stderr)

    directory = find_run(call.config, run)
    result = export(call.config_over(directory.config), directory, checkpoint, dump=dump if dump_after else None)
    rows = [
        ("program", result.program),
        ("model hash", result.model_hash[:16]),
        ("steps", result.steps),
        ("binary weights", result.weight_bits),
        ("file bytes", result.file_bytes),
        ("golden vectors", result.golden_vectors),
    ]
    call.finish(result, tables=[make_table("", ("", ""), rows)], next_command=f"picobnn verify --run {directory.path}")
