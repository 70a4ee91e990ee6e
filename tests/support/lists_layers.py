# SPDX-License-Identifier: Apache-2.0
"""Binary convolutions for the forms of ``planes`` with lists of offsets: two weight values and removed weights."""

from __future__ import annotations

import dataclasses

import numpy as np

from picobnn.codegen.program import BinaryConv2dStep, Program
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, PadMode, Shape, Threshold, WeightDomain
from tests.support.planes_layers import SAME_3X3, layer, random_layer, single

M4 = find_core("m4")
INT32 = np.iinfo(np.int32)
ZERO_ONE = WeightDomain(0, 0)
DOMAINS = (
    PLUS_MINUS_ONE,
    ZERO_ONE,
    WeightDomain(4, -1),
    WeightDomain(2, -3),
    WeightDomain(3, 5),
    WeightDomain(6, -1),
    WeightDomain(4, -7),
    WeightDomain(2, 0),
)
"""Without fraction and with all of them, clear weights below, at and above 0, shares on both sides of one half."""

TERNARY = (PLUS_MINUS_ONE, ZERO_ONE)


def with_values(rng: np.random.Generator, program: Program, domain: WeightDomain, *, ternary: bool) -> Program:
    """The program with these values in its last step, thresholds spread over what they reach, some taps removed."""
    step = program.steps[-1]
    assert isinstance(step, BinaryConv2dStep)
    assert isinstance(step.epilogue, Threshold)
    kept = (rng.random(step.weights.shape) < rng.choice([0.1, 0.5, 0.95])).astype(np.uint8) if ternary else None
    size = max(abs(value) for value in domain.values)
    wide = step.epilogue.thresholds.astype(np.int64) * int(rng.integers(1, 2 * size + 1)) // 2
    thresholds = np.clip(wide + rng.integers(-2, 3, len(wide)), INT32.min, INT32.max).astype(np.int32)
    changed = dataclasses.replace(
        step,
        weights=step.weights if kept is None else step.weights & kept,
        kept=kept,
        domain=domain,
        epilogue=Threshold(thresholds, step.epilogue.flip),
    )
    return dataclasses.replace(program, steps=(*program.steps[:-1], changed))


def accepts(strategy: str, program: Program) -> bool:
    return find_strategy(strategy).accepts(program.steps[-1], program, M4) is None


def random_values(rng: np.random.Generator, strategy: str) -> Program:
    """Any layer with any values that the strategy accepts."""
    while True:
        ternary = strategy != "planes_packed" and rng.random() < 0.3
        domain = (TERNARY if ternary else DOMAINS)[int(rng.integers(len(TERNARY if ternary else DOMAINS)))]
        program = with_values(rng, random_layer(rng), domain, ternary=ternary)
        if accepts(strategy, program):
            return program


def edge_layers(strategy: str) -> list[Program]:
    """One filter; no ones, only ones; one tap alone at either end, far from any other; long maps in many blocks."""
    programs = []
    for index, shape in enumerate((Shape(3, 3, 1), Shape(5, 7, 400), Shape(40, 33, 3))):
        rng = np.random.default_rng(index)
        for outputs, mode in ((1, PadMode.MINUS_ONE), (6, PadMode.ZERO)):
            made = layer(rng, shape, SAME_3X3, mode, None, outputs)
            assert made is not None
            weights = np.zeros_like(made[0].weights)
            for filter_index, (first, last) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1), (0, 0))[:outputs]):
                weights[filter_index, 0, 0, 0], weights[filter_index, -1, -1, -1] = first, last
            weights[-1] = outputs > 1
            step = dataclasses.replace(made[0], weights=weights)
            domain = (PLUS_MINUS_ONE, WeightDomain(4, -1), ZERO_ONE)[(index + outputs) % 3]
            programs.append(single(dataclasses.replace(step, domain=domain), made[1], shape))
    return [program for program in programs if accepts(strategy, program)]
