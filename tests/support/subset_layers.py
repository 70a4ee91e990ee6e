# SPDX-License-Identifier: Apache-2.0
"""First layers for the tests of strategy ``subset``: hand-picked ones of every shape class, and random ones."""

from __future__ import annotations

import dataclasses

import numpy as np

from picobnn.codegen.plan import Buffer, Kernels, Layout, Optimize, Plan, PlannedStep, layout_bytes
from picobnn.codegen.program import InputConv2dStep, Program, Tensor
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import BitArray, ElementKind, Pool, PoolStage, Shape, Threshold, Window
from tests.support.small_programs import HALVING_POOL, SAME_3X3

INT32 = np.iinfo(np.int32)
PADDED_POOL = Window(3, 3, 2, 1, 1, 1, 1, 1)

WINDOWS = (
    (1, SAME_3X3),
    (1, Window(3, 1)),
    (1, Window(3, 5, 1, 2, 0, 4, 2, 1)),
    (1, Window(3, 6, 1, 1, 2, 5, 2, 5)),
    (1, Window(3, 9, 1, 3, 1, 4, 1, 4)),
    (1, Window(5, 5, 1, 1, 2, 2, 2, 2)),
    (1, Window(2, 3, 3, 1)),
    (1, Window(1, 1, 2, 2)),
    (1, Window(7, 7, 2, 2, 3, 3, 3, 3)),
    (1, Window(3, 3, 2, 1, 9, 9, 0, 0)),
    (2, Window(3, 2, 1, 1, 1, 0, 1, 1)),
    (2, Window(3, 4, 1, 2, 3, 3, 0, 0)),
    (3, SAME_3X3),
    (3, Window(3, 3)),
    (3, Window(3, 1, 1, 1, 0, 0, 1, 1)),
    (3, Window(3, 2, 1, 3)),
    (3, Window(5, 5, 2, 1, 4, 0, 1, 3)),
    (3, Window(4, 4, 5, 1)),
    (14, SAME_3X3),
)
"""Channels and window: _thin, _wide and _any; strides, one-sided and wide padding, up to the largest fan-in."""

POOLS = (
    None,
    Pool(HALVING_POOL, PoolStage.ACC),
    Pool(HALVING_POOL, PoolStage.BIT),
    Pool(Window(2, 2, 1, 1), PoolStage.ACC),
    Pool(PADDED_POOL, PoolStage.BIT),
    Pool(PADDED_POOL, PoolStage.ACC),
    Pool(Window(2, 1, 3, 2), PoolStage.BIT),
)


def threshold(rng: np.random.Generator, weights: BitArray, zero_point: int) -> Threshold:
    """Near 0, anywhere in reach, at its borders and far beyond; half of the filters flipped."""
    outputs, reach = len(weights), int(weights[0].size) * max(zero_point, 255 - zero_point)
    near = rng.integers(-200, 201, outputs)
    wide = rng.integers(-reach - 3, reach + 4, outputs)
    edge = rng.choice([-reach - 1, -reach, 0, reach, reach + 1, INT32.min, INT32.max], outputs)
    kinds = rng.choice(3, outputs, p=[0.6, 0.3, 0.1])
    thresholds = np.choose(kinds, [near, wide, edge]).astype(np.int32)
    return Threshold(thresholds, rng.integers(0, 2, outputs).astype(np.uint8))


def layer(
    rng: np.random.Generator, shape: Shape, zero_point: int, window: Window, pool: Pool | None, outputs: int
) -> tuple[InputConv2dStep, Shape] | None:
    """A step that reads tensor 0 and writes tensor 1, with the shape it writes; None where a window does not fit."""
    rows, columns = window.output_size(shape.height, shape.width)
    if pool is not None and rows > 0 and columns > 0:
        rows, columns = pool.window.output_size(rows, columns)
    if rows <= 0 or columns <= 0:
        return None
    weights = rng.random((outputs, window.height, window.width, shape.channels)) < rng.choice([0.5, 0.5, 0.1, 0.9])
    bits = weights.astype(np.uint8)
    step = InputConv2dStep("conv", "conv", 0, 1, bits, window, pool, threshold(rng, bits, zero_point))
    return step, Shape(rows, columns, outputs)


def single(step: InputConv2dStep, output: Shape, shape: Shape, zero_point: int) -> Program:
    """The step as a program."""
    tensors = (Tensor("image", shape, ElementKind.UINT8), Tensor("out", output, ElementKind.BIT))
    return Program("first", zero_point, tensors, (step,))


