# SPDX-License-Identifier: Apache-2.0
"""The cells of ``bench/methods.py``: every method with its settings, in tables that answer one question each.

A rate takes about that share of the filters from every layer, to whole words of channels, so that all methods and their
controls lose as many filters per layer (equal PFR): of 32, 64 and 128 filters 24, 32 and 96 stay at 0.35.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from methods_lab import Cell, Lab, Recipe
from torch import nn

from picobnn.trainer.evaluate import evaluate
from picobnn.trainer.fit import StepRecord
from picobnn.trainer.layers import fractional_bits
from picobnn.trainer.models import Network
from picobnn.trainer.pruning import (
    Binarization,
    BinaryL2,
    Distillation,
    EDropout,
    GateLoss,
    Gates,
    GeneralDomain,
    IsingPruning,
    LossSensitivity,
    MsfCascade,
    MsfLayerwise,
    Ones,
    Phase,
    RandomFilters,
    RandomState,
    Rule,
    apply,
    find_filters,
)
from picobnn.trainer.pruning.general_domain import DEFAULT_VALUE_BITS

NARROWER = (0.75, 0.5, 0.35)
RATES = (0.35, 0.5)
"""Shares of the filters that go."""
SHARES = (0.1, 0.05, 0.25, 0.5, 0.03)
TAUGHT_NARROWER = (0.5, 0.35)
TAUGHT_GATES = ((1, 0.5, 0.25), (0.5, 0.5, 0.25))
"""Parts of the widths that stay: fewest where weights are most, in the last layer and the head behind it."""
TAUGHT_SHARES = ((0.05, (1, 1, 0.75)), (0.05, (1, 1, 1)))
"""Shares of ones, and parts of the widths: the head behind the last layer keeps its bits."""
LAMS = (0.003, 0.01, 0.03, 0.1)
COMBINED = 0.1
"""Share of ones behind gates at the first of RATES."""

LAYER_RATE = 1e-4
"""Of the epochs per layer (methods.md 1); gates learn at ten times that."""

CURVE_POINTS, CURVE_IMAGES = 10, 1000
"""Looks at the accuracy while the gates of one layer train, and validation images of each."""

_TAUGHT = 1.6  # a step with a teacher's forward pass
_EVOLVED = 2.5  # a step that scores 8 states costs about this many; half of the steps do
_GATED = 1.6  # a step of gates, in float32, with a teacher's forward pass more and without a backward pass below


def all_tables(recipe: Recipe) -> list[list[Cell]]:
    """Every cell, what others build on first; the tables in the order in which they are worth having."""
    after = recipe.after
    middle, heavy = (_gates_cell(recipe, rate, Distillation()) for rate in RATES)
    share = COMBINED
    return [
        [Cell("dense", "-", _both(recipe), lambda lab, seed: lab.then(lab.start(seed), seed))],
        _domain_cells(recipe, share),
        [middle],
        _searched_cells(recipe, "ising", RATES[0]),
        _filter_cells(recipe, middle, RATES[0]),
        [Cell("narrower", f"{x:g}", x**1.5 * _both(recipe), _narrower(x)) for x in NARROWER],
        _margin_cells(recipe),
        *(_domain_cells(recipe, each) for each in SHARES if each != share),
        [heavy],
        _searched_cells(recipe, "ising", RATES[1]),
        _filter_cells(recipe, heavy, RATES[1]),
        [Cell("gates+domain", f"{RATES[0]:g}+{share:g}", 1.1 * after, _domain_behind(middle, share))],
        _searched_cells(recipe, "edropout", RATES[0]),
        _taught_cells(recipe),
    ]


def all_cells(recipe: Recipe) -> list[Cell]:
    """The cells of all tables."""
    return [cell for table in all_tables(recipe) for cell in table]


def _behind_deletion(recipe: Recipe) -> int:
    """Epochs of what deletes filters by a rule: those of the layers and the second part."""
    return len(recipe.widths) * recipe.layer + recipe.after


def _gates_cell(recipe: Recipe, rate: float, distillation: Distillation | None) -> Cell:
    name = "gates-alone" if distillation is None else "gates"
    effort = _behind_deletion(recipe) + len(recipe.widths) * recipe.gate * _GATED
    return Cell(name, f"{rate:g}", effort, _gates(rate, distillation))


def _filter_cells(recipe: Recipe, gates: Cell, rate: float) -> list[Cell]:
    """What gates are compared with, at their counts."""
    cells, effort = [_gates_cell(recipe, rate, None)], _behind_deletion(recipe)
    cells.append(Cell("random", f"{rate:g}", effort, _ranked(gates, is_random=True)))
    for rule in (Rule.SCALE, Rule.SIMILAR):
        for name, kind in (("msf-layerwise", MsfLayerwise), ("msf-cascade", MsfCascade)):
            cells.append(Cell(name, f"{rule.value}-{rate:g}", effort, _by_rule(kind, rule, gates)))
    return [*cells, Cell("sensitivity", f"{rate:g}", effort, _ranked(gates, is_random=False))]


def _searched_cells(recipe: Recipe, name: str, rate: float) -> list[Cell]:
    """A state search and its control of random filters."""
    evolving = 1.2 if name == IsingPruning.name else (1 + _EVOLVED) / 2
    chosen = Cell(name, f"{rate:g}", evolving * recipe.after, _searched(name, rate))
    return [chosen, Cell(f"{name}-control", f"{rate:g}", recipe.after, _control(chosen))]


def _domain_cells(recipe: Recipe, share: float) -> list[Cell]:
    effort = 1.1 * _both(recipe)
    return [
        Cell(name, f"{share:g}", effort, _domain(share, is_symmetric=is_symmetric))
        for name, is_symmetric in (("domain", False), ("domain-symmetric", True))
    ]


def _margin_cells(recipe: Recipe) -> list[Cell]:
    return [
        Cell("deterministic", "-", 0, _binary_l2(0.0)),
        *(Cell("binary-l2", f"{lam:g}", 1.1 * recipe.start, _binary_l2(lam)) for lam in LAMS),
        Cell("stochastic", "-", recipe.start, _binary_l2(0.0, Binarization.STOCHASTIC)),
    ]


def _taught_cells(recipe: Recipe) -> list[Cell]:
    """What has the dense network for a teacher, and narrower networks that have it too."""
    both = _TAUGHT * _both(recipe)
    cells = []
    for share, parts in TAUGHT_SHARES:
        widths = _parts(recipe, parts)
        train = _domain(share, is_symmetric=False, widths=widths, is_taught=True)
        cells.append(Cell("domain-taught", f"{share:g}-of-{_named(widths)}", both, train))
    effort = _TAUGHT * _behind_deletion(recipe) + len(recipe.widths) * recipe.gate * _GATED
    for parts in TAUGHT_GATES:
        widths = _parts(recipe, parts)
        cells.append(Cell("gates-taught", _named(widths), effort, _gates_taught(widths)))
    return cells + [
        Cell("narrower-taught", f"{x:g}", x**1.5 * both, _narrower(x, is_taught=True)) for x in TAUGHT_NARROWER
    ]


def _both(recipe: Recipe) -> int:
    """Epochs of both parts."""
    return recipe.start + recipe.after


def _parts(recipe: Recipe, parts: Sequence[float]) -> tuple[int, ...]:
    return tuple(math.ceil(part * width) for part, width in zip(parts, recipe.widths, strict=True))


def _named(widths: Sequence[int]) -> str:
    return "-".join(map(str, widths))


def _narrower(share: float, *, is_taught: bool = False) -> Any:
    return lambda lab, seed: lab.then(lab.start(seed, share, is_taught=is_taught), seed, is_taught=is_taught)


def _gates(rate: float, distillation: Distillation | None) -> Any:
    def train(lab: Lab, seed: int) -> Network:
        recipe = lab.recipe
        curve = _Curve(lab)
        method = Gates(
            GateLoss(distillation=distillation),
            gates=Phase(1e-3, recipe.gate),
            retrain=Phase(LAYER_RATE, recipe.layer),
            after_step=[curve],
        )
        small, _ = apply(lab.start(seed), method, lab.quota(rate), lab.training(seed))
        lab.note("gate_curve", curve.layers)
        return lab.then(_network(small), seed)

    return train


def _gates_taught(widths: Sequence[int]) -> Any:
    """Behind the first part; while gates train their teacher is the network that they are put into."""

    def train(lab: Lab, seed: int) -> Network:
        recipe = lab.recipe
        method = Gates(gates=Phase(1e-3, recipe.gate), retrain=Phase(LAYER_RATE, recipe.layer))
        small, _ = apply(lab.start(seed), method, lab.quota_for(widths), lab.training(seed, is_taught=True))
        return lab.then(_network(small), seed, is_taught=True)

    return train


class _Curve:
    """A step callback. ``layers``: accuracy on the first validation images, :data:`CURVE_POINTS` times while the gates
    of each layer train, layer after layer."""

    def __init__(self, lab: Lab) -> None:
        self._split = lab.dataset.val.take(slice(CURVE_IMAGES))
        self.layers: list[list[float]] = []

    def __call__(self, model: nn.Module, place: StepRecord) -> None:
        if place.step == 0:
            self.layers.append([])
        if (place.step + 1) * CURVE_POINTS // place.steps > place.step * CURVE_POINTS // place.steps:
            self.layers[-1].append(evaluate(model, self._split.images, self._split.labels))


def _by_rule(kind: type[MsfLayerwise | MsfCascade], rule: Rule, gates: Cell) -> Any:
    """At the counts of the gates; layer-wise has all epochs of the layers in its one retraining."""

    def train(lab: Lab, seed: int) -> Network:
        quota = lab.counts_of(lab.trained(gates, seed).network)
        epochs = lab.recipe.layer * (len(lab.recipe.widths) if kind is MsfLayerwise else 1)
        small, _ = apply(lab.start(seed), kind(rule, retrain=Phase(LAYER_RATE, epochs)), quota, lab.training(seed))
        return lab.then(_network(small), seed)

    return train


def _ranked(gates: Cell, *, is_random: bool) -> Any:
    """Deleted at once, at the counts of the gates, and retrained as they are."""

    def train(lab: Lab, seed: int) -> Network:
        recipe = lab.recipe
        quota = lab.counts_of(lab.trained(gates, seed).network)
        method = RandomFilters(seed) if is_random else LossSensitivity()
        small, _ = apply(lab.start(seed), method, quota, lab.training(seed))
        lab.training(seed, len(recipe.widths) * recipe.layer, LAYER_RATE).fit(_network(small))
        return lab.then(_network(small), seed)

    return train


def _searched(name: str, rate: float) -> Any:
    def train(lab: Lab, seed: int) -> Network:
        method = IsingPruning() if name == IsingPruning.name else EDropout()
        small, _ = apply(lab.start(seed), method, lab.quota(rate), lab.training(seed))
        return _network(small)

    return train


def _control(chosen: Cell) -> Any:
    def train(lab: Lab, seed: int) -> Network:
        kept = {group.name: group.filters for group in find_filters(lab.trained(chosen, seed).network)}
        small, _ = apply(lab.start(seed), RandomState(kept, seed), None, lab.training(seed))
        return _network(small)

    return train


def _domain(share: float, *, is_symmetric: bool, widths: Sequence[int] | None = None, is_taught: bool = False) -> Any:
    """From random weights, as published, in one part as long as both. Both kinds on one grid of values, fine enough for
    the share."""

    def train(lab: Lab, seed: int) -> Network:
        recipe = lab.recipe
        method = GeneralDomain(_value_bits(share), symmetric=is_symmetric)
        training = lab.training(seed, _both(recipe), recipe.start_rate, is_taught=is_taught)
        return _network(apply(lab.fresh(seed, widths), method, Ones(share), training)[0])

    return train


def _domain_behind(cell: Cell, share: float) -> Any:
    def train(lab: Lab, seed: int) -> Network:
        network = lab.trained(cell, seed).network
        return _network(apply(network, GeneralDomain(_value_bits(share)), Ones(share), lab.training(seed))[0])

    return train


def _value_bits(share: float) -> int:
    return max(DEFAULT_VALUE_BITS, fractional_bits(share))


def _binary_l2(lam: float, binarization: Binarization = Binarization.DETERMINISTIC) -> Any:
    """From random weights, where margins form. ``lam`` 0 with signs that are not drawn is the start of all others."""

    def train(lab: Lab, seed: int) -> Network:
        if lam == 0 and binarization is Binarization.DETERMINISTIC:
            return lab.start(seed)
        training = lab.training(seed, lab.recipe.start, lab.recipe.start_rate)
        method = BinaryL2(lam=lam, binarization=binarization)
        return _network(apply(lab.fresh(seed), method, None, training)[0])

    return train


def _network(model: Any) -> Network:
    """Compaction keeps the class; this says so to whoever breaks it."""
    if not isinstance(model, Network):
        raise TypeError(f"pruning returned a {type(model).__name__}, not a Network")
    return model
