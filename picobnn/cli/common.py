# SPDX-License-Identifier: Apache-2.0
"""What every verb shares: the common options, printing of results and errors, exit codes.

Results go to standard output, progress and errors to standard error. With ``--json`` standard output holds exactly
one object, also for an error.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.table import Table

from picobnn.config import Config, load_config
from picobnn.errors import PicobnnError

DEFAULT_CONFIG = Path("picobnn.toml")


class Result(Protocol):
    """What a verb's flow function returns."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class Invocation:
    """The common options of one call. ``given``: the file of -c, if any; ./picobnn.toml serves new runs only."""

    given: Path | None
    overrides: tuple[str, ...]
    json: bool
    quiet: bool

    @property
    def config(self) -> Config:
        """The configuration of something new: -c or ./picobnn.toml, then --set."""
        path = self.given
        if path is None and DEFAULT_CONFIG.is_file():
            path = DEFAULT_CONFIG
        return load_config(path, self.overrides)

    def config_over(self, base: Path | None) -> Config:
        """The configuration of an existing run: its own file, then -c, then --set."""
        return load_config(self.given, self.overrides, base=base if base is not None and base.is_file() else None)

    @property
    def shows_progress(self) -> bool:
        return not (self.quiet or self.json)

    def say(self, text: str) -> None:
        """One line of progress on standard error; silent with --quiet and --json."""
        if self.shows_progress:
            print(text, file=sys.stderr, flush=True)

    def finish(
        self,
        result: Result,
        *,
        tables: Iterable[Table | str] = (),
        next_command: str = "",
        failure: PicobnnError | None = None,
    ) -> None:
        """Print the result: one JSON object, or tables and the next sensible command.

        A ``failure`` (a budget exceeded, a difference found) is part of the object or follows the tables, and its exit
        code ends the process.
        """
        if self.json:
            error = {} if failure is None else {"error": failure.as_dict()}
            print(json.dumps({**result.as_dict(), **error}, sort_keys=True))
        else:
            console = output_console()
            for item in tables:
                console.print(item, highlight=False, soft_wrap=isinstance(item, str))
            if failure is not None:
                print_error(failure, as_json=False)
            elif next_command and not self.quiet:
                print(f"next: {next_command}", file=sys.stderr)
        if failure is not None:
            raise typer.Exit(failure.exit_code)


def output_console() -> Console:
    """Standard output; wide enough for our tables when it is not a terminal."""
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "120"))
    return Console(width=width, soft_wrap=False)


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A plain table; every column but the first is right-aligned. Rows have a value for every column."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        assert len(row) == len(columns), f"'{title}': {len(row)} values for {len(columns)} columns"
        table.add_row(*(format_value(value) for value in row))
    return table


def format_value(value: object) -> str:
    """Numbers with thousands separators, absent values as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


_OPTIONS: Mapping[str, Any] = {
    "config_file": Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration file; ./picobnn.toml when it exists.")
    ],
    "overrides": Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key, e.g. train.epochs=10.")
    ],
    "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON object.")],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no hints.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of bugs.")],
}
_DEFAULTS: Mapping[str, Any] = {
    "config_file": None,
    "overrides": None,
    "as_json": False,
    "quiet": False,
    "verbose": False,
}


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the common options: its first parameter receives the :class:`Invocation`."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @functools.wraps(function)
    def wrapper(**arguments: Any) -> None:
        shared = {name: arguments.pop(name) for name in _OPTIONS}
        call = Invocation(shared["config_file"], tuple(shared["overrides"] or ()), shared["as_json"], shared["quiet"])
        function(call, **arguments)

    keyword = inspect.Parameter.KEYWORD_ONLY
    extra = [inspect.Parameter(name, keyword, default=_DEFAULTS[name], annotation=_OPTIONS[name]) for name in _OPTIONS]
    parameters = [parameter.replace(kind=keyword) for parameter in own] + extra
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def print_error(error: PicobnnError, *, as_json: bool) -> None:
    """The error form: id, place and what happened, then what to do."""
    if as_json:
        print(json.dumps({"error": error.as_dict()}, sort_keys=True))
        return
    print(f"error[{error.error_id.code}]: {error.where}: {error.what}", file=sys.stderr)
    print(f"  try: {error.remedy}", file=sys.stderr)