def every_class() -> list[Program]:
    """Every window with two pools, in turn; sides, filters and zero points vary along."""
    programs = []
    for index, (channels, window) in enumerate(WINDOWS):
        rng = np.random.default_rng(index)
        zero_point = (0, 1, 128, 255)[index % 4]
        shape = Shape(9 + index % 2, 9 + index // 2 % 3, channels)
        for pool in (POOLS[index % 3], POOLS[3 + index % 4]):
            made = layer(rng, shape, zero_point, window, pool, (1, 16, 31, 32, 33, 65)[index % 6])
            if made is not None:
                programs.append(single(*made, shape, zero_point))
    return programs


def random_layer(rng: np.random.Generator) -> Program:
    """Any accepted layer; half of them with three kernel rows and stride 1."""
    while True:
        channels = int(rng.choice([1, 1, 2, 3, 3, 4]))
        shape = Shape(int(rng.integers(1, 14)), int(rng.integers(1, 14)), channels)
        pads = [int(pad) for pad in rng.integers(0, 4, 4)] if rng.random() < 0.6 else [0, 0, 0, 0]
        width = int(rng.integers(1, 7))
        if rng.random() < 0.5:
            window = Window(3, min(width, 9 // channels), 1, int(rng.integers(1, 3)), *pads)
        else:
            window = Window(int(rng.integers(1, 7)), width, *(int(stride) for stride in rng.integers(1, 4, 2)), *pads)
        if window.height * window.width * channels > 128:
            continue
        zero_point = int(rng.choice([0, 1, 128, 255]))
        pool = POOLS[int(rng.integers(len(POOLS)))]
        made = layer(rng, shape, zero_point, window, pool, int(rng.choice([1, 2, 16, 17, 32, 33, 50])))
        if made is not None:
            return single(*made, shape, zero_point)


def many_layers(channels: int, zero_point: int) -> Program:
    """Layers of every class that fit one image, all reading it: one firmware for many layers. Not a valid network,
    because nobody reads their outputs."""
    shape = Shape(9, 10, channels)
    steps: list[InputConv2dStep] = []
    tensors = [Tensor("image", shape, ElementKind.UINT8)]
    for index, window in enumerate(window for wanted, window in WINDOWS if wanted == channels):
        rng = np.random.default_rng(index)
        for pool in (None, POOLS[1 + index % 2], POOLS[3 + index % 4]):
            made = layer(rng, shape, zero_point, window, pool, (5, 16, 33, 64)[len(steps) % 4])
            if made is None:
                continue
            step, output = made
            count = len(steps)
            steps.append(dataclasses.replace(step, name=f"conv{count}", output=count + 1))
            tensors.append(Tensor(f"out{count}", output, ElementKind.BIT))
    return Program("layers", zero_point, tuple(tensors), tuple(steps))


def alone(program: Program) -> list[Program]:
    """Every step of :func:`many_layers` as a valid program."""
    shape, zero_point = program.input.shape, program.input_zero_point
    steps = [step for step in program.steps if isinstance(step, InputConv2dStep)]
    return [
        single(dataclasses.replace(step, output=1), program.tensors[step.output].shape, shape, zero_point)
        for step in steps
    ]


def plan_layers(program: Program, target: Target) -> Plan:
    """The plan of :func:`many_layers`: a scratch and an output of its own for every step behind the image."""
    strategy = find_strategy("subset")
    image = (program.input.shape.elements + 3) // 4 * 4
    steps, buffers = [], [Buffer(0, Layout.HWC_BYTES, program.input.shape.elements, 0, 0, len(program.steps) - 1)]
    end = image
    for index, step in enumerate(program.steps):
        assert strategy.accepts(step, program, target) is None
        size = layout_bytes(Layout.CHANNEL_WORDS, program.tensors[step.output].shape)
        scratch = strategy.scratch_bytes(step, program, target)
        buffers.append(Buffer(step.output, Layout.CHANNEL_WORDS, size, end, index, index))
        steps.append(PlannedStep(index, "subset", scratch, end + size, Layout.HWC_BYTES))
        end += size + scratch
    return Plan(program, target.core, Kernels.AUTO, Optimize.BALANCED, tuple(steps), tuple(buffers), end)


def images(program: Program, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """uint8 (count, H, W, C): all 0, all 255, the zero point, then noise."""
    shape = program.input.shape
    extent = (count, shape.height, shape.width, shape.channels)
    batch = np.random.default_rng(11).integers(0, 256, extent, dtype=np.uint8)
    for index, value in enumerate((0, 255, program.input_zero_point)[:count]):
        batch[index] = value
    return batch
