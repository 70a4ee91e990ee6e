# SPDX-License-Identifier: Apache-2.0
"""Layers for the tests of strategy ``slice``: chains of depthwise layers of every shape class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, InputConv2dStep, Program, Step, Tensor, verify_program
from picobnn.codegen.vocabulary import (
    BitArray,
    ElementKind,
    PadMode,
    Pool,
    PoolStage,
    Shape,
    Threshold,
    Window,
)
from tests.support.small_programs import HALVING_POOL, SAME_3X3

MINUS, ZERO = PadMode.MINUS_ONE, PadMode.ZERO


@dataclass(frozen=True, slots=True)
class Layer:
    """A depthwise convolution of all channels."""

    window: Window
    mode: PadMode = MINUS
    pool: Pool | None = None


def square(size: int, stride: int = 1, pad: int = 0) -> Window:
    return Window(size, size, stride, stride, pad, pad, pad, pad)


CONVOLUTIONS = (
    Layer(SAME_3X3),
    Layer(SAME_3X3, ZERO),
    Layer(square(5, 1, 2), ZERO),
    Layer(square(7, 1, 3), MINUS),
    Layer(SAME_3X3, ZERO, Pool(Window(3, 3, 1, 1, 1, 1, 1, 1), PoolStage.ACC)),
    Layer(Window(3, 3, 1, 1, 2, 2, 2, 2), MINUS, Pool(Window(3, 2, 1, 1), PoolStage.BIT)),
    Layer(square(7, 1, 3), ZERO),
    Layer(square(1), ZERO),
    Layer(Window(2, 4, 1, 1, 1, 3, 0, 0), ZERO),
    Layer(Window(6, 3, 1, 1, 3, 1, 2, 1), ZERO, Pool(Window(1, 2, 1, 1, 0, 1, 0, 0), PoolStage.ACC)),
    Layer(Window(3, 3, 3, 1, 3, 4, 9, 4), ZERO),
    Layer(Window(3, 3, 1, 3, 1, 4, 1, 4), MINUS),
    Layer(square(3, 2, 1), ZERO, Pool(Window(2, 2, 1, 1), PoolStage.BIT)),
    Layer(Window(3, 3, 1, 2, 2, 2, 2, 2), MINUS),
    Layer(Window(1, 1, 1, 3, 0, 2, 0, 1), ZERO, Pool(Window(1, 1, 1, 2), PoolStage.BIT)),
    Layer(Window(2, 2, 1, 1, 1, 1, 1, 1), MINUS, Pool(HALVING_POOL, PoolStage.ACC)),
)
"""Both paddings, strides, one-sided and wide padding, even and narrow windows, every pool. Needs a map of 12 x 13."""

NARROW = (
    Layer(SAME_3X3, ZERO),
    Layer(square(5, 1, 2), ZERO),
    Layer(SAME_3X3, MINUS),
    Layer(Window(3, 3, 1, 1, 2, 1, 2, 1), ZERO),
)
"""For a map of one column: windows whose taps lie outside for the most part."""


def chain(layers: tuple[Layer, ...], shape: Shape, seed: int = 0, *, ends: float = 0.15) -> Program:
    """The layers one behind the other, reading bits of ``shape``. A share ``ends`` of thresholds lies at or beyond the
    ends, the others anywhere between."""
    rng = np.random.default_rng(seed)
    weights = np.ones((shape.channels, 1, 1, 1), np.uint8)
    spread = rng.integers(-100, 101, shape.channels).astype(np.int32)
    first = Threshold(spread, np.zeros(shape.channels, np.uint8))
    steps: list[Step] = [InputConv2dStep("bits", "bits", 0, 1, weights, Window(1, 1), None, first)]
    image = Shape(shape.height, shape.width, 1)
    tensors = [Tensor("image", image, ElementKind.UINT8), Tensor("bits", shape, ElementKind.BIT)]
    for index, layer in enumerate(layers, start=1):
        step, shape = depthwise(rng, layer, shape, index, ends)
        steps.append(step)
        tensors.append(Tensor(step.name, shape, ElementKind.BIT))
    program = Program("chain", 128, tuple(tensors), tuple(steps))
    verify_program(program)
    return program


def depthwise(
    rng: np.random.Generator, layer: Layer, shape: Shape, index: int, ends: float
) -> tuple[BinaryConv2dStep, Shape]:
    """Step ``index`` with the shape of its output."""
    window, name = layer.window, f"layer{index}"
    taps = window.height * window.width
    weights = (rng.random((shape.channels, window.height, window.width, 1)) < 0.5).astype(np.uint8)
    near = rng.integers(-int(taps**0.5) - 1, int(taps**0.5) + 2, shape.channels)
    far = rng.choice([-taps - 1, -taps, -taps + 1, taps - 1, taps, taps + 1, 2**31 - 1, -(2**31)], shape.channels)
    thresholds = np.where(rng.random(shape.channels) < ends, far, near).astype(np.int32)
    ending = Threshold(thresholds, bits(rng, shape.channels))
    step = BinaryConv2dStep(
        name, name, index, index + 1, weights, window, layer.mode, layer.pool, ending, groups=shape.channels
    )
    rows, columns = window.output_size(shape.height, shape.width)
    if layer.pool is not None:
        rows, columns = layer.pool.window.output_size(rows, columns)
    return step, Shape(rows, columns, shape.channels)


def random_layer(rng: np.random.Generator, shape: Shape) -> Layer:
    """Any window that fits the map, with its padding and pool."""
    while True:
        height, width = (int(value) for value in rng.choice([1, 2, 3, 3, 3, 3, 4, 5, 6, 7], 2))
        if rng.random() < 0.6:
            width = height
        pads = (int(rng.integers(0, size + 2)) for size in (height, width, height, width))
        strides = (int(value) for value in rng.choice([1, 1, 2, 3], 2))
        window = Window(height, width, *strides, *pads)
        rows, columns = window.output_size(shape.height, shape.width)
        if rows < 1 or columns < 1:
            continue
        mode = MINUS if rng.random() < 0.5 else ZERO
        if rng.random() < 0.5:
            return Layer(window, mode)
        size_y, size_x = (int(rng.integers(1, min(4, limit + 1))) for limit in (rows, columns))
        pad_y, pad_x = (int(rng.integers(0, size)) for size in (size_y, size_x))
        steps = (int(value) for value in rng.integers(1, 4, 2))
        pool = Window(size_y, size_x, *steps, pad_y, pad_x, pad_y, pad_x)
        return Layer(window, mode, Pool(pool, PoolStage.ACC if rng.random() < 0.5 else PoolStage.BIT))


def random_chain(rng: np.random.Generator, layers: int) -> Program:
    """Random depthwise layers on a random map, until it is used up."""
    shape = Shape(int(rng.integers(1, 15)), int(rng.integers(1, 15)), int(rng.choice([1, 7, 31, 32, 33, 64, 70, 100])))
    found, inner = [], shape
    for _ in range(layers):
        layer = random_layer(rng, inner)
        rows, columns = layer.window.output_size(inner.height, inner.width)
        if layer.pool is not None:
            rows, columns = layer.pool.window.output_size(rows, columns)
        if max(rows, columns) > 24:
            continue
        found.append(layer)
        inner = Shape(rows, columns, inner.channels)
    return chain(tuple(found), shape, int(rng.integers(0, 2**31)))


def chain_images(program: Program, count: int) -> npt.NDArray[np.uint8]:
    """uint8 (count, H, W, 1): zeros, 255, dark noise, bright noise, then noise."""
    shape = program.input.shape
    images = np.random.default_rng(5).integers(0, 256, (count, shape.height, shape.width, 1), dtype=np.uint8)
    images[0], images[1] = 0, 255
    images[2] //= 2
    images[3] = images[3] // 2 + 128
    return images


def forced_slice(program: Program) -> dict[int, str]:
    """``forced`` of ``make_plan``: every step but the first."""
    return dict.fromkeys(range(1, len(program.steps)), "slice")


def bits(rng: np.random.Generator, count: int) -> BitArray:
    return rng.integers(0, 2, count, dtype=np.uint8)
