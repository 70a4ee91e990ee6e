# SPDX-License-Identifier: Apache-2.0
"""The forms of planes with lists of offsets on emulated boards: their assembly equals the reference for any two values
and removed weights, at the same modelled cycles whatever the image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.program import Program
from picobnn.codegen.targets import load_board
from picobnn.codegen.vocabulary import PadMode, PoolStage, Shape
from tests.support.emulated import assert_traces_equal, run_counted
from tests.support.fans import fan_images, make_fan, plan_fan, run_fan
from tests.support.firmware import needs_emulator
from tests.support.layer_classes import Kind, LayerClass, Padding
from tests.support.lists_layers import DOMAINS, TERNARY, accepts, with_values

SLOW = pytest.mark.slow
FORMS = ("planes_packed", "planes_sparse", "planes_coded")
CASES = (
    pytest.param("mps2-an386", Shape(9, 10, 5), id="m4-5"),
    pytest.param("mps2-an386", Shape(8, 16, 33), id="m4-33", marks=SLOW),
    pytest.param("mps2-an386", Shape(6, 6, 113), id="m4-113", marks=SLOW),
    pytest.param("mps2-an385", Shape(8, 8, 64), id="m3-64", marks=SLOW),
    pytest.param("mps2-an505", Shape(7, 9, 40), id="m33-40", marks=SLOW),
    pytest.param("mps2-an500", Shape(7, 9, 28), id="m7-28", marks=SLOW),
    pytest.param("mps3-an547", Shape(7, 9, 14), id="m55-14", marks=SLOW),
)


def values_fan(shape: Shape, board_id: str) -> tuple[Program, list[str]]:
    """Layers of both paddings for every form and every pair of values, whole and ternary; the form of each."""
    target, rng = load_board(board_id).target, np.random.default_rng(shape.channels)
    wanted = [
        LayerClass("planes", Kind.CONV, padding, stride, pool, has_tail=True)
        for padding, stride, pool in ((Padding.MINUS_ONE, 1, None), (Padding.ZERO, 1, PoolStage.ACC))
    ]
    steps, tensors, names = [], [], []
    values = [(domain, False) for domain in DOMAINS] + [(domain, True) for domain in TERNARY]
    for name in FORMS:
        for index, (domain, ternary) in enumerate(values):
            fan = make_fan(rng, shape, [wanted[index % 2]], 1, target).plan.program
            if not steps:
                steps, tensors = [fan.steps[0]], list(fan.tensors[:2])
            alone = dataclasses.replace(fan, steps=(steps[0], dataclasses.replace(fan.steps[1], output=2)))
            program = with_values(rng, alone, domain, ternary=ternary)
            if not accepts(name, program):
                continue
            step = dataclasses.replace(program.steps[1], name=f"layer{len(steps)}", output=len(tensors))
            steps.append(step)
            tensors.append(fan.tensors[2])
            names.append(name)
    return Program("fan", 77, tuple(tensors), tuple(steps)), names


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(("board_id", "shape"), CASES)
def test_every_form_equals_the_reference(board_id: str, shape: Shape, tmp_path: Path) -> None:
    board = load_board(board_id)
    program, names = values_fan(shape, board_id)
    assert set(names) == set(FORMS)
    assert {step.pad_mode for step in program.steps[1:]} == set(PadMode)  # type: ignore[union-attr]
    plan = plan_fan(program, names, board.target)
    batch = fan_images(np.random.default_rng(1), program, 4)
    traces, runs = run_counted(plan, board, batch, tmp_path)
    assert_traces_equal(plan, traces, run_fan(program, batch))
    assert all(run[1:] == runs[0][1:] for run in runs)
    assert all(cost.cycles is not None for cost in runs[0])
