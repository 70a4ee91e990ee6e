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
    from picobnn.flow.run_directory import open_run
    from picobnn.flow.train import check_training, train

    config = call.config_over(run / "picobnn.toml") if run is not None and run.is_dir() else call.config
    check_training(config)
    directory = open_run(config, run)
    call.say(f"run folder: {directory.path}")
    result = train(config, directory, show_progress=call.shows_progress)
    layers = [
        (x["name"], x["kind"], x["weight_bits"], f"{x['weight_bits'] / 8192:.2f}", x["macs"])
        for x in result.summary["layers"]
    ]
    heads = ("layer", "kind", "weight bits", "KiB", "MACs")
    rows = [
        ("validation accuracy", result.val_accuracy),
        (f"test accuracy ({result.test_images:,} images)", result.test_accuracy),
        ("seconds", f"{result.seconds:.1f}"),
        ("executed as", result.execution),
    ]
    call.finish(
        result,
        tables=[
            make_table(f"{result.network}: {result.summary['weight_kib']:.2f} KiB of weights", heads, layers),
            make_table(f"{result.network} on {result.dataset}, seed {result.seed}", ("", ""), rows),
        ],
        next_command=f"picobnn prune --run {directory.path}",
    )
