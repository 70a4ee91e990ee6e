# SPDX-License-Identifier: Apache-2.0
"""``picobnn prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table

NAME = "prune"


def invoke(
    call: Invocation,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder; default: the model's newest.")] = None,
) -> None:
    """Remove filters of the run's dense network, physically, and retrain what is left."""
    from picobnn.flow.prune import prune
    from picobnn.flow.run_directory import find_run

    directory = find_run(call.config, run)
    result = prune(call.config_over(directory.config), directory, show_progress=call.shows_progress)
    rows: list[tuple[object, ...]] = [
        (layer["name"], f"{layer['kept']} of {layer['total']}") for layer in result.layers
    ]
    rows += [
        ("filters removed", f"{result.filters_removed:.1%}"),
        ("multiply-accumulates removed", f"{result.macs_removed:.1%}"),
        (f"test accuracy ({result.test_images:,} images)", result.test_accuracy),
        ("seconds", f"{result.seconds:.1f}"),
    ]
    call.finish(
        result,
        tables=[make_table(f"pruned by {result.method}", ("filters", "kept"), rows)],
        next_command=f"picobnn export --run {directory.path}",
    )
