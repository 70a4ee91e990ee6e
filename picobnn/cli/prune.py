# SPDX-License-Identifier: Apache-2.0
"""``picobnn prune``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table
from picobnn.config import Config, PruneMethod, parse_config

NAME = "prune"


def invoke(
    call: Invocation,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder; default: the model's newest.")] = None,
    method: Annotated[str | None, typer.Option("--method", help=f"{', '.join(x.value for x in PruneMethod)}.")] = None,
    target_rate: Annotated[
        float | None, typer.Option("--target-rate", help="Share to remove: of filters; with domain, of ones.")
    ] = None,
    target_flash: Annotated[
        str | None, typer.Option("--target-flash", metavar="BYTES", help="Flash of the model, e.g. '24 KiB'.")
    ] = None,
    target_cycles: Annotated[
        str | None, typer.Option("--target-cycles", metavar="CORE=N", help="Estimated cycles, e.g. m4=120000.")
    ] = None,
) -> None:
    """Prune the run's dense network, to a rate or to a goal within 5 %, and train what is left."""
    from picobnn.flow.prune import prune
    from picobnn.flow.run_directory import find_run

    directory = find_run(call.config, run)
    targets = {"target_rate": target_rate, "target_flash": target_flash, "target_cycles": target_cycles}
    config = _overrides(call.config_over(directory.config), method, targets)
    result = prune(config, directory, show_progress=call.shows_progress)
    rows: list[tuple[object, ...]] = [
        (layer["name"], f"{layer['kept']} of {layer['total']}") for layer in result.layers
    ]
    rows += [
        ("filters removed", f"{result.filters_removed:.1%}"),
        ("multiply-accumulates removed", f"{result.macs_removed:.1%}"),
        (f"test accuracy ({result.test_images:,} images)", result.test_accuracy),
        ("seconds", f"{result.seconds:.1f}"),
    ]
    if result.density is not None:
        rows.append(("ones among hidden weights", f"{result.density:.1%}"))
    if result.goal is not None:
        rows.append((f"goal: {result.goal.what}", f"{result.goal.target:,.6g}"))
        rows.append((f"reached ({result.goal.basis})", f"{result.goal.reached:,.6g} ({result.goal.difference:+.1%})"))
    call.finish(
        result,
        tables=[make_table(f"pruned by {result.method}", ("filters", "kept"), rows)],
        next_command=f"picobnn export --run {directory.path}",
        failure=result.failure(),
    )


def _overrides(config: Config, method: str | None, targets: Mapping[str, object]) -> Config:
    """``config`` with what was given; a target replaces those of the configuration. Raises E_CONFIG_VALUE."""
    document = config.model_dump(mode="json", exclude_none=True)
    given = {name: value for name, value in targets.items() if value is not None}
    kept = {name: value for name, value in document["prune"].items() if not (given and name in targets)}
    document["prune"] = {**kept, **given, **({} if method is None else {"method": method})}
    return parse_config(document, "command line")
