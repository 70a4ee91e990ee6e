# SPDX-License-Identifier: Apache-2.0
"""Every strategy, padding, stride, pool, tail and core equals the reference, on many random layers per image.

200 layers on host C; slow: 2,000 there, and 200 on the emulated board of every core. What was met is asserted: classes
that a strategy runs are listed here, not asked of it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.emit import render_model
from picobnn.codegen.strategies import STRATEGIES
from picobnn.codegen.targets import find_core, load_board
from picobnn.sim.hostc import HostModel, build_library
from tests.support.emulated import assert_traces_equal, run_traced
from tests.support.fans import Fan, draw_fans, fan_images, run_fan
from tests.support.firmware import needs_emulator
from tests.support.layer_classes import CLASSES, FIELDS, LayerClass, all_classes

M4 = find_core("m4")
PER_FAN = 25
PER_LIBRARY = 10
"""Fans."""


def assert_host_equals(fans: list[Fan], images: int, sanitize: str | None = None) -> None:
    models = [HostModel(fan.plan, render_model(fan.plan, f"m{n}"), f"m{n}") for n, fan in enumerate(fans)]
    for number, (fan, executor) in enumerate(zip(fans, build_library(models, sanitize=sanitize), strict=True)):
        batch = fan_images(np.random.default_rng(number), fan.plan.program, images)
        expected = run_fan(fan.plan.program, batch)[1:]
        for each, want, got in zip(fan.classes, expected, executor.run_steps(batch)[1:], strict=True):
            np.testing.assert_array_equal(got, want, err_msg=f"fan {number}, {each}")


def met(fans: Iterable[Fan]) -> Counter[LayerClass]:
    return Counter(each for fan in fans for each in fan.classes)


def test_every_strategy_has_its_classes() -> None:
    assert set(CLASSES) == {strategy.name for strategy in STRATEGIES}


def test_two_hundred_layers_equal_the_reference_on_the_host() -> None:
    fans = draw_fans(np.random.default_rng(1), 200, PER_FAN, all_classes(M4), M4)
    seen = met(fans)
    assert sum(seen.values()) >= 200
    for strategy in {each.strategy for each in all_classes(M4)}:
        for field in FIELDS:
            wanted = {getattr(each, field) for each in CLASSES[strategy]}
            assert {getattr(each, field) for each in seen if each.strategy == strategy} == wanted, (strategy, field)
    assert_host_equals(fans, 3, sanitize="undefined")


@pytest.mark.slow
@pytest.mark.parametrize("core", ["m4", "m55"])
def test_two_thousand_layers_of_every_class_equal_the_reference_on_the_host(core: str) -> None:
    target = find_core(core)
    fans = draw_fans(np.random.default_rng(2), 2000, PER_FAN, all_classes(target), target)
    seen = met(fans)
    assert sum(seen.values()) >= 2000
    assert set(seen) == set(all_classes(target))
    for first in range(0, len(fans), PER_LIBRARY):
        assert_host_equals(fans[first : first + PER_LIBRARY], 5)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize(
    ("core", "board_id"),
    [
        ("m0", "mps2-an385-v6m"),
        ("m0plus", "mps2-an385-v6m"),
        ("m3", "mps2-an385"),
        ("m4", "mps2-an386"),
        ("m7", "mps2-an500"),
        ("m33", "mps2-an505"),
        ("m55", "mps3-an547"),
    ],
)
def test_two_hundred_layers_equal_the_reference_on_a_core(core: str, board_id: str, tmp_path: Path) -> None:
    target = find_core(core)
    board = dataclasses.replace(load_board(board_id), target=target)
    fans = draw_fans(np.random.default_rng(3), 200, PER_FAN, all_classes(target), target)
    seen = met(fans)
    assert sum(seen.values()) >= 200
    assert {each.strategy for each in seen} == {each.strategy for each in all_classes(target)}
    for number, fan in enumerate(fans):
        program = fan.plan.program
        images = fan_images(np.random.default_rng(number), program, 3)
        traces = run_traced(fan.plan, board, images, tmp_path / str(number))
        assert_traces_equal(fan.plan, traces, run_fan(program, images))
