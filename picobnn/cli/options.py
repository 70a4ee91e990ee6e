# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share, and how they override the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picobnn.config import Config, parse_config

if TYPE_CHECKING:
    from picobnn.cli.common import Invocation
    from picobnn.flow.run_directory import RunDirectory

RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder; default: the model's newest.")]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="A model.bnn instead of a run; golden.npz is looked for beside it.")
]
BoardOption = Annotated[str | None, typer.Option("--board", help="Board id; default: target.board.")]
KernelsOption = Annotated[str | None, typer.Option("--kernels", help="xnor or auto.")]
OptimizeOption = Annotated[str | None, typer.Option("--optimize", help="size, balanced or speed.")]


def config_of(call: Invocation, run: RunDirectory | None) -> Config:
    """The configuration of a run, or of something new."""
    return call.config if run is None else call.config_over(run.config)


def target_overrides(
    config: Config, board: str | None = None, kernels: str | None = None, optimize: str | None = None
) -> Config:
    """``config`` with the options that were given. Raises E_CONFIG_VALUE."""
    given = {"board": board, "kernels": kernels, "optimize": optimize}
    document = config.model_dump(mode="json", exclude_none=True)
    document["target"] |= {key: value for key, value in given.items() if value is not None}
    return parse_config(document, "command line")


def split_list(text: str | None) -> tuple[str, ...]:
    """``a,b`` -> (a, b); empty when absent."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()
