# SPDX-License-Identifier: Apache-2.0
"""Assembles the verbs into one command; ``main`` maps failures to exit codes."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence

import typer

from picobnn import __version__
from picobnn.cli import (
    analyze,
    build,
    data,
    demo,
    doctor,
    export,
    flash,
    generate,
    profile,
    prune,
    report,
    run,
    train,
    verify,
)
from picobnn.cli.common import print_error, verb
from picobnn.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, ErrorId, PicobnnError

app = typer.Typer(
    name="picobnn",
    help="Pruned binary neural networks as Cortex-M firmware that computes exactly what was trained.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for module in (doctor, train, prune, export, analyze, generate, build, verify, flash, profile, report, run, demo):
    app.command(module.NAME)(verb(module.invoke))
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def _no_verb(
    context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version.")
) -> None:
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(ErrorId.USAGE.exit_code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises for what a user can cause."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        code = app(args=given, standalone_mode=False, prog_name="picobnn")
        return code if isinstance(code, int) else EXIT_OK
    except PicobnnError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except typer.TyperException as error:
        print_error(_usage_error(error), as_json=as_json)
        return ErrorId.USAGE.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_OK
    except Exception as error:  # noqa: BLE001  the last line of defence: a bug, said as one
        if "--verbose" in given or "-v" in given:
            traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})."
        remedy = "This is an error in picobnn; run again with --verbose and report it."
        if as_json:
            bug = {"id": "E_BUG", "what": what, "where": "picobnn", "remedy": remedy, "exit_code": EXIT_BUG}
            print(json.dumps({"error": bug}, sort_keys=True))
        print(f"bug: {what} {remedy}", file=sys.stderr)
        return EXIT_BUG


def _usage_error(error: typer.TyperException) -> PicobnnError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "picobnn"
    return PicobnnError(ErrorId.USAGE, error.format_message(), where=command, remedy=f"See '{command} --help'.")
