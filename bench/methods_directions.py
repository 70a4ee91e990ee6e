# SPDX-License-Identifier: Apache-2.0
"""Directions that the rows of ``bench/methods.py`` show or do not show, by paired seeds.

A direction is reproduced when the mean paired difference is above two standard errors. A difference is one per seed:
over the settings that both sides have, the mean. Accuracies are of the test split, choices of the validation split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, stdev

from methods_tables import Row, accuracy_of, cycles_of, fastest, table_of

ENOUGH = 3
"""Seeds."""
EQUAL_DENSITY = 0.05
"""Shares of ones that differ by more than this part of the larger are not equal."""
COST = 0.02
"""Of 30 to 40 % of the filters, at most."""
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


def paired(
    what: str,
    first: Mapping[str, Mapping[int, Row]],
    second: Mapping[str, Mapping[int, Row]],
    note: str = "",
    figure: Callable[[Row], float] = accuracy_of,
) -> Direction:
    """First over second; both by setting and seed. Seeds that lack one of the common settings are left out."""
    common = sorted(set(first) & set(second))
    seeds = set.intersection(*(set(first[s]) & set(second[s]) for s in common)) if common else set()
    differences = tuple(
        mean(figure(first[s][seed]) - figure(second[s][seed]) for s in common) for seed in sorted(seeds)
    )
    return Direction(what, differences, note or f"at {', '.join(common) or 'no common setting'}")


def directions(rows: Sequence[Row]) -> list[Direction]:
    """Every direction of the methods' papers that the bench asks about."""
    gates = table_of(rows, "gates")
    found = []
    for method in ("msf-layerwise", "msf-cascade"):
        baseline = table_of(rows, method)
        for rule in ("scale", "similar"):
            there = {s.removeprefix(f"{rule}-"): row for s, row in baseline.items() if s.startswith(f"{rule}-")}
            found.append(paired(f"gates beat {method} ({rule})", gates, there))
    found.append(paired("gates beat random deletion", gates, table_of(rows, "random")))
    found += [_small_cost(rows), _steadier(rows)]
    found += _domain(rows)
    found += _margins(rows)
    for method in ("ising", "edropout"):
        found.append(paired(f"{method} beats its control", table_of(rows, method), table_of(rows, f"{method}-control")))
    return found + _beside_narrower(rows)


def _small_cost(rows: Sequence[Row]) -> Direction:
    """What is left of two points when gates remove 30 to 40 % of the filters."""
    dense = table_of(rows, "dense").get("-", {})
    left: dict[int, list[float]] = {}
    for by_seed in table_of(rows, "gates").values():
        for seed, row in by_seed.items():
            if 0.3 <= row["pfr"] <= 0.4 and seed in dense:
                left.setdefault(seed, []).append(COST - (accuracy_of(dense[seed]) - accuracy_of(row)))
    return Direction(
        "gates at 30-40 % of the filters cost at most 2 points",
        tuple(mean(left[seed]) for seed in sorted(left)), "difference: what is left of the 2 points",
    )  # fmt: skip


def _steadier(rows: Sequence[Row]) -> Direction:
    """The unsteadiness of gate training without distillation, less that with it."""
    return paired(
        "distillation steadies the training of gates", table_of(rows, "gates-alone"), table_of(rows, "gates"),
        "deviation of the validation accuracy about its trend while gates train", unsteadiness,
    )  # fmt: skip


def unsteadiness(row: Row) -> float:
    """Standard deviation of the accuracy about its trend while the gates of a layer train: by half the mean squared
    difference of neighbouring points (von Neumann), the mean over layers under the root."""
    return math.sqrt(mean(mean((b - a) ** 2 for a, b in pairwise(curve)) / 2 for curve in row["gate_curve"]))


def _domain(rows: Sequence[Row]) -> list[Direction]:
    """Two values against -a and +a where both reached the same share of ones."""
    free, symmetric = table_of(rows, "domain"), table_of(rows, "domain-symmetric")
    gaps: dict[int, dict[float, float]] = {}
    unequal = []
    for setting in set(free) & set(symmetric):
        for seed in set(free[setting]) & set(symmetric[setting]):
            one, other = free[setting][seed], symmetric[setting][seed]
            pair = one["density"], other["density"]
            if abs(pair[0] - pair[1]) > EQUAL_DENSITY * max(pair):
                unequal.append(f"{setting}/{seed} ({pair[0]:.3f}, {pair[1]:.3f})")
            else:
                gaps.setdefault(seed, {})[float(setting)] = accuracy_of(one) - accuracy_of(other)
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
    sweep = table_of(rows, "binary-l2")
    if not sweep:
        return [Direction("Binary-L2 beats deterministic binarization", ())]
    best = max(sorted(sweep), key=lambda lam: mean(row["val_accuracy"] for row in sweep[lam].values()))
    chosen, note = {"-": sweep[best]}, f"lam {best}, chosen on validation images"
    return [
        paired(f"Binary-L2 beats {other} binarization", chosen, table_of(rows, other), note)
        for other in ("deterministic", "stochastic")
    ]


def accuracy_at(cycles: float, curve: Sequence[Row]) -> float | None:
    """Accuracy of dense networks of several widths at so many cycles, between neighbours on a straight line; None
    beyond both ends."""
    ranked = sorted(curve, key=cycles_of)
    for low, high in pairwise(ranked):
        if cycles_of(low) <= cycles <= cycles_of(high) and cycles_of(low) < cycles_of(high):
            share = (cycles - cycles_of(low)) / (cycles_of(high) - cycles_of(low))
            return accuracy_of(low) + share * (accuracy_of(high) - accuracy_of(low))
    return None


def _beside_narrower(rows: Sequence[Row]) -> list[Direction]:
    """Each setting against dense networks trained from scratch, at equal cycles on Cortex-M4; one with a teacher
    against networks with the same teacher, up to the teacher itself."""
    plain: dict[int, list[Row]] = {}
    taught: dict[int, list[Row]] = {}
    for row in fastest(rows):
        if row["method"] in ("dense", "narrower"):
            plain.setdefault(row["seed"], []).append(row)
        if row["method"] in ("dense", "narrower-taught"):
            taught.setdefault(row["seed"], []).append(row)
    found = []
    for method in sorted({row["method"] for row in rows} - {"dense", "narrower", "narrower-taught"}):
        curves = taught if method.endswith("-taught") else plain
        for setting, by_seed in sorted(table_of(rows, method).items()):
            differences, beyond = [], 0
            for seed, row in sorted(by_seed.items()):
                there = accuracy_at(cycles_of(row), curves.get(seed, []))
                beyond += there is None
                differences += [] if there is None else [accuracy_of(row) - there]
            note = "at equal cycles"
            if beyond:
                has_curve = any(len(curves.get(seed, [])) > 1 for seed in by_seed)
                reason = "outside the cycles of the narrower networks" if has_curve else "without narrower networks"
                note = f"{beyond} seeds {reason}"
            found.append(Direction(f"{method} {setting} beats a narrower network", tuple(differences), note))
    return found
