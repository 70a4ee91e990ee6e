# SPDX-License-Identifier: Apache-2.0
"""The cells of ``bench/methods.py``: every method with its settings, in an order in which nothing comes before what it
builds on.

Filters go from every layer alike, so that all methods and their controls lose the same filters per layer (equal PFR).
"""

from __future__ import annotations

from typing import Any

from methods_lab import Cell, Lab, Recipe

from picobnn.trainer.layers import fractional_bits
from picobnn.trainer.models import Network
from picobnn.trainer.pruning import (
    Binarization,
    BinaryL2,
    Distillation,
    EDropout,
    EvolutionSettings,
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
    SearchSettings,
    apply,
    find_filters,
)
from picobnn.trainer.pruning.general_domain import DEFAULT_VALUE_BITS
from picobnn.trainer.pruning.ising import POPULATION

NARROWER = (0.75, 0.625, 0.5)
GATE_RATES = (0.25, 0.35, 0.5)
RATES = (0.35, 0.5)
"""Of the controls and of the other methods that delete filters."""
SHARES = (0.5, 0.25, 0.1, 0.05, 0.03)
LAMS = (0.003, 0.01, 0.03, 0.1)
COMBINED = (0.35, 0.1)
"""Share of filters that gates remove, then share of ones."""

_EVOLVED = 2.5  # a step that scores 8 states costs about this many; half of the steps do


def all_cells(recipe: Recipe) -> list[Cell]:
    """Every cell, what others build on first."""
    layers = len(recipe.widths)
    after, filters = recipe.after, layers * recipe.layer + recipe.final
    cells = [Cell("dense", "-", recipe.start + after, lambda lab, seed: lab.then(lab.start(seed), seed, after))]
    cells += [Cell("narrower", f"{x:g}", x**2 * (recipe.start + after), _narrower(x)) for x in NARROWER]
    gates = {}
    for rate in GATE_RATES:
        gates[rate] = Cell("gates", f"{rate:g}", filters + layers * recipe.gate * 1.5, _gates(rate, Distillation()))
        cells.append(gates[rate])
    alone = filters + layers * recipe.gate
    cells += [Cell("gates-alone", f"{rate:g}", alone, _gates(rate, None)) for rate in RATES]
    for rate in RATES:
        for rule in (Rule.SCALE, Rule.SIMILAR):
            for name, kind in (("msf-layerwise", MsfLayerwise), ("msf-cascade", MsfCascade)):
                setting = f"{rule.value}-{rate:g}"
                cells.append(Cell(name, setting, filters, _by_rule(kind, rule, gates[rate])))
        cells.append(Cell("random", f"{rate:g}", filters, _ranked(gates[rate], is_random=True)))
        cells.append(Cell("sensitivity", f"{rate:g}", filters, _ranked(gates[rate], is_random=False)))
    for name, evolving in (("ising", 1.2), ("edropout", (1 + _EVOLVED) / 2)):
        for rate in RATES:
            chosen = Cell(name, f"{rate:g}", evolving * after, _searched(name, rate))
            cells += [chosen, Cell(f"{name}-control", f"{rate:g}", after, _control(chosen))]
    for share in SHARES:
        cells.append(Cell("domain", f"{share:g}", 1.1 * after, _domain(share, is_symmetric=False)))
        cells.append(Cell("domain-symmetric", f"{share:g}", 1.1 * after, _domain(share, is_symmetric=True)))
    cells.append(Cell("deterministic", "-", 0, _binary_l2(0.0)))
    cells.append(Cell("stochastic", "-", recipe.start, _binary_l2(0.0, Binarization.STOCHASTIC)))
    cells += [Cell("binary-l2", f"{lam:g}", 1.1 * recipe.start, _binary_l2(lam)) for lam in LAMS]
    rate, share = COMBINED
    cells.append(Cell("gates+domain", f"{rate:g}+{share:g}", after, _domain(share, is_symmetric=False, of=gates[rate])))
    return cells


def _narrower(share: float) -> Any:
    return lambda lab, seed: lab.then(lab.start(seed, share), seed, lab.recipe.after)


def _gates(rate: float, distillation: Distillation | None) -> Any:
    def train(lab: Lab, seed: int) -> Network:
        recipe = lab.recipe
        method = Gates(
            GateLoss(distillation=distillation), gates=Phase(1e-3, recipe.gate), retrain=Phase(1e-4, recipe.layer)
        )
        small, _ = apply(lab.start(seed), method, lab.quota(rate), lab.training(seed))
        return lab.then(_network(small), seed, recipe.final)

    return train


def _by_rule(kind: type[MsfLayerwise | MsfCascade], rule: Rule, gates: Cell) -> Any:
    """At the counts of the gates; layer-wise has all epochs of the layers in its one retraining."""

    def train(lab: Lab, seed: int) -> Network:
        quota = lab.counts_of(lab.trained(gates, seed).network)
        epochs = lab.recipe.layer * (len(lab.recipe.widths) if kind is MsfLayerwise else 1)
        small, _ = apply(lab.start(seed), kind(rule, retrain=Phase(1e-4, epochs)), quota, lab.training(seed))
        return lab.then(_network(small), seed, lab.recipe.final)

    return train


def _ranked(gates: Cell, *, is_random: bool) -> Any:
    """Deleted at once, at the counts of the gates, and retrained for as long as they are."""

    def train(lab: Lab, seed: int) -> Network:
        quota = lab.counts_of(lab.trained(gates, seed).network)
        method = RandomFilters(seed) if is_random else LossSensitivity()
        small, _ = apply(lab.start(seed), method, quota, lab.training(seed))
        return lab.then(_network(small), seed, len(lab.recipe.widths) * lab.recipe.layer + lab.recipe.final)

    return train


def _searched(name: str, rate: float) -> Any:
    def train(lab: Lab, seed: int) -> Network:
        many = EvolutionSettings(population=POPULATION)  # a state of Ising's costs next to nothing
        method = (
            IsingPruning(SearchSettings(many, seed=seed))
            if name == IsingPruning.name
            else EDropout(SearchSettings(seed=seed))
        )
        small, _ = apply(lab.start(seed), method, lab.quota(rate), lab.training(seed))
        return _network(small)

    return train


def _control(chosen: Cell) -> Any:
    def train(lab: Lab, seed: int) -> Network:
        kept = {group.name: group.filters for group in find_filters(lab.trained(chosen, seed).network)}
        small, _ = apply(lab.start(seed), RandomState(kept, seed), None, lab.training(seed))
        return _network(small)

    return train


def _domain(share: float, *, is_symmetric: bool, of: Cell | None = None) -> Any:
    """Both kinds on one grid of values, fine enough for the share."""

    def train(lab: Lab, seed: int) -> Network:
        network = lab.start(seed) if of is None else lab.trained(of, seed).network
        method = GeneralDomain(max(DEFAULT_VALUE_BITS, fractional_bits(share)), symmetric=is_symmetric)
        small, _ = apply(network, method, Ones(share), lab.training(seed))
        return _network(small)

    return train


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
