# SPDX-License-Identifier: Apache-2.0
"""What the rows of ``bench/methods.py`` say: directions by paired seeds, and whether pruning pays.

A direction is reproduced when the mean paired difference is above two standard errors. A difference is one per seed:
over the settings that both sides have, the mean. Accuracies are of the test split, choices of the validation split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

Row = dict[str, Any]
Score = Callable[[Row], float]

ENOUGH = 3
"""Seeds."""
EQUAL_DENSITY = 0.05
"""Shares of ones that differ by more than this part of the larger are not equal."""
COST = 0.02
"""Of 30 to 40 % of the filters, at most."""
DROP = 0.015
"""Accuracy that pruning may cost for "it pays"."""
CORE = "cortex-m4"
SPARSE = 0.5  # at this share of ones and above there is no sparsity to compare


@dataclass(frozen=True, slots=True)
class Direction:
    """``differences``: one per seed, positive where the direction holds."""

    what: str
    differences: tuple[float, ...]
    note: str = ""

    @property
    def mean(self) -> float:
        return mean(self.differences) if self.differences else math.nan

    @property
    def two_errors(self) -> float:
        """Two standard errors of the mean."""
        count = len(self.differences)
        return 2 * stdev(self.differences) / math.sqrt(count) if count > 1 else math.nan

    @property
    def verdict(self) -> str:
        if len(self.differences) < ENOUGH:
            return "too few seeds"
        return "reproduced" if self.mean > self.two_errors else "not reproduced"


def fastest(rows: Iterable[Row]) -> list[Row]:
    """One row per network: that of the plan for speed."""
    return [row for row in rows if row["optimize"] == "speed"]


def _table(rows: Iterable[Row], method: str) -> dict[str, dict[int, Row]]:
    """Setting -> seed -> row."""
    table: dict[str, dict[int, Row]] = {}
    for row in fastest(rows):
        if row["method"] == method:
            table.setdefault(row["setting"], {})[row["seed"]] = row
    return table


def _accuracy(row: Row) -> float:
    return float(row["accuracy"])


def paired(
    what: str, first: Mapping[str, Mapping[int, Row]], second: Mapping[str, Mapping[int, Row]], note: str = ""
) -> Direction:
    """First over second; both by setting and seed. Seeds that lack one of the common settings are left out."""
    common = sorted(set(first) & set(second))
    seeds = set.intersection(*(set(first[s]) & set(second[s]) for s in common)) if common else set()
    differences = tuple(
        mean(_accuracy(first[s][seed]) - _accuracy(second[s][seed]) for s in common) for seed in sorted(seeds)
    )
    return Direction(what, differences, note or f"at {', '.join(common) or 'no common setting'}")


def directions(rows: Sequence[Row]) -> list[Direction]:
    """Every direction of the methods' papers that the bench asks about."""
    gates = _table(rows, "gates")
    found = []
    for method in ("msf-layerwise", "msf-cascade"):
        baseline = _table(rows, method)
        for rule in ("scale", "similar"):
            there = {s.removeprefix(f"{rule}-"): row for s, row in baseline.items() if s.startswith(f"{rule}-")}
            found.append(paired(f"gates beat {method} ({rule})", gates, there))
    found.append(paired("gates beat random deletion", gates, _table(rows, "random")))
    found += [_small_cost(rows), _steadier(rows)]
    found += _domain(rows)
    found += _margins(rows)
    for method in ("ising", "edropout"):
        found.append(paired(f"{method} beats its control", _table(rows, method), _table(rows, f"{method}-control")))
    return found + _beside_narrower(rows)


def _small_cost(rows: Sequence[Row]) -> Direction:
    """What is left of two points when gates remove 30 to 40 % of the filters."""
    dense = _table(rows, "dense").get("-", {})
    left: dict[int, list[float]] = {}
    for by_seed in _table(rows, "gates").values():
        for seed, row in by_seed.items():
            if 0.3 <= row["pfr"] <= 0.4 and seed in dense:
                left.setdefault(seed, []).append(COST - (_accuracy(dense[seed]) - _accuracy(row)))
    return Direction(
        "gates at 30-40 % of the filters cost at most 2 points",
        tuple(mean(left[seed]) for seed in sorted(left)), "difference: what is left of the 2 points",
    )  # fmt: skip


