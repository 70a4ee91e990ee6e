# SPDX-License-Identifier: Apache-2.0
"""What a step or a transpose costs on a core, estimated: terms of the layer times coefficients of the core.

Invariant: an estimate exists only where the core's coefficients name every term; nothing is guessed. Called by
``select.py`` and by ``bench/calibrate.py``, which fits the coefficients to the same terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from picobnn.codegen.plan import Layout, StepCost
from picobnn.codegen.program import Program, Step
from picobnn.codegen.strategies import BoundedStrategy, CostTerm, Strategy
from picobnn.codegen.targets import Target
from picobnn.codegen.targets.costs import TRANSPOSE, CoreCosts
from picobnn.codegen.vocabulary import Shape
from picobnn.errors import ErrorId, PicobnnError


def step_cost(
    strategy: Strategy, step: Step, program: Program, target: Target, costs: CoreCosts | None
) -> StepCost | None:
    """Cycles of an accepted step without the transpose of its input; None without coefficients for the strategy.

    Where the core has a bound for a strategy whose cycles depend on the input, ``worst_cycles`` is that bound, rounded
    up, and the mean is not above it. Raises PLAN_INVALID when the coefficients lack a term.
    """
    cost = _cost(strategy.name, strategy.cost_terms(step, program, target), costs)
    parts = None if costs is None else costs.bounds.get(strategy.name)
    if cost is None or parts is None or not isinstance(strategy, BoundedStrategy):
        return cost
    bound = math.ceil(strategy.most_cycles(step, program, target, parts))
    return StepCost(min(cost.cycles, bound), bound)


def transpose_cost(shape: Shape, wanted: Layout, costs: CoreCosts | None) -> int | None:
    """Cycles of turning a map of bits into the ``wanted`` one of the two layouts of bits; None without coefficients."""
    cost = _cost(TRANSPOSE, transpose_terms(shape, wanted), costs)
    return None if cost is None else cost.cycles


def transpose_terms(shape: Shape, wanted: Layout) -> tuple[CostTerm, ...]:
    """``block``: blocks of 32 x 32 bits. ``low``: blocks with fewer rows, which are read into a copy, and ``read``:
    rows of these; ``narrow``: blocks with fewer columns, and ``written``: columns of these."""
    rows, columns = shape.height * shape.width, shape.channels
    if wanted is Layout.CHANNEL_WORDS:
        rows, columns = columns, rows
    tall, wide = (rows + 31) // 32, (columns + 31) // 32
    low, narrow = wide if rows % 32 else 0, tall if columns % 32 else 0
    return (
        CostTerm.always("call", 1),
        CostTerm.always("line", tall),
        CostTerm.always("block", tall * wide),
        CostTerm.always("low", low),
        CostTerm.always("read", low * (rows % 32)),
        CostTerm.always("narrow", narrow),
        CostTerm.always("written", narrow * (columns % 32)),
    )


def _cost(name: str, terms: Sequence[CostTerm], costs: CoreCosts | None) -> StepCost | None:
    if costs is None or name not in costs.kernels:
        return None
    coefficients = costs.kernels[name].coefficients
    missing = [term.name for term in terms if term.name not in coefficients]
    if missing:
        raise PicobnnError(
            ErrorId.PLAN_INVALID,
            f"the coefficients of {name} lack {', '.join(missing)}.",
            where=f"costs/{costs.core}.toml",
            remedy="Write the file again with bench/calibrate.py.",
        )
    mean = sum(coefficients[term.name] * term.mean for term in terms)
    worst = sum(coefficients[term.name] * term.worst for term in terms)
    return StepCost(round(mean), round(worst))
