# SPDX-License-Identifier: Apache-2.0
"""Every strategy, padding, stride, pool, tail and core equals the reference, on many random layers per image.

200 layers on host C; slow: 2,000 there, and 200 on the emulated board of every core. What was met is asserted: classes
that a strategy runs are listed here, not asked of it.
"""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.emit import render_model
from picobnn.codegen.pack import store_tensor
from picobnn.codegen.project import project_facts
from picobnn.codegen.strategies import STRATEGIES
from picobnn.codegen.targets import InstructionSet, Target, find_core, load_board
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, PoolStage, WeightDomain
from picobnn.harness.emulated import flash_emulated
from picobnn.harness.vectors import trace_image
from picobnn.sim.hostc import HostModel, build_library
from tests.support.fans import FIELDS, Fan, Kind, LayerClass, Padding, draw_fans, fan_images, run_fan
from tests.support.firmware import build_project, needs_emulator

M4 = find_core("m4")
PER_FAN = 25


def conv_classes(strategy: str, kind: Kind, paddings: Iterable[Padding], strides: Iterable[int]) -> list[LayerClass]:
    return [
        LayerClass(strategy, kind, padding, stride, pool, has_tail)
        for padding, stride, pool, has_tail in itertools.product(paddings, strides, (None, *PoolStage), (False, True))
    ]


def with_sums(classes: Iterable[LayerClass]) -> list[LayerClass]:
    """Sums have no pool in front of them."""
    return [dataclasses.replace(each, has_sums=True) for each in classes if each.pool is None]


def dense_classes(strategy: str) -> list[LayerClass]:
    return [LayerClass(strategy, Kind.DENSE, has_tail=has_tail) for has_tail in (False, True)]


ON_BYTES, ON_BITS = (Padding.NONE, Padding.ZERO), tuple(Padding)
DIRECT = conv_classes("direct", Kind.INPUT_CONV, ON_BYTES, (1, 2, 3))
XNOR = conv_classes("xnor", Kind.CONV, ON_BITS, (1, 2, 3)) + dense_classes("xnor")
SIGNS = conv_classes("rows", Kind.CONV, ON_BITS, (1, 2, 3)) + dense_classes("rows")
ROWS = SIGNS + [dataclasses.replace(each, domain=WeightDomain(3, -1)) for each in SIGNS]
GENERAL = [dataclasses.replace(each, strategy="xnor_general") for each in XNOR]
ZERO_AND_ONE, ONE_AND_THREE, MINUS_THREE_AND_FIVE = WeightDomain(0, 0), WeightDomain(1, 1), WeightDomain(3, -3)
WITH_DOMAIN = (ZERO_AND_ONE, ONE_AND_THREE, MINUS_THREE_AND_FIVE)


def grammar(strategy: str, *, dense: bool, ternary: Iterable[WeightDomain], groups: bool = False) -> list[LayerClass]:
    """Classes of general weights: every domain of two values, removed taps in the domains ``ternary``, and groups of
    both. With every padding, but few of the other forms."""
    forms = [(domain, False) for domain in WITH_DOMAIN] + [(domain, True) for domain in ternary]
    layers = [LayerClass(strategy, Kind.CONV, padding, has_tail=True) for padding in ON_BITS]
    layers.append(LayerClass(strategy, Kind.CONV, Padding.ZERO, 2, PoolStage.ACC))
    layers += dense_classes(strategy) if dense else []
    found = [dataclasses.replace(each, domain=domain, is_ternary=kept) for each in layers for domain, kept in forms]
    grouped = [each for each in found if each.kind is Kind.CONV] if groups else []
    plain = [dataclasses.replace(each, is_grouped=True) for each in layers if each.kind is Kind.CONV] if groups else []
    return found + plain + [dataclasses.replace(each, is_grouped=True) for each in grouped]


GENERAL_WEIGHTS = grammar(
    "xnor_general", dense=True, ternary=(PLUS_MINUS_ONE, ZERO_AND_ONE, MINUS_THREE_AND_FIVE), groups=True
)
CLASSES = {
    "direct": DIRECT + with_sums(DIRECT),
    "subset": conv_classes("subset", Kind.INPUT_CONV, ON_BYTES, (1, 2, 3)),
    "xnor": XNOR + with_sums(XNOR),
    "xnor_general": GENERAL + with_sums(GENERAL) + GENERAL_WEIGHTS + with_sums(GENERAL_WEIGHTS),
    "rows": ROWS + grammar("rows", dense=True, ternary=()),
    "rows_mve": [
        dataclasses.replace(each, strategy="rows_mve") for each in ROWS + grammar("rows", dense=True, ternary=())
    ],
    "planes": conv_classes("planes", Kind.CONV, ON_BITS, (1, 2)),
    "slice": conv_classes("slice", Kind.DEPTHWISE, ON_BITS, (1, 2, 3)),
    "planes_paired": conv_classes("planes_paired", Kind.CONV, ON_BITS, (1, 2)),
    "planes_packed": conv_classes("planes_packed", Kind.CONV, ON_BITS, (1, 2))
    + grammar("planes_packed", dense=False, ternary=(ZERO_AND_ONE,)),
    "planes_sparse": conv_classes("planes_sparse", Kind.CONV, ON_BITS, (1, 2))
    + grammar("planes_sparse", dense=False, ternary=(PLUS_MINUS_ONE, ZERO_AND_ONE)),
    "planes_coded": conv_classes("planes_coded", Kind.CONV, ON_BITS, (1, 2))
    + grammar("planes_coded", dense=False, ternary=(PLUS_MINUS_ONE, ZERO_AND_ONE)),
    "planes_mve": conv_classes("planes_mve", Kind.CONV, ON_BITS, (1, 2)),
}
NEEDS = {
    "planes": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_paired": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_packed": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_sparse": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_coded": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_mve": (InstructionSet.MVE,),
    "rows_mve": (InstructionSet.MVE,),
}
"""Instruction sets of the strategies that do not run on all."""


def all_classes(target: Target) -> list[LayerClass]:
    return [
        each
        for name, classes in CLASSES.items()
        if target.isa in NEEDS.get(name, tuple(InstructionSet))
        for each in classes
    ]


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
    rng, target = np.random.default_rng(2), find_core(core)
    batches = [draw_fans(rng, 250, PER_FAN, all_classes(target), target) for _ in range(8)]
    seen = met(fan for fans in batches for fan in fans)
    assert sum(seen.values()) >= 2000
    assert set(seen) == set(all_classes(target))
    for fans in batches:
        assert_host_equals(fans, 5)


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
        folder = tmp_path / str(number)
        built = build_project(folder, board_id, "model", project_facts(fan.plan), render_model(fan.plan, "model"))
        with flash_emulated(board, built.elf, model_hash=model_hash(program)) as session:
            traces = [trace_image(session, image.tobytes()) for image in images]
        layouts = [buffer.layout for buffer in fan.plan.buffers[1:]]
        for index, (output, layout) in enumerate(zip(run_fan(program, images), layouts, strict=True)):
            for image, trace in enumerate(traces):
                name = fan.classes[index - 1] if index else "the first layer"
                assert trace[index].crc == zlib.crc32(store_tensor(output[image], layout)), f"fan {number}, {name}"
