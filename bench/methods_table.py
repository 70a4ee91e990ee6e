# SPDX-License-Identifier: Apache-2.0
"""The tables of ``docs/pruning.md``, rendered from ``bench/results/methods.json``; a test holds the two together.

python bench/methods_table.py --write docs/pruning.md
"""

from __future__ import annotations

import sys
from typing import Any

from methods_directions import Direction, directions
from methods_report import Pays, bar_lines, pays
from methods_tables import FASTEST, Row
from readme_table import run

LIMITED = ("flash 0.7x", "flash 0.5x")


def render(results: dict[str, Any]) -> str:
    """Markdown: what every setting costs and brings, the bars, and the directions."""
    rows: list[Row] = results["rows"]
    table = pays(rows)
    kept = {(row["method"], row["setting"]): row["widths"] for row in rows}
    kinds = {(row.method, row.setting, row.optimize): row for row in table}
    lines = [
        "| method | setting | filters | points lost | for speed | balanced | in 0.7x flash | in 0.5x flash | seeds |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted((row for row in table if row.optimize == FASTEST), key=lambda row: (row.method, row.setting)):
        key = (row.method, row.setting)
        others = " | ".join(_ratios(kinds.get((*key, kind))) for kind in (FASTEST, "balanced", *LIMITED))
        widths = "-".join(map(str, kept[key]))
        lines.append(f"| {row.method} | {row.setting} | {widths} | {100 * row.drop:.2f} | {others} | {row.seeds} |")
    lines += ["", *(f"- {line}." for line in bar_lines(table)), ""]
    lines += ["| direction | mean difference, two standard errors | seeds | verdict |", "|---|--:|--:|---|"]
    return "\n".join([*lines, *map(_direction, directions(rows))])


def _ratios(row: Pays | None) -> str:
    return "-" if row is None else f"{row.cycles:.2f}x, {row.flash:.2f}x"


def _direction(each: Direction) -> str:
    errors = f", {100 * each.two_errors:.2f}" if len(each.differences) > 1 else ""
    figures = f"{100 * each.mean:+.2f}{errors}" if each.differences else "-"
    return f"| {each.what} ({each.note}) | {figures} | {len(each.differences)} | {each.verdict} |"


if __name__ == "__main__":
    sys.exit(run("methods", render))
