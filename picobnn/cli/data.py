# SPDX-License-Identifier: Apache-2.0
"""``picobnn data list | info NAME | get NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table, verb

app = typer.Typer(help="Data sets: where they are, what they hold, getting them.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Name of the data set.")]


def _root(call: Invocation) -> Path | None:
    return Path(call.config.data.root) if call.config.data.root else None


def _list(call: Invocation) -> None:
    """List the data sets and where their files lie."""
    from picobnn.flow.data import data_list

    result = data_list(_root(call))
    rows = [(d.name, "x".join(map(str, d.shape)), d.classes, d.folder or "missing") for d in result.datasets]
    table = make_table("", ("name", "shape", "classes", "folder"), rows)
    call.finish(result, tables=[table], next_command="picobnn data info digits")


def _info(call: Invocation, name: Name) -> None:
    """Show one data set: source, licence, split."""
    from picobnn.flow.data import data_info

    result = data_info(name, _root(call))
    facts = result.datasets[0]
    lines = [f"{facts.title} ({facts.name})", f"licence: {facts.licence}", f"source: {facts.source}", facts.split]
    call.finish(
        result, tables=lines, next_command=f"picobnn data get {name}" if facts.folder is None else "picobnn train"
    )


def _get(call: Invocation, name: Name) -> None:
    """Fetch a data set, checked by its SHA-256; does nothing when it is there."""
    from picobnn.flow.data import data_get

    result = data_get(name, _root(call))
    call.finish(result, tables=[f"{name}: {result.datasets[0].folder}"], next_command="picobnn train")


app.command("list")(verb(_list))
app.command("info")(verb(_info))
app.command("get")(verb(_get))
