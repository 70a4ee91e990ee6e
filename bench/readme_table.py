# SPDX-License-Identifier: Apache-2.0
"""Tables of pages, most of the README, that are rendered from results: found by their markers, replaced as a whole.
Used by the ``*_table.py`` scripts beside this one; a test holds the pages and the results together."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def replace_table(page: Path, name: str, table: str) -> None:
    """Puts ``table`` between the markers ``<!-- name:begin -->`` and ``<!-- name:end -->`` of ``page``."""
    head, _, rest = page.read_text(encoding="utf-8").partition(begin(name))
    _, _, tail = rest.partition(end(name))
    page.write_text(f"{head}{begin(name)}\n{table}\n{end(name)}{tail}", encoding="utf-8")


def table_in(text: str, name: str) -> str:
    """What stands between the markers."""
    return text.split(begin(name))[1].split(end(name))[0].strip()


def load(name: str) -> dict[str, Any]:
    """``results/<name>.json``."""
    results: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return results


def run(name: str, render: Callable[[dict[str, Any]], str]) -> int:
    """The command line of a table script: print the table, or write it into a page."""
    parser = argparse.ArgumentParser(description=f"Render the table of {name} results.")
    parser.add_argument("--write", type=Path, help="page whose table between the markers is replaced")
    options = parser.parse_args()
    table = render(load(name))
    if options.write is None:
        print(table)
    else:
        replace_table(options.write, name, table)
    return 0


def begin(name: str) -> str:
    return f"<!-- {name}:begin -->"


def end(name: str) -> str:
    return f"<!-- {name}:end -->"
