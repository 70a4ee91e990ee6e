# SPDX-License-Identifier: Apache-2.0
"""Layers for the tests of strategy ``rows``: chains of binary layers of every shape class behind one input layer.

All bits are 0 for an image of 0, all 1 for one of 255, and mixed for noise.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, Tensor
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    BitArray,
    ElementKind,
    PadMode,
    Pool,
    PoolStage,
    Scale,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)
from tests.support.small_programs import HALVING_POOL, SAME_3X3

MINUS, ZERO = PadMode.MINUS_ONE, PadMode.ZERO
PADDED_POOL = Window(3, 3, 2, 1, 1, 1, 1, 1)
NEAR, ALL_ONES, ALL_ZEROS = 0, -40000, 40000


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, or without a window a dense layer. ``threshold``: added to thresholds around 0."""

    outputs: int
    window: Window | None = None
    mode: PadMode = MINUS
    pool: Pool | None = None
    threshold: int = NEAR
    domain: WeightDomain = PLUS_MINUS_ONE


CONVOLUTIONS = (
    Layer(33, SAME_3X3),
    Layer(64, SAME_3X3, ZERO),
    Layer(5, Window(1, 1), ZERO),
    Layer(31, Window(3, 2, 1, 1, 2, 0, 0, 1), ZERO, Pool(PADDED_POOL, PoolStage.BIT)),
    Layer(100, Window(5, 5, 1, 1, 2, 2, 2, 2), MINUS, Pool(Window(2, 2, 1, 1), PoolStage.ACC)),
    Layer(1, Window(2, 5, 1, 2, 3, 4, 0, 4), MINUS),
    Layer(40, Window(4, 1, 1, 1, 3, 2, 3, 1), ZERO, Pool(Window(1, 2, 1, 1, 0, 1, 0, 0), PoolStage.ACC)),
    Layer(65, Window(3, 3, 1, 1, 1, 4, 1, 4), ZERO),
    Layer(32, Window(1, 1, 1, 3, 0, 2, 0, 1), ZERO, Pool(Window(1, 1, 1, 2), PoolStage.BIT)),
    Layer(96, Window(2, 2), MINUS, Pool(HALVING_POOL, PoolStage.BIT)),
)
"""Channel tails, strides, one-sided and wide padding, kernels wider than the map's rest, every pool."""

EXTREMES = (
    Layer(50, SAME_3X3, threshold=ALL_ONES),
    Layer(34, SAME_3X3),
    Layer(34, SAME_3X3, ZERO, threshold=ALL_ONES),
    Layer(30, SAME_3X3, ZERO),
    Layer(50, SAME_3X3, threshold=ALL_ZEROS),
    Layer(34, SAME_3X3, ZERO),
    Layer(70),
    Layer(300, threshold=ALL_ONES),
    Layer(260),
    Layer(7),
)
"""Maps of ones and of zeros in between; dense layers over maps with tails and over words."""


DOMAINS = (
    WeightDomain(0, 0),
    WeightDomain(3, -1),
    WeightDomain(1, -2),
    WeightDomain(2, 3),
    WeightDomain(4, -5),
    WeightDomain(3, 0),
    WeightDomain(2, -2),
    WeightDomain(0, -3),
    WeightDomain(3, 6),
    WeightDomain(4, -12),
    WeightDomain(15, 0),
)
"""One phase to eight; ratios with factors of 2; clear weights below, at and above 0; -2 and +2, which are plain."""


def in_domains(layers: tuple[Layer, ...], first: int = 0) -> tuple[Layer, ...]:
    """The layers with one domain each, from DOMAINS[first] on."""
    return tuple(
        dataclasses.replace(layer, domain=DOMAINS[(first + index) % len(DOMAINS)]) for index, layer in enumerate(layers)
    )


def chain(layers: tuple[Layer, ...], shape: Shape, seed: int = 0) -> Program:
    """The layers one behind the other, reading bits of ``shape``."""
    rng = np.random.default_rng(seed)
    weights = np.ones((shape.channels, 1, 1, 1), np.uint8)
    spread = rng.integers(-100, 101, shape.channels).astype(np.int32)
    first = Threshold(spread, np.zeros(shape.channels, np.uint8))
    steps: list[Step] = [InputConv2dStep("bits", "bits", 0, 1, weights, Window(1, 1), None, first)]
    image = Shape(shape.height, shape.width, 1)
    tensors = [Tensor("image", image, ElementKind.UINT8), Tensor("bits", shape, ElementKind.BIT)]
    for index, layer in enumerate(layers, start=1):
        name = f"layer{index}"
        if layer.window is None:
            taps = _weights(rng, (layer.outputs, shape.height, shape.width, shape.channels))
            steps.append(
                BinaryDenseStep(name, name, index, index + 1, taps, _threshold(rng, taps, layer), layer.domain)
            )
            shape = Shape(1, 1, layer.outputs)
        else:
            window = layer.window
            taps = _weights(rng, (layer.outputs, window.height, window.width, shape.channels))
            ending = _threshold(rng, taps, layer)
            steps.append(
                BinaryConv2dStep(
                    name, name, index, index + 1, taps, window, layer.mode, layer.pool, ending, layer.domain
                )
            )
            rows, columns = window.output_size(shape.height, shape.width)
            if layer.pool is not None:
                rows, columns = layer.pool.window.output_size(rows, columns)
            shape = Shape(rows, columns, layer.outputs)
        tensors.append(Tensor(name, shape, ElementKind.BIT))
    return Program("chain", 128, tuple(tensors), tuple(steps))


def chain_images(program: Program, count: int) -> npt.NDArray[np.uint8]:
    """uint8 (count, H, W, 1): zeros, 255, dark noise, bright noise, then noise."""
    shape = program.input.shape
    extent = (count, shape.height, shape.width, 1)
    images = np.random.default_rng(5).integers(0, 256, extent, dtype=np.uint8)
    images[0], images[1] = 0, 255
    images[2] //= 2
    images[3] = images[3] // 2 + 128
    return images


def forced_rows(program: Program) -> dict[int, str]:
    """``forced`` of ``make_plan``: every step that the strategy takes."""
    return {
        index: "rows"
        for index, step in enumerate(program.steps)
        if not isinstance(step, InputConv2dStep) and not isinstance(step.epilogue, Scale)
    }


def _weights(rng: np.random.Generator, extent: tuple[int, ...]) -> BitArray:
    return (rng.random(extent) < rng.choice([0.5, 0.5, 0.3, 0.8], (extent[0], 1, 1, 1))).astype(np.uint8)


def _threshold(rng: np.random.Generator, taps: BitArray, layer: Layer) -> Threshold:
    """Near 0, some at and beyond the ends."""
    clear, set_ = np.abs(layer.domain.values)
    ones = taps.reshape(len(taps), -1).mean(axis=1)
    reach = int(taps[0].size * (ones * set_ + (1 - ones) * clear).max())
    spread = (taps[0].size * (ones * set_**2 + (1 - ones) * clear**2).mean()) ** 0.5
    near = rng.integers(-int(spread) - 1, int(spread) + 2, layer.outputs)
    ends = rng.choice([-reach - 1, -reach, -reach + 1, reach - 1, reach, reach + 1, 2**31 - 1], layer.outputs)
    thresholds = np.where(rng.random(layer.outputs) < 0.1, ends, near)
    if layer.threshold != NEAR:
        thresholds = np.full(layer.outputs, layer.threshold)
    flips = rng.integers(0, 2, layer.outputs) if layer.threshold == NEAR else np.zeros(layer.outputs)
    return Threshold(thresholds.astype(np.int32), flips.astype(np.uint8))
