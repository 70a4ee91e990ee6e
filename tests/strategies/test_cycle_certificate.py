# SPDX-License-Identifier: Apache-2.0
"""What the manifest says of cycles holds: kernels that are ``input_independent`` take the same modelled cycles for
every input, and the worst input of ``rows`` lies within 5 percent of ``worst_cycles``, which is an estimate.

Inputs of a layer are set pixel by pixel: the first layer gives a pixel of value v the first v channels.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from picobnn.codegen.cost import step_cost
from picobnn.codegen.program import BinaryDenseStep, InputConv2dStep, Program, Tensor
from picobnn.codegen.strategies import STRATEGIES, find_strategy
from picobnn.codegen.strategies._rows_costs import flip_above, walk_of
from picobnn.codegen.targets import InstructionSet, Target, find_core, load_board
from picobnn.codegen.targets.costs import load_costs
from picobnn.codegen.vocabulary import ElementKind, PadMode, Shape, Threshold, Window
from tests.strategies.test_exactness import NEEDS, all_classes
from tests.support.counted import run_counted
from tests.support.fans import ZERO_POINT, Fan, make_fan, plan_fan
from tests.support.firmware import needs_emulator
from tests.support.planes_layers import input_layer, layer, threshold
from tests.support.small_programs import SAME_3X3

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


def modelled(fan: Fan, board_id: str, core: str, images: list[npt.NDArray[np.uint8]], folder: Path) -> list[list[int]]:
    """Cycles per image and step."""
    board = dataclasses.replace(load_board(board_id), target=find_core(core))
    _, runs = run_counted(fan.plan, board, images, folder)
    assert all(cost.cycles is not None for run in runs for cost in run)
    return [[cost.cycles or 0 for cost in run] for run in runs]


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
    target = find_core(core)
    fan = graded(varied_fan(target), every_second_first=True)
    names = [planned.strategy for planned in fan.plan.steps]
    assert set(names) == {*independent_names(target), CONTROL}
    runs = modelled(fan, board_id, core, adversarial(fan.plan.program), tmp_path)
    for index, name in enumerate(names):
        cycles = {run[index] for run in runs}
        assert (len(cycles) == 1) == (name != CONTROL), (name, fan.classes[index - 1] if index else None, cycles)


def worst_image(program: Program, index: int) -> npt.NDArray[np.uint8]:
    """As many set bits as still select, where most windows hold them."""
    shape, step = program.tensors[1].shape, program.steps[index]
    order = np.argsort(-walk_of(step, program).windows.reshape(-1), kind="stable")
    counts = np.zeros(shape.height * shape.width, np.int64)
    whole, rest = divmod(flip_above(step, program), shape.channels)
    counts[order[:whole]] = shape.channels
    if rest:
        counts[order[whole]] = rest
    return image_of(program, counts.reshape(shape.height, shape.width))


def rows_fan(target: Target) -> Fan:
    """3x3 convolutions without padding and with both kinds, and a dense layer."""
    rng, steps, tensors = np.random.default_rng(5), [], []
    image = Shape(SHAPE.height, SHAPE.width, 1)
    for mode, window in (
        (PadMode.MINUS_ONE, Window(3, 3)),
        (PadMode.MINUS_ONE, SAME_3X3),
        (PadMode.ZERO, SAME_3X3),
    ):
        made = layer(rng, SHAPE, window, mode, None, 64)
        assert made is not None
        steps.append(made[0])
        tensors.append(made[1])
    weights = rng.integers(0, 2, (96, SHAPE.height, SHAPE.width, SHAPE.channels)).astype(np.uint8)
    steps.append(BinaryDenseStep("dense", "dense", 1, 2, weights, threshold(rng, 96, weights[0].size)))
    tensors.append(Shape(1, 1, 96))
    named = [
        dataclasses.replace(step, name=f"layer{index}", input=1, output=index) for index, step in enumerate(steps, 2)
    ]
    program = Program(
        "rows",
        ZERO_POINT,
        (
            Tensor("image", image, ElementKind.UINT8),
            Tensor("bits", SHAPE, ElementKind.BIT),
            *(Tensor(f"out{index}", shape, ElementKind.BIT) for index, shape in enumerate(tensors)),
        ),
        (input_layer(SHAPE.channels, image), *named),
    )
    return Fan(plan_fan(program, ["rows"] * len(named), target), ())


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize(("core", "board_id"), CORES)
def test_the_worst_input_of_rows_lies_near_its_estimate(core: str, board_id: str, tmp_path: Path) -> None:
    target = find_core(core)
    costs = load_costs(target.core)
    fan = graded(rows_fan(target))
    program = fan.plan.program
    images = [worst_image(program, index) for index in range(1, len(program.steps))]
    runs = modelled(fan, board_id, core, [*images, *adversarial(program)], tmp_path)
    for index, step in enumerate(program.steps[1:], start=1):
        bound = step_cost(find_strategy("rows"), step, program, target, costs)
        assert bound is not None
        # On v6-M set bits that fill whole words take 7 % less than the scattered ones that the costs are fitted to.
        share = 0.92 if isinstance(step, BinaryDenseStep) and target.isa is InstructionSet.V6M else 0.95
        assert runs[index - 1][index] >= share * bound.worst_cycles, step.name
        assert max(run[index] for run in runs) <= 1.05 * bound.worst_cycles, step.name
