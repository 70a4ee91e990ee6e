# SPDX-License-Identifier: Apache-2.0
"""What the manifest says of cycles holds: kernels that are ``input_independent`` take the same modelled cycles for
every input, and those that are not stay within their bound (that it is near: ``tests/bench/test_rows_bounds.py``).

Inputs of a layer are set pixel by pixel: the first layer gives a pixel of value v the first v channels.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from picobnn.codegen.cost import step_cost
from picobnn.codegen.program import InputConv2dStep, Program
from picobnn.codegen.strategies import STRATEGIES, find_strategy
from picobnn.codegen.targets import InstructionSet, Target, find_core, load_board
from picobnn.codegen.targets.costs import load_costs
from picobnn.codegen.vocabulary import Shape, Threshold, Window
from tests.support.fans import Fan, make_fan
from tests.support.firmware import needs_emulator
from tests.support.layer_classes import NEEDS, all_classes
from tests.support.modelled import modelled

SHAPE = Shape(8, 8, 64)
CONTROL = "rows"
PER_STRATEGY = 3
CORES = (
    pytest.param("m4", "mps2-an386", id="m4"),
    pytest.param("m0plus", "mps2-an385-v6m", id="m0plus", marks=pytest.mark.slow),
    pytest.param("m3", "mps2-an385", id="m3", marks=pytest.mark.slow),
    pytest.param("m33", "mps2-an505", id="m33", marks=pytest.mark.slow),
    pytest.param("m7", "mps2-an500", id="m7", marks=pytest.mark.slow),
)


def graded(fan: Fan, *, every_second_first: bool = False) -> Fan:
    """The fan with a first layer whose channel c is set where a pixel's value is above c; all image channels count.
    ``every_second_first``: values up to half the channels set channels of even number only."""
    program = fan.plan.program
    first, image = program.steps[0], program.tensors[0].shape
    assert isinstance(first, InputConv2dStep)
    channels = program.tensors[1].shape.channels
    order = np.arange(channels)
    if every_second_first:
        order = np.where(order % 2, (channels + order) // 2, order // 2)
    levels = (order + 1 - program.input_zero_point) * image.channels
    threshold = Threshold(levels.astype(np.int32), np.zeros(channels, np.uint8))
    weights = np.ones((channels, 1, 1, image.channels), np.uint8)
    step = dataclasses.replace(first, weights=weights, epilogue=threshold, window=Window(1, 1))
    changed = dataclasses.replace(program, steps=(step, *program.steps[1:]))
    return Fan(dataclasses.replace(fan.plan, program=changed), fan.classes)


def image_of(program: Program, set_channels: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """uint8 (H, W, C): (H, W) numbers of channels to set."""
    return np.repeat(set_channels[..., None], program.input.shape.channels, axis=2).astype(np.uint8)


def adversarial(program: Program) -> list[npt.NDArray[np.uint8]]:
    """No bit set, all, a chess board of pixels, half the channels of each pixel, and noise."""
    shape = program.tensors[1].shape
    y, x = np.indices((shape.height, shape.width))
    noise = np.random.default_rng(1).integers(0, 256, (shape.height, shape.width, program.input.shape.channels))
    maps = (0 * y, 0 * y + 255, (y + x) % 2 * 255, 0 * y + shape.channels // 2)
    return [*(image_of(program, each) for each in maps), noise.astype(np.uint8)]


def independent_names(target: Target) -> set[str]:
    """Of the registry; which strategies the core does not run is listed, not asked of them."""
    return {
        s.name for s in STRATEGIES if s.input_independent and target.isa in NEEDS.get(s.name, tuple(InstructionSet))
    }


def varied_fan(target: Target) -> Fan:
    """A few layers of every strategy that is input-independent, and of one that is not: the control."""
    rng, wanted = np.random.default_rng(7), []
    for name in (*sorted(independent_names(target)), CONTROL):
        classes = [each for each in all_classes(target) if each.strategy == name]
        wanted += [classes[index] for index in rng.permutation(len(classes))[:PER_STRATEGY]]
    return make_fan(rng, SHAPE, wanted, len(wanted), target)


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("core", "board_id"),
    [*CORES, pytest.param("m55", "mps3-an547", id="m55", marks=pytest.mark.slow)],
)
def test_input_independent_kernels_take_the_same_cycles_for_every_input(
    core: str, board_id: str, tmp_path: Path
) -> None:
    target, costs = find_core(core), load_costs(core)
    fan = graded(varied_fan(target), every_second_first=True)
    names = [planned.strategy for planned in fan.plan.steps]
    assert set(names) == {*independent_names(target), CONTROL}
    board = dataclasses.replace(load_board(board_id), target=target)
    runs = modelled(fan, board, adversarial(fan.plan.program), tmp_path)
    for index, name in enumerate(names):
        cycles = {run[index] for run in runs}
        layer = fan.classes[index - 1] if index else None
        assert (len(cycles) == 1) == (name != CONTROL), (name, layer, cycles)
        if name == CONTROL:
            cost = step_cost(find_strategy(name), fan.plan.program.steps[index], fan.plan.program, target, costs)
            assert cost is not None
            assert max(cycles) <= cost.worst_cycles, (layer, cycles)
