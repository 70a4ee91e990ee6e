# SPDX-License-Identifier: Apache-2.0
"""Binary convolutions for the tests of strategy ``planes``: of every shape class, and random ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from picobnn.codegen.plan import Buffer, Kernels, Layout, Optimize, Plan, PlannedStep, layout_bytes
from picobnn.codegen.program import BinaryConv2dStep, InputConv2dStep, Program, Tensor
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import Target, find_core
from picobnn.codegen.vocabulary import (
    BitArray,
    ElementKind,
    PadMode,
    Pool,
    PoolStage,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.small_programs import HALVING_POOL, SAME_3X3, bits, scale

INT32 = np.iinfo(np.int32)

WINDOWS = (
    SAME_3X3,
    Window(1, 1),
    Window(3, 3),
    Window(5, 5, 1, 1, 2, 2, 2, 2),
    Window(3, 3, 2, 2, 1, 1, 1, 1),
    Window(2, 3, 2, 1, 1, 0, 0, 2),
    Window(3, 2, 1, 2, 0, 1, 2, 1),
    Window(1, 1, 2, 2),
    Window(2, 2, 1, 1, 2, 2, 1, 0),
)
"""As wide as the input and not, strides, one-sided padding, windows that lie in the padding only."""

POOLS = (
    None,
    Pool(HALVING_POOL, PoolStage.ACC),
    Pool(Window(3, 3, 2, 2, 1, 1, 1, 1), PoolStage.BIT),
    Pool(Window(3, 2, 1, 3, 2, 0, 0, 1), PoolStage.ACC),
    Pool(Window(2, 2, 1, 1), PoolStage.BIT),
)

REFUSED_CHANGES: tuple[tuple[dict[str, object], str], ...] = (
    ({"domain": WeightDomain(0, 0)}, "-1 and +1"),
    ({"groups": 5}, "5 groups"),
    ({"epilogue": scale(33), "pool": None}, "a scale needs sums"),
    ({"window": Window(3, 3, 1, 3)}, "stride of 3"),
    ({"weights": bits(33, 3, 3, 460)}, "4140 weights"),
    ({"pool": Pool(Window(1, 1, 1, 1, 1), PoolStage.BIT)}, "padding only"),
    ({"pool": Pool(Window(1, 33), PoolStage.BIT)}, "33 wide"),
)
"""Of the binary convolution of ``small_programs``, and what ``planes`` and ``planes_mve`` say of it."""


def weights_of(rng: np.random.Generator, outputs: int, window: Window, channels: int) -> BitArray:
    """Filters of many densities: none set, all set, sparse, dense, and set in one half of the taps only."""
    extent = (outputs, window.height, window.width, channels)
    density = rng.choice([0.0, 0.05, 0.3, 0.5, 0.5, 0.5, 0.8, 1.0], outputs)
    bits = (rng.random(extent) < density[:, None, None, None]).astype(np.uint8)
    flat = bits.reshape(outputs, -1)
    flat[::7, : flat.shape[1] // 2] = 1
    flat[3::11, flat.shape[1] // 3 :] = 0
    return bits


def threshold(rng: np.random.Generator, outputs: int, taps: int) -> Threshold:
    """Near 0, anywhere in reach, at its ends and far beyond; half of the filters flipped."""
    near = rng.integers(-int(taps**0.5) - 1, int(taps**0.5) + 2, outputs)
    wide = rng.integers(-taps - 3, taps + 4, outputs)
    edge = rng.choice([-taps - 1, -taps, -taps + 1, 0, taps, taps + 1, INT32.min, INT32.max], outputs)
    kinds = rng.choice(3, outputs, p=[0.6, 0.3, 0.1])
    values = np.choose(kinds, [near, wide, edge]).astype(np.int32)
    return Threshold(values, rng.integers(0, 2, outputs).astype(np.uint8))


def input_layer(channels: int, shape: Shape) -> InputConv2dStep:
    """Every channel of the image thresholded near another value: bits that differ from channel to channel."""
    rng = np.random.default_rng(channels)
    weights = rng.integers(0, 2, (channels, 1, 1, shape.channels)).astype(np.uint8)
    levels = rng.integers(-110, 111, channels).astype(np.int32)
    return InputConv2dStep(
        "first", "first", 0, 1, weights, Window(1, 1), None, Threshold(levels, np.zeros(channels, np.uint8))
    )


def layer(
    rng: np.random.Generator, shape: Shape, window: Window, mode: PadMode, pool: Pool | None, outputs: int
) -> tuple[BinaryConv2dStep, Shape] | None:
    """A step that reads tensor 1 and writes tensor 2, with the shape it writes; None where a window does not fit."""
    rows, columns = window.output_size(shape.height, shape.width)
    if pool is not None and rows > 0 and columns > 0:
        rows, columns = pool.window.output_size(rows, columns)
    if rows <= 0 or columns <= 0:
        return None
    weights = weights_of(rng, outputs, window, shape.channels)
    last = threshold(rng, outputs, weights[0].size)
    return BinaryConv2dStep("conv", "conv", 1, 2, weights, window, mode, pool, last), Shape(rows, columns, outputs)


def single(step: BinaryConv2dStep, output: Shape, shape: Shape) -> Program:
    """The step behind an input layer, as a program."""
    tensors = (
        Tensor("image", Shape(shape.height, shape.width, 1), ElementKind.UINT8),
        Tensor("bits", shape, ElementKind.BIT),
        Tensor("out", output, ElementKind.BIT),
    )
    return Program("conv", 128, tensors, (input_layer(shape.channels, tensors[0].shape), step))


def every_class(shape: Shape) -> list[Program]:
    """Every window with both paddings and two pools, in turn; filters vary along."""
    programs = []
    for index, (window, mode) in enumerate((window, mode) for window in WINDOWS for mode in PadMode):
        rng = np.random.default_rng(index)
        for pool in (POOLS[index % 2], POOLS[2 + index % 3]):
            made = layer(rng, shape, window, mode, pool, (1, 9, 31, 32, 33, 65)[index % 6])
            if made is not None and _accepted(single(*made, shape)):
                programs.append(single(*made, shape))
    return programs


def _accepted(program: Program) -> bool:
    return find_strategy("planes").accepts(program.steps[1], program, find_core("m4")) is None


def random_layer(rng: np.random.Generator) -> Program:
    """Any accepted layer; half of them keep the size of the map."""
    while True:
        height, width = (int(side) for side in rng.integers(1, 20, 2))
        shape = Shape(height, width, int(rng.choice([1, 2, 7, 31, 32, 33, 64, 97])))
        if rng.random() < 0.5:
            window = WINDOWS[int(rng.integers(4))]
        else:
            pads = [int(pad) for pad in rng.integers(0, 4, 4)] if rng.random() < 0.6 else [0, 0, 0, 0]
            sizes, strides = rng.integers(1, 6, 2), rng.integers(1, 3, 2)
            window = Window(*(int(value) for value in (*sizes, *strides)), *pads)
        mode = (PadMode.MINUS_ONE, PadMode.ZERO)[int(rng.integers(2))]
        pool = POOLS[int(rng.integers(len(POOLS)))]
        made = layer(rng, shape, window, mode, pool, int(rng.choice([1, 2, 16, 33, 50])))
        if made is not None and _accepted(single(*made, shape)):
            return single(*made, shape)


def assert_c_equals_reference(programs: Sequence[Program], strategy: str, count: int = 6, core: str = "m4") -> None:
    """Step 1 of every program runs the strategy."""
    plans = [make_plan(program, find_core(core), forced={1: strategy}) for program in programs]
    assert_host_c_equals_reference(plans, [images(program, count) for program in programs])


def many_layers(shape: Shape) -> Program:
    """Layers of every class behind one input layer, all reading its bits: one firmware for many layers. Not a valid
    network, because nobody reads their outputs."""
    programs = every_class(shape)
    steps = [programs[0].steps[0]]
    tensors = list(programs[0].tensors[:2])
    for program in programs:
        step = program.steps[1]
        steps.append(dataclasses.replace(step, name=f"conv{len(steps)}", output=len(tensors)))
        tensors.append(program.tensors[2])
    return Program("layers", 128, tuple(tensors), tuple(steps))


def plan_layers(program: Program, target: Target, strategy: str = "planes") -> Plan:
    """The plan of :func:`many_layers`: the bits are transposed anew for every step, outputs do not overlap."""
    planes, direct = find_strategy(strategy), find_strategy("direct")
    first, shape = program.steps[0], program.tensors[1].shape
    image = -(-program.input.shape.elements // 4) * 4
    bits = layout_bytes(Layout.CHANNEL_WORDS, shape)
    last = len(program.steps) - 1
    buffers = [Buffer(0, Layout.HWC_BYTES, program.input.shape.elements, 0, 0, last)]
    buffers.append(Buffer(1, Layout.CHANNEL_WORDS, bits, image, 0, last))
    copy = image + bits
    copied = layout_bytes(Layout.PIXEL_PLANES, shape)
    end = copy + copied
    steps = [PlannedStep(0, "direct", direct.scratch_bytes(first, program, target), end, Layout.HWC_BYTES)]
    end += steps[0].scratch_bytes
    for index, step in enumerate(program.steps[1:], start=1):
        assert planes.accepts(step, program, target) is None
        size = layout_bytes(Layout.PIXEL_PLANES, program.tensors[step.output].shape)
        scratch = planes.scratch_bytes(step, program, target)
        buffers.append(Buffer(step.output, Layout.PIXEL_PLANES, size, end, index, index))
        steps.append(PlannedStep(index, strategy, scratch, end + size, Layout.PIXEL_PLANES, copied, copy))
        end += size + scratch
    return Plan(program, target.core, Kernels.AUTO, Optimize.SPEED, tuple(steps), tuple(buffers), end)


def images(program: Program, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """uint8 (count, H, W, C): all 0, all 255, the zero point, then noise."""
    shape = program.input.shape
    batch = np.random.default_rng(11).integers(0, 256, (count, shape.height, shape.width, shape.channels), np.uint8)
    for index, value in enumerate((0, 255, program.input_zero_point)[:count]):
        batch[index] = value
    return batch
