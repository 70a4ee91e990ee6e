# SPDX-License-Identifier: Apache-2.0
"""The pruning methods on one network, from training to firmware: accuracy, flash, RAM and cycles of every setting.

    python bench/methods.py --dry-run                  # the cells that lack a row, with estimated CPU minutes
    python bench/methods.py --minutes 120              # run cells, table by table, and stop in time; run again to go on
    python bench/methods.py --only gates --seeds 0     # one method (and what it builds on)
    python bench/methods.py --again                    # rows of other commits anew, where the network is kept
    python bench/methods.py --report --plot plot.svg   # what the rows say

A process computes with one thread. To use two cores give two processes different seeds (``--seeds 0``, ``--seeds 1``).
Rows are merged into the results file after every cell. Networks are kept in ``--keep``; a lost folder costs time only:
trained again with the same seed they are the same. Accuracy is that of the test split, scored once per cell, beside
that of the validation split, on which choices are made. Cycles are modelled at zero wait states, never measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from methods_cells import all_tables
from methods_lab import RECIPES, Cell, Lab, Recipe, cpu_seconds
from methods_report import draw, report_text
from methods_rows import Row, done_cells, make_rows, merge_rows, read_rows
from methods_tables import reference_flash

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "methods.json"
KEEP = ROOT / "runs" / "bench-methods"
SEEDS = (0, 1, 2)
CHANGED = "-changed"
ROW_MINUTES = 0.2
"""CPU minutes of scoring a network and of linking and running its images: a first guess."""


def estimated_minutes(cell: Cell, rows: Sequence[Row], recipe: Recipe) -> float:
    """CPU minutes of a cell: the mean of its other seeds, else from its effort and what an epoch has cost so far."""
    images = mean([row["firmware_cpu_seconds"] / 60 for row in rows] or [ROW_MINUTES])
    own = [row["cpu_seconds"] / 60 for row in rows if (row["method"], row["setting"]) == cell.key]
    if own:
        return mean(own) + images
    dense = [row["cpu_seconds"] / 60 for row in rows if row["method"] == "dense"]
    epoch = mean(dense) / (recipe.start + recipe.after) if dense else recipe.epoch_minutes
    return cell.effort * epoch + images


def to_do(tables: Sequence[Sequence[Cell]], seeds: Sequence[int], rows: Sequence[Row]) -> list[tuple[Cell, int]]:
    """What lacks its row: all seeds of a table before the next table."""
    done = done_cells(rows)
    return [(cell, seed) for table in tables for seed in seeds for cell in table if (*cell.key, seed) not in done]


def run_cells(
    work: Sequence[tuple[Cell, int]], lab: Lab, results: Path, header: Mapping[str, Any], minutes: float | None
) -> int:
    """Run and store cells; stops before one whose estimate would exceed ``minutes`` of CPU time. Returns how many."""
    started, commit = cpu_seconds(), _commit()
    for number, (cell, seed) in enumerate(work):
        expected = estimated_minutes(cell, read_rows(results, dict(header)), lab.recipe)
        spent = (cpu_seconds() - started) / 60
        if minutes is not None and spent + expected > minutes:
            print(f"stopped before {' '.join(cell.key)} seed {seed}: {spent:.1f} + {expected:.1f} minutes", flush=True)
            return number
        trained = lab.trained(cell, seed)
        rows = make_rows(lab, *cell.key, seed, trained, commit, _dense_flash(read_rows(results, dict(header)), seed))
        merge_rows(results, dict(header), rows)
        row = rows[0]
        print(
            f"{cell.method:17} {cell.setting:13} {seed}  test {row['accuracy']:.4f}  validation "
            f"{row['val_accuracy']:.4f}  {row['cycles']['cortex-m4']:>10,} cycles  {row['flash_bytes']:>7,} bytes  "
            f"{row['cpu_seconds'] / 60:.1f} + {row['firmware_cpu_seconds'] / 60:.1f} minutes",
            flush=True,
        )
    return len(work)


def _dense_flash(rows: Sequence[Row], seed: int) -> int | None:
    """That of the dense network of the seed, or of another, which differs by a few bytes; None before any."""
    known = reference_flash(rows)
    return known.get(seed, next(iter(known.values()), None))


def _commit() -> str:
    """The commit, followed by CHANGED where files other than results differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")
    return git("rev-parse", "HEAD") + (CHANGED if changes else "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=sorted(RECIPES), default="fmnist_cnn", help="digits_cnn: for tests")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="these methods alone")
    parser.add_argument("--minutes", type=float, help="CPU minutes that this run may take")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--keep", type=Path, default=KEEP, help="folder of the trained networks")
    parser.add_argument("--again", action="store_true", help="kernels changed: link and run the kept networks anew")
    parser.add_argument("--dry-run", action="store_true", help="list what would run")
    parser.add_argument("--report", action="store_true", help="print what the rows say")
    parser.add_argument("--plot", type=Path, help="also draw accuracy against cycles there")
    options = parser.parse_args(arguments)

    recipe = RECIPES[options.network]
    header = {"network": options.network, "recipe": recipe.as_dict(), "threads": options.threads}
    if options.report or options.plot is not None:
        rows = read_rows(options.results)
        if not rows:
            parser.error(f"{options.results} has no rows")
        print(report_text(rows))
        if options.plot is not None:
            draw(rows, options.plot)
        return 0
    rows = read_rows(options.results, header)
    tables = all_tables(recipe)
    known = {cell.method for table in tables for cell in table}
    if not known.issuperset(options.only or ()):
        parser.error(f"methods are: {', '.join(sorted(known))}")
    chosen = [[cell for cell in table if options.only is None or cell.method in options.only] for table in tables]
    settings = header["recipe"]
    tag = "-".join(str(value) for key, value in sorted(settings.items()) if key not in ("widths", "dataset"))
    folder = options.keep / f"{options.network}-{'x'.join(map(str, recipe.widths))}-{tag}"
    lab = Lab(options.network, recipe, folder, threads=options.threads)
    work = to_do(chosen, options.seeds, rows)
    if options.again:
        current = [row for row in rows if row["commit"] == _commit() and not row["commit"].endswith(CHANGED)]
        work = [each for each in to_do(chosen, options.seeds, current) if lab.is_kept(*each)]
    if options.dry_run:
        total = 0.0
        for cell, seed in work:
            total += (minutes := estimated_minutes(cell, rows, recipe))
            print(f"{cell.method:17} {cell.setting:13} {seed}  {minutes:6.1f}")
        print(f"{len(work)} cells, {total:.0f} CPU minutes estimated")
        return 0
    run_cells(work, lab, options.results, header, options.minutes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
