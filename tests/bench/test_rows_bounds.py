# SPDX-License-Identifier: Apache-2.0
"""The bound on the cycles of ``rows`` and ``rows_mve`` against real firmware: no input of any layer takes more modelled
cycles, and of every layer some input takes at least 95 percent. The layers are none of the calibration's."""

from __future__ import annotations

import numpy as np
import pytest
from layer_runs import modelled_cycles, roomy_board_of
from rows_bounds import ACC2, BIT2, SHARED, Layer, Z, adder_for, fan_of, image_of, some_bits

from picobnn.codegen.cost import step_cost
from picobnn.codegen.program import InputConv2dStep
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets.costs import load_costs
from picobnn.codegen.vocabulary import Shape
from tests.support.firmware import needs_emulator
from tests.support.rows_inputs import worst_bits

NARROW = (
    Layer(32, 3, pad=1),
    Layer(32, 3, pad=1, mode=Z),
    Layer(64, 3, 2, 1),
    Layer(64, 3, 2, 1, Z),
)
"""With fewer filters than rows_mve takes."""

FANS = (
    (Shape(16, 16, 24), NARROW),
    (
        Shape(8, 11, 64),
        (
            Layer(64, 3, pad=1),
            Layer(64, 3, pad=1, mode=Z, flips=True),
            Layer(160, 4),
            Layer(160, 1),
            Layer(40, 5, pad=2, mode=Z),
            Layer(96, 3, pad=1, pool=BIT2),
            Layer(160, 3, pad=1, pool=ACC2, flips=True),
            Layer(48, 3, pad=1, domain=SHARED),
            Layer(130, 5, 2, 2, flips=True),
        ),
    ),
    (Shape(8, 8, 64), (Layer(72), Layer(33, flips=True), Layer(200, domain=SHARED))),
    (Shape(16, 16, 32), (Layer(32, 3, pad=1), Layer(128, 3, pad=1))),
    (Shape(10, 8, 96), (Layer(64, 3, pad=1, mode=Z), Layer(128, 3, pad=1))),
    (Shape(8, 8, 64), (Layer(64, 2, 2), Layer(32, 3), Layer(128, 3))),
    (Shape(16, 16, 20), NARROW),
)
IN_DEFAULT = 4
"""Fans that run on M4 without ``slow``."""

CORES = (
    ("m4", "rows"),
    ("m0plus", "rows"),
    ("m0", "rows"),
    ("m3", "rows"),
    ("m33", "rows"),
    ("m7", "rows"),
    ("m55", "rows"),
    ("m55", "rows_mve"),
)
CASES = [
    pytest.param(
        core,
        name,
        number,
        id=f"{core}-{name}-{number}",
        marks=[] if core == "m4" and number < IN_DEFAULT else [pytest.mark.slow],
    )
    for core, name in CORES
    for number in range(len(FANS))
    if name != "rows_mve" or FANS[number][1] is not NARROW
]


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(("core", "name", "number"), CASES)
def test_the_bound_holds_and_is_reached(core: str, name: str, number: int) -> None:
    board = roomy_board_of(core)
    costs, (shape, layers) = load_costs(board.target.core), FANS[number]
    assert costs is not None
    plan, taken = fan_of(shape, layers, board, name, seed=50 + number)
    program, rng = plan.program, np.random.default_rng(3)
    first = program.steps[0]
    assert isinstance(first, InputConv2dStep)
    bits = []
    for step in program.steps[1:]:
        assert not isinstance(step, InputConv2dStep)
        bits.append(worst_bits(step, program, adder_for(step, board, name), costs.bounds[name], rng))
    images = [image_of(first, each) for each in (*bits, *some_bits(rng, shape)[::4])]
    runs = modelled_cycles(plan, board, images)
    for index, layer in enumerate(taken, start=1):
        cost = step_cost(find_strategy(name), program.steps[index], program, board.target, costs)
        assert cost is not None
        most = max(run[index] for run in runs)
        assert 0.95 * cost.worst_cycles <= most <= cost.worst_cycles, layer
