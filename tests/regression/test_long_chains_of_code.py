# SPDX-License-Identifier: Apache-2.0
"""The search stays exact, and ends, on long chains whose options all bring code of their own.

Ways with different sets of code were never compared, so their number doubled with every kernel of a chain: under three
limits thirteen layers took a minute.
"""

from __future__ import annotations

import itertools

import numpy as np

from picobnn.codegen.plan import Layout
from picobnn.codegen.search import best_way
from picobnn.codegen.ways import Measure, Option, Stage

UNITS = 8
STEPS = 14
BITS = Layout.CHANNEL_WORDS


def test_the_best_of_all_sets_of_code_is_found() -> None:
    rng = np.random.default_rng(1)
    code_bytes = {f"unit{unit}": int(size) for unit, size in enumerate(rng.integers(50, 500, UNITS))}
    cycles = rng.integers(1, 1000, (STEPS, UNITS))
    stages = [
        Stage(
            tuple(Option(BITS, BITS, int(row[unit]), 0, 0, frozenset({f"unit{unit}"})) for unit in range(UNITS)),
            {BITS: 0},
            {BITS: 0},
        )
        for row in cycles
    ]
    limit = sum(code_bytes.values()) // 2
    sets = itertools.chain.from_iterable(itertools.combinations(range(UNITS), n) for n in range(1, UNITS + 1))
    fitting = [units for units in sets if sum(code_bytes[f"unit{unit}"] for unit in units) <= limit]
    least = min(int(cycles[:, list(units)].min(axis=1).sum()) for units in fitting)
    limits = {Measure.FLASH: limit, Measure.RAM: 0, Measure.CYCLES: 10**9}
    found = best_way(stages, BITS, tuple(Measure), limits, code_bytes)
    assert found is not None
    assert found.totals[Measure.CYCLES] == least
