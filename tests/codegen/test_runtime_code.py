# SPDX-License-Identifier: Apache-2.0
"""Code that is linked with a step, and the records of it in the files of cores."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from picobnn.codegen.runtime_code import TRANSPOSE_FUNCTION, called_units, grouped_units, linked_units
from picobnn.codegen.strategies import STRATEGIES
from picobnn.codegen.targets import CORES, InstructionSet, Target
from picobnn.codegen.targets.code_sizes import CodeSizes, CodeUnit
from picobnn.codegen.targets.costs import costs_text, load_costs, parse_costs
from picobnn.codegen.vocabulary import Shape
from picobnn.errors import ErrorId, PicobnnError
from tests.support.fans import make_fan
from tests.support.layer_classes import all_classes

UNITS = {"a": CodeUnit(4, ("b", "c")), "b": CodeUnit(8, ("c", "a")), "c": CodeUnit(16), "d": CodeUnit(32, ("c",))}
CODE = CodeSizes(UNITS, {"layer": 20}, 60, 30, 10)


def test_what_is_linked_is_what_can_be_reached() -> None:
    assert linked_units({"a"}, CODE) == {"a", "b", "c"}
    assert linked_units({"d"}, CODE) == {"c", "d"}
    assert linked_units((), CODE) == frozenset()
    assert linked_units({"d", "e"}, CODE) is None


@given(
    st.lists(st.integers(1, 255), min_size=1, max_size=6),
    st.lists(st.integers(0, 50), min_size=8, max_size=8),
    st.integers(0, 63),
)
def test_grouped_units_weigh_what_the_units_do(masks: list[int], weights: list[int], mask: int) -> None:
    sizes = dict(zip("abcdefgh", weights, strict=True))
    sets = [frozenset(letter for bit, letter in enumerate("abcdefgh") if each >> bit & 1) for each in masks]
    grouped, totals = grouped_units(sets, sizes)
    chosen = [index for index in range(len(sets)) if mask >> index & 1]
    plain = frozenset[str]().union(*(sets[index] for index in chosen))
    fewer = frozenset[str]().union(*(grouped[index] for index in chosen))
    assert sum(totals[unit] for unit in fewer) == sum(sizes[unit] for unit in plain)
    members = [frozenset(index for index, units in enumerate(grouped) if unit in units) for unit in totals]
    assert len(set(members)) == len(members)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"once": -1}, "once is -1; sizes are not negative"),
        ({"layers": {"layer": -2}}, "layer is -2"),
        ({"units": {"a": CodeUnit(-3)}}, "a is -3"),
        ({"units": {"a": CodeUnit(3, ("gone",))}}, "a uses gone, which is not there"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        replace(CODE, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", CORES, ids=lambda target: target.core)
def test_the_files_of_cores_are_what_is_written(target: Target) -> None:
    costs = load_costs(target.core)
    assert costs is not None
    name = f"{target.core}.toml"
    text = (resources.files("picobnn.codegen.targets") / "costs" / name).read_text("utf-8")
    assert text == costs_text(costs)
    broken = text.replace('uses = ["', 'uses = ["gone", "', 1)
    with pytest.raises(PicobnnError, match="uses gone, which is not there") as caught:
        parse_costs(broken, name)
    assert caught.value.error_id is ErrorId.CONFIG_VALUE


_NEED_VECTORS = ("planes_mve", "rows_mve")
_NOT_FOR = {
    InstructionSet.V6M: tuple(each.name for each in STRATEGIES if each.name.startswith("planes")) + _NEED_VECTORS,
    InstructionSet.V7M: _NEED_VECTORS,
}


@pytest.mark.parametrize("target", CORES, ids=lambda target: target.core)
def test_the_code_of_every_strategy_is_known(target: Target) -> None:
    """One that is not makes every plan that could take it count tables alone."""
    costs = load_costs(target.core)
    assert costs is not None
    assert costs.code is not None
    assert linked_units({TRANSPOSE_FUNCTION}, costs.code) is not None
    rng = np.random.default_rng(13)
    for strategy in STRATEGIES:
        classes = [each for each in all_classes(target) if each.strategy == strategy.name]
        if strategy.name in _NOT_FOR.get(target.isa, ()):
            assert not classes
            continue
        wanted = [classes[index] for index in rng.permutation(len(classes))[:12]]
        plan = make_fan(rng, Shape(7, 9, 33), wanted, 3, target).plan
        steps = [plan.program.steps[each.step] for each in plan.steps if each.strategy == strategy.name]
        assert steps, strategy.name
        for step in steps:
            tables = {table.role: table.role for table in strategy.tables(step, plan.program, target)}
            view = strategy.view(step, plan.program, target, "layer", tables)
            assert view.c_type in costs.code.layers
            assert view.function in called_units(view)
            assert linked_units(called_units(view), costs.code) is not None, strategy.name
