# SPDX-License-Identifier: Apache-2.0
"""``picobnn demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table

NAME = "demo"


def invoke(
    call: Invocation,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder; default: a new one.")] = None,
) -> None:
    """Train, prune, compile, compare and run a small digits network, from nothing, without a board."""
    from picobnn.flow.chain import demo, demo_config
    from picobnn.flow.run_directory import open_run
    from picobnn.flow.train import check_training

    config = demo_config(call.config_over(None))
    check_training(config)
    directory = open_run(config, run)
    result = demo(config, directory, say=call.say, show_progress=call.shows_progress)
    rows: list[tuple[object, ...]] = [
        ("test accuracy, dense", result.accuracy["dense"]),
        ("test accuracy, pruned", result.accuracy["pruned"]),
        ("filters removed", f"{result.filters_removed:.1%}"),
    ]
    names = {"reference": "PyTorch = reference", "cython": "Cython", "host": "C on the host", "emulator": "emulator"}
    rows += [
        (f"{names[name]}: different outputs", f"{result.mismatches[name]} of {vectors:,} vectors")
        for name, vectors in result.vectors.items()
    ]
    rows += [(f"not compared: {name}", why) for name, why in result.skipped.items()]
    rows += [("model flash, bytes", result.flash_bytes), ("model RAM, bytes", result.ram_bytes)]
    rows += [(f"modelled cycles, {core}", cycles) for core, cycles in result.cycles.items()]
    rows += [("seconds", f"{result.seconds:.1f}"), ("report", directory.report_text)]
    call.finish(
        result,
        tables=[make_table("", (config.model.name, ""), rows)],
        next_command=f"picobnn report --run {directory.path}",
    )
