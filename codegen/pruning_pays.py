# SPDX-License-Identifier: Apache-2.0
"""Whether removed filters pay in cycles: the estimate of a layer beside that of the layer with whole words of filters.

Kernels take filters 32 at a time: would the next multiple of 32 cost (nearly) the same? Answers are estimates of the
layer alone, with the cheapest kernel that the plan's options allow. Of removed weights: ``sparsity.py``. Called by
``flow/analyze.py``.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from picobnn.codegen.plan import Plan
from picobnn.codegen.program import BinaryConv2dStep, InputConv2dStep, Program, Step
from picobnn.codegen.select import cheapest
from picobnn.codegen.vocabulary import Threshold

WORD = 32
PAYS_FROM = 0.02
"""A gain below this share of the layer's cycles is none: estimates are not that good."""


def pruning_notes(plan: Plan) -> tuple[str, ...]:
    """One plain sentence per layer whose pruning does not pay on the plan's core; none without coefficients. The last
    layer's filters are classes, and the filters of a grouped layer belong to its input's channels: neither is asked."""
    notes = []
    for step in plan.program.steps[:-1]:
        filters = len(step.weights)
        wider = -(-filters // WORD) * WORD
        if filters == wider or (isinstance(step, BinaryConv2dStep) and step.groups > 1):
            continue
        now = _cycles(plan, plan.program, step)
        full_step = _with_filters(step, wider)
        full = _cycles(plan, _with_step(plan.program, full_step), full_step)
        if now is None or full is None or full > now * (1 + PAYS_FROM):
            continue
        same = f"{step.name}: {filters} filters cost what {wider} would ({now:,} and {full:,} cycles estimated)"
        below = f": pruning below {wider} does not pay here before {wider - WORD}" if wider > WORD else ""
        notes.append(f"{same}{below}.")
    return tuple(notes)


def _cycles(plan: Plan, program: Program, step: Step) -> int | None:
    found = cheapest(step, program, plan)
    return None if found is None else found[0]


def _with_step(program: Program, step: Step) -> Program:
    """The program with another step in the place of the one that writes the same tensor, and the shape that it writes.
    What follows is not looked at."""
    tensors = list(program.tensors)
    shape = dataclasses.replace(tensors[step.output].shape, channels=len(step.weights))
    tensors[step.output] = dataclasses.replace(tensors[step.output], shape=shape)
    steps = tuple(step if other.output == step.output else other for other in program.steps)
    return dataclasses.replace(program, tensors=tuple(tensors), steps=steps)


def _with_filters(step: Step, count: int) -> Step:
    """The layer with its first filters once more behind the last, up to ``count``."""
    assert isinstance(step.epilogue, Threshold)  # only the last layer ends with a scale
    chosen = np.arange(count) % len(step.weights)
    epilogue = Threshold(step.epilogue.thresholds[chosen], step.epilogue.flip[chosen])
    wider = dataclasses.replace(step, weights=step.weights[chosen], epilogue=epilogue)
    if isinstance(wider, InputConv2dStep) or wider.kept is None:
        return wider
    return dataclasses.replace(wider, kept=wider.kept[chosen])
