# SPDX-License-Identifier: Apache-2.0
"""The strategies: ways to run a step. One module each, one template stem each in ``firmware_templates/kernels``.

Invariant: names are unique, and the order of :data:`STRATEGIES` is the order in which ``select.py`` asks.
"""

from picobnn.codegen.strategies import (
    direct,
    gaps,
    planes,
    planes_coded,
    planes_mve,
    planes_packed,
    planes_paired,
    planes_sparse,
    rows,
    rows_mve,
    subset,
    xnor,
    xnor_general,
)
from picobnn.codegen.strategies import slice as slice_
from picobnn.codegen.strategies._interface import (
    BoundedStrategy,
    CostTerm,
    LayerView,
    Refusal,
    Strategy,
    Table,
    table_bytes,
)

STRATEGIES: tuple[Strategy, ...] = (
    direct.STRATEGY,
    xnor.STRATEGY,
    xnor_general.STRATEGY,
    gaps.STRATEGY,
    subset.STRATEGY,
    rows.STRATEGY,
    rows_mve.STRATEGY,
    planes.STRATEGY,
    planes_paired.STRATEGY,
    planes_mve.STRATEGY,
    planes_packed.STRATEGY,
    planes_sparse.STRATEGY,
    planes_coded.STRATEGY,
    slice_.STRATEGY,
)

__all__ = [
    "STRATEGIES",
    "BoundedStrategy",
    "CostTerm",
    "LayerView",
    "Refusal",
    "Strategy",
    "Table",
    "find_strategy",
    "table_bytes",
]


def find_strategy(name: str) -> Strategy:
    """The strategy that a plan names. Raises KeyError: plans are made from this registry."""
    return {strategy.name: strategy for strategy in STRATEGIES}[name]
