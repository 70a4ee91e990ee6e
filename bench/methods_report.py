# SPDX-License-Identifier: Apache-2.0
"""What the rows of ``bench/methods.py`` say in all: directions, and whether pruning pays on Cortex-M4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from methods_directions import ENOUGH, directions
from methods_tables import CORE, FASTEST, Row, accuracy_of, cycles_of, fastest, reference_flash, table_of

DROP = 0.015
"""Accuracy that pruning may cost for "it pays"."""


@dataclass(frozen=True, slots=True)
class Pays:
    """Means over seeds relative to ``dense`` of the same seed: accuracy lost, and ratios on Cortex-M4."""

    method: str
    setting: str
    optimize: str
    seeds: int
    drop: float
    cycles: float
    flash: float

    def within(self, cycles: float, flash: float) -> bool:
        """At most :data:`DROP` lost at these ratios."""
        return self.drop <= DROP and self.cycles <= cycles and self.flash <= flash


def pays(rows: Sequence[Row]) -> list[Pays]:
    """Every setting and kind of plan against the dense network: cycles of its fastest plan, flash of that or of the
    balanced one, whichever is less. A kind that a seed has no plan of is not counted for others either."""
    whole = reference_flash(rows)
    dense = {row["seed"]: row for row in fastest(rows) if row["method"] == "dense"}
    found = {(row["method"], row["setting"], row["optimize"], row["seed"]): row for row in rows if row["seed"] in dense}
    table = []
    for method, setting, optimize in sorted({key[:3] for key in found}):
        seeds = [seed for seed in sorted(dense) if (method, setting, FASTEST, seed) in found]
        group = [row for seed in seeds if (row := found.get((method, setting, optimize, seed))) is not None]
        if len(group) < len(seeds):
            continue
        table.append(
            Pays(
                *(method, setting, optimize),
                seeds=len(group),
                drop=mean(accuracy_of(dense[row["seed"]]) - accuracy_of(row) for row in group),
                cycles=mean(cycles_of(row) / cycles_of(dense[row["seed"]]) for row in group),
                flash=mean(row["flash_bytes"] / whole[row["seed"]] for row in group),
            )
        )
    return table


TAUGHT = frozenset({"gates-taught", "domain-taught"})
PRUNING = frozenset({"gates", "gates-alone", "ising", "edropout", "domain", "gates+domain", *TAUGHT})
"""The methods that may meet the bars that any method may meet; controls and baselines do not count."""
BARS = (
    (frozenset({"gates", "gates-alone", "gates-taught"}), "gates", 0.65, 0.7),
    (frozenset({"ising"}), "ising", 0.65, 0.7),
    (frozenset({"domain", "domain-taught"}), "domain", 0.65, 0.7),
    (PRUNING, "some method, fast", 0.4, 1.2),
    (PRUNING, "some method, small", 0.6, 0.5),
)
"""Methods, name, at most these ratios of cycles and flash."""


def report_text(rows: Sequence[Row]) -> str:
    """Plain text: directions in points, the table of what pays, and the bars."""
    lines = ["Directions: mean paired difference +- two standard errors, accuracy in points"]
    for each in directions(rows):
        figures = f"{100 * each.mean:+.2f} +- {100 * each.two_errors:.2f}" if each.differences else "no pairs"
        lines.append(f"  {each.verdict:15} {each.what}: {figures}, {len(each.differences)} seeds; {each.note}")
    table = pays(rows)
    lines += ["", f"It pays ({CORE}), relative to dense: points lost, cycles, flash, seeds"]
    for row in table:
        name = f"{row.method} {row.setting} ({row.optimize})"
        lines.append(f"  {name:36} {100 * row.drop:+6.2f} {row.cycles:6.3f}x {row.flash:6.3f}x  {row.seeds}")
    lines.append("")
    lines += [f"  {line}" for line in bar_lines(table)]
    return "\n".join(lines)


def bar_lines(table: Sequence[Pays]) -> list[str]:
    """One sentence per bar: met by what, or not."""
    lines = []
    for methods, name, cycles, flash in BARS:
        met = [row for row in table if row.method in methods and row.within(cycles, flash)]
        said = "not met"
        if met:
            best = min(met, key=lambda row: (row.seeds < ENOUGH, row.cycles, row.flash))
            few = " (too few)" if best.seeds < ENOUGH else ""
            said = f"met by {best.method} {best.setting} ({best.optimize}), {best.seeds} seeds{few}"
        lines.append(f"{name}: <= {cycles}x cycles and <= {flash}x flash at <= {100 * DROP:g} points: {said}")
    return lines


def draw(rows: Sequence[Row], path: Path) -> None:
    """Accuracy (means over seeds) against modelled cycles on Cortex-M4, one line per method. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6))
    for number, method in enumerate(sorted({row["method"] for row in rows})):
        points = sorted(
            (mean(map(cycles_of, by_seed.values())), mean(map(accuracy_of, by_seed.values())))
            for by_seed in table_of(rows, method).values()
        )
        style = {"marker": "osv^D*"[number % 6], "linestyle": "-" if number < 10 else "--"}
        axes.plot([x / 1e6 for x, _ in points], [100 * y for _, y in points], label=method, **style)
    axes.set_xlabel("Cortex-M4 cycles per image, modelled (millions)")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
