# SPDX-License-Identifier: Apache-2.0
"""Whether a layer's few ones, or its removed weights, make it cheaper than dense weights of -1 and +1 would be.

A dense layer already adds only about half of its words, so that sparse weights pay where less than half is left, and
only in kernels that select by weight. Both sides are estimates of the layer alone by the same coefficients. Of removed
filters: ``pruning_pays.py``. Called by ``flow/analyze.py``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from picobnn.codegen.plan import Plan, PlannedStep
from picobnn.codegen.program import InputConv2dStep, Step
from picobnn.codegen.select import cheapest
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE

SPARSE_BELOW = 0.4
"""Share of ones, or of clear weights, below which a layer counts as sparse."""

WORTH = 0.95
"""A saving below 5 % is within what estimates are off."""


@dataclass(frozen=True, slots=True)
class SparsityGain:
    """``share``: of the weights that are ones (ternary: that are kept). Cycles are estimated; ``dense_strategy`` is the
    cheapest kernel for dense weights of -1 and +1 that the plan's options allow."""

    share: float
    is_ternary: bool
    cycles: int
    dense_cycles: int
    dense_strategy: str

    @property
    def pays(self) -> bool:
        return self.cycles < WORTH * self.dense_cycles

    def __str__(self) -> str:
        kind = "of its weights are kept" if self.is_ternary else "of its weights are ones"
        against = f"{self.dense_cycles:,} with dense weights ({self.dense_strategy})"
        verdict = f"saves {1 - self.cycles / self.dense_cycles:.0%}" if self.pays else "does not pay in cycles"
        return f"{self.share:.0%} {kind}: {self.cycles:,} cycles estimated, {against}: pruning it {verdict}"


def sparsity_gains(plan: Plan) -> dict[int, SparsityGain]:
    """By step: sparse steps whose estimate and whose dense twin's the core's coefficients give."""
    found = {}
    for planned, step in zip(plan.steps, plan.program.steps, strict=True):
        gain = _gain(planned, step, plan)
        if gain is not None:
            found[planned.step] = gain
    return found


def _gain(planned: PlannedStep, step: Step, plan: Plan) -> SparsityGain | None:
    if isinstance(step, InputConv2dStep) or planned.cost is None:
        return None
    share = float((step.weights if step.kept is None else step.kept).mean())
    if (share if step.kept is not None else min(share, 1.0 - share)) >= SPARSE_BELOW:
        return None
    dense = (np.random.default_rng(0).random(step.weights.shape) < 0.5).astype(np.uint8)
    twin = dataclasses.replace(step, weights=dense, kept=None, domain=PLUS_MINUS_ONE)
    best = cheapest(twin, plan.program, plan)
    if best is None:
        return None
    return SparsityGain(share, step.kept is not None, planned.cost.cycles, *best)