def _steadier(rows: Sequence[Row]) -> Direction:
    """Distance from the mean over seeds, without distillation less with it; per seed the mean over settings."""

    def distances(table: Mapping[str, Mapping[int, Row]], seeds: set[int]) -> dict[int, float]:
        found: dict[int, list[float]] = {seed: [] for seed in seeds}
        for by_seed in table.values():
            middle = mean(_accuracy(by_seed[seed]) for seed in seeds)
            for seed in seeds:
                found[seed].append(abs(_accuracy(by_seed[seed]) - middle))
        return {seed: mean(values) for seed, values in found.items()}

    what, note = "distillation lowers the variance of gates", "distance of each seed from the mean over seeds"
    gates, alone = _table(rows, "gates"), _table(rows, "gates-alone")
    common = set(gates) & set(alone)
    if not common:
        return Direction(what, (), note)
    seeds = set.intersection(*(set(table[s]) for table in (gates, alone) for s in common))
    if not seeds:
        return Direction(what, (), note)
    with_it = distances({s: gates[s] for s in common}, seeds)
    without = distances({s: alone[s] for s in common}, seeds)
    return Direction(what, tuple(without[seed] - with_it[seed] for seed in sorted(seeds)), note)


def _domain(rows: Sequence[Row]) -> list[Direction]:
    """Two values against -a and +a where both reached the same share of ones."""
    free, symmetric = _table(rows, "domain"), _table(rows, "domain-symmetric")
    gaps: dict[int, dict[float, float]] = {}
    unequal = []
    for setting in set(free) & set(symmetric):
        for seed in set(free[setting]) & set(symmetric[setting]):
            one, other = free[setting][seed], symmetric[setting][seed]
            pair = one["density"], other["density"]
            if abs(pair[0] - pair[1]) > EQUAL_DENSITY * max(pair):
                unequal.append(f"{setting}/{seed} ({pair[0]:.3f}, {pair[1]:.3f})")
            else:
                gaps.setdefault(seed, {})[float(setting)] = _accuracy(one) - _accuracy(other)
    note = f"left out, shares differ: {', '.join(sorted(unequal))}" if unequal else "at equal shares of ones"
    sparse = {seed: [gap for share, gap in by.items() if share < SPARSE] for seed, by in gaps.items()}
    slopes = [slope([(-math.log2(share), gap) for share, gap in sorted(gaps[seed].items())]) for seed in sorted(gaps)]
    found = [
        Direction("{alpha, beta} beats +-a", tuple(mean(gap) for _, gap in sorted(sparse.items()) if gap), note),
        Direction(
            "the gap grows with sparsity", tuple(each for each in slopes if each is not None),
            "gap per halving of the share of ones",
        ),
    ]  # fmt: skip
    for share in sorted({share for by in gaps.values() for share in by}, reverse=True):
        differences = tuple(gaps[seed][share] for seed in sorted(gaps) if share in gaps[seed])
        found.append(Direction(f"{{alpha, beta}} beats +-a at {share:g}", differences, note))
    return found


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Least squares; None for fewer than two places."""
    if len({x for x, _ in points}) < 2:
        return None
    middle_x, middle_y = mean(x for x, _ in points), mean(y for _, y in points)
    above = sum((x - middle_x) * (y - middle_y) for x, y in points)
    return above / sum((x - middle_x) ** 2 for x, _ in points)


def _margins(rows: Sequence[Row]) -> list[Direction]:
    """The coefficient is chosen on the validation split, as the mean over seeds."""
    sweep = _table(rows, "binary-l2")
    if not sweep:
        return [Direction("Binary-L2 beats deterministic binarization", ())]
    best = max(sorted(sweep), key=lambda lam: mean(row["val_accuracy"] for row in sweep[lam].values()))
    chosen, note = {"-": sweep[best]}, f"lam {best}, chosen on validation images"
    return [
        paired(f"Binary-L2 beats {other} binarization", chosen, _table(rows, other), note)
        for other in ("deterministic", "stochastic")
    ]


def _cycles(row: Row) -> float:
    return float(row["cycles"][CORE])


def accuracy_at(cycles: float, curve: Sequence[Row]) -> float | None:
    """Accuracy of dense networks of several widths at so many cycles, between neighbours on a straight line; None
    beyond both ends."""
    ranked = sorted(curve, key=_cycles)
    for low, high in pairwise(ranked):
        if _cycles(low) <= cycles <= _cycles(high) and _cycles(low) < _cycles(high):
            share = (cycles - _cycles(low)) / (_cycles(high) - _cycles(low))
            return _accuracy(low) + share * (_accuracy(high) - _accuracy(low))
    return None


def _beside_narrower(rows: Sequence[Row]) -> list[Direction]:
    """Each setting against dense networks trained from scratch, at equal cycles on Cortex-M4."""
    curves: dict[int, list[Row]] = {}
    for row in fastest(rows):
        if row["method"] in ("dense", "narrower"):
            curves.setdefault(row["seed"], []).append(row)
    found = []
    for method in sorted({row["method"] for row in rows} - {"dense", "narrower"}):
        for setting, by_seed in sorted(_table(rows, method).items()):
            differences, beyond = [], 0
            for seed, row in sorted(by_seed.items()):
                there = accuracy_at(_cycles(row), curves.get(seed, []))
                beyond += there is None
                differences += [] if there is None else [_accuracy(row) - there]
            note = f"{beyond} seeds outside the cycles of the narrower networks" if beyond else "at equal cycles"
            found.append(Direction(f"{method} {setting} beats a narrower network", tuple(differences), note))
    return found


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
    """Every setting and kind of plan against the fastest plan of the dense network."""
    dense = {row["seed"]: row for row in fastest(rows) if row["method"] == "dense"}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["seed"] in dense:
            groups.setdefault((row["method"], row["setting"], row["optimize"]), []).append(row)
    return [
        Pays(
            *key,
            seeds=len(group),
            drop=mean(_accuracy(dense[row["seed"]]) - _accuracy(row) for row in group),
            cycles=mean(_cycles(row) / _cycles(dense[row["seed"]]) for row in group),
            flash=mean(row["flash_bytes"] / dense[row["seed"]]["flash_bytes"] for row in group),
        )
        for key, group in sorted(groups.items())
    ]


PRUNING = frozenset({"gates", "gates-alone", "ising", "edropout", "domain", "gates+domain"})
"""The methods that may meet the bars that any method may meet; controls and baselines do not count."""
BARS = (
    (frozenset({"gates", "gates-alone"}), "gates", 0.65, 0.7),
    (frozenset({"ising"}), "ising", 0.65, 0.7),
    (frozenset({"domain"}), "domain", 0.65, 0.7),
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
    lines += ["", f"It pays ({CORE}), relative to the fastest plan of dense: points lost, cycles, flash, seeds"]
    for row in table:
        name = f"{row.method} {row.setting} ({row.optimize})"
        lines.append(f"  {name:36} {100 * row.drop:+6.2f} {row.cycles:6.3f}x {row.flash:6.3f}x  {row.seeds}")
    lines.append("")
    for methods, name, cycles, flash in BARS:
        met = [row for row in table if row.method in methods and row.within(cycles, flash)]
        said = "not met"
        if met:
            best = min(met, key=lambda row: (row.cycles, row.flash))
            said = f"met by {best.method} {best.setting} ({best.optimize}), {best.seeds} seeds"
        lines.append(f"  {name}: <= {cycles}x cycles and <= {flash}x flash at <= {100 * DROP:g} points: {said}")
    return "\n".join(lines)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Accuracy (means over seeds) against modelled cycles on Cortex-M4, one line per method. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6))
    for number, method in enumerate(sorted({row["method"] for row in rows})):
        points = sorted(
            (mean(map(_cycles, by_seed.values())), mean(map(_accuracy, by_seed.values())))
            for by_seed in _table(rows, method).values()
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
