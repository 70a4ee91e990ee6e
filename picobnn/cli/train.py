# SPDX-License-Identifier: Apache-2.0
"""``picobnn train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table

NAME = "train"


def invoke(
    call: Invocation,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder; an interrupted one is continued.")] = None,
) -> None:
    """Train the dense network of the configuration into a new run folder, or go on with an interrupted one."""
    from picobnn.flow.run_directory import RunDirectory, create_run, run_config
    from picobnn.flow.train import train

    directory = RunDirectory(run) if run is not None and run.is_dir() else create_run(call.config, path=run)
    config = run_config(directory, call.config)
    call.say(f"run folder: {directory.path}")
    result = train(config, directory, show_progress=not (call.quiet or call.json))
    rows = [
        ("validation accuracy", result.val_accuracy),
        (f"test accuracy ({result.test_images:,} images)", result.test_accuracy),
        ("seconds", f"{result.seconds:.1f}"),
        ("executed as", result.execution),
    ]
    call.finish(
        result,
        tables=[make_table(f"{result.network} on {result.dataset}, seed {result.seed}", ("", ""), rows)],
        next_command=f"picobnn prune --run {directory.path}",
    )
