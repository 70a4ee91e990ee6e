# SPDX-License-Identifier: Apache-2.0
"""``picobnn run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation
from picobnn.flow.steps import ChainStep

NAME = "run"


def invoke(
    call: Invocation,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder; one that is there is continued.")] = None,
    start: Annotated[ChainStep | None, typer.Option("--from", help="Do this step and all behind it again.")] = None,
    until: Annotated[ChainStep, typer.Option("--until", help="Stop after this step.")] = ChainStep.REPORT,
) -> None:
    """Run the chain train, prune, export, build, verify, profile, report; finished steps are kept."""
    from picobnn.flow.chain import run_chain
    from picobnn.flow.report import report_text
    from picobnn.flow.run_directory import open_run
    from picobnn.flow.train import check_training

    config = call.config_over(run / "picobnn.toml") if run is not None and run.is_dir() else call.config
    check_training(config)
    directory = open_run(config, run)
    call.say(f"run folder: {directory.path}")
    result = run_chain(
        config,
        directory,
        start=start,
        until=until,
        say=call.say,
        show_progress=call.shows_progress,
    )
    text = [] if result.report is None else [report_text(result.report)]
    call.finish(result, tables=text, next_command=f"picobnn report --run {directory.path}")
