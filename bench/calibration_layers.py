# SPDX-License-Identifier: Apache-2.0
"""Programs whose layers span what kernels meet: channel counts around words, both paddings, strides, pools, endings.

Invariant: programs depend on their number only. Many layers per program, so that one image measures many. Used by
``calibrate.py``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from workloads import ZERO_POINT, middle_threshold, random_bits

from picobnn.codegen.program import (
    BinaryConv2dStep,
    BinaryDenseStep,
    Density,
    InputConv2dStep,
    Program,
    Step,
    Tensor,
    verify_program,
)
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    ElementKind,
    PadMode,
    Pool,
    PoolStage,
    Scale,
    Shape,
    WeightDomain,
    Window,
)
from picobnn.sim.reference import run_program


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution of a chain; pads are (kernel - 1) / 2; pools are ``pool_size`` wide and high with stride 2;
    ``kept``: share of the taps that stay; ``ones``: share of ones."""

    filters: int
    kernel: int
    stride: int = 1
    zero: bool = False
    pool: bool = False
    groups: int = 1
    domain: WeightDomain = PLUS_MINUS_ONE
    kept: float = 1.0
    ones: float = 0.5
    pool_size: int = 2


@dataclass(frozen=True, slots=True)
class Dense:
    """A dense layer of a chain; ``ones``: share of ones. A bare number of filters has half ones."""

    filters: int
    ones: float
    domain: WeightDomain = PLUS_MINUS_ONE


def depthwise(filters: int, kernel: int, stride: int = 1, *, zero: bool = False, pool: bool = False) -> Conv:
    """One filter per channel."""
    return Conv(filters, kernel, stride, zero, pool, groups=filters)


SHARED = WeightDomain(3, -1)
"""Weights of -1 and 7."""

ZERO_AND_ONE = WeightDomain(0, 0)

Chain = tuple[Shape, tuple[Conv, ...], tuple[int | Dense, ...]]
"""Image, convolutions (the first reads the image), and dense layers, the last of which ends in sums."""

CHAINS: tuple[Chain, ...] = (
    (Shape(16, 16, 3), (Conv(32, 3), Conv(32, 3), Conv(64, 3, pool=True), Conv(64, 3), Conv(128, 3)), (96, 10)),
    (Shape(12, 10, 1), (Conv(40, 5), Conv(33, 3), Conv(64, 1), Conv(96, 3, 2), Conv(160, 3), Conv(64, 3)), (10,)),
    (Shape(8, 8, 16), (Conv(64, 1), Conv(128, 3), Conv(128, 3), Conv(32, 1), Conv(20, 3)), (256, 64, 10)),
    (Shape(28, 28, 1), (Conv(16, 3, pool=True), Conv(32, 3, zero=True, pool=True), Conv(64, 3, zero=True)), (10,)),
    (Shape(9, 11, 4), (Conv(64, 3, 2), Conv(128, 1), Conv(64, 1), Conv(256, 1), Conv(96, 1), Conv(32, 5)), (30,)),
    (Shape(14, 14, 2), (Conv(32, 3), Conv(64, 3), Conv(64, 1, pool=True), Conv(128, 3, zero=True)), (512, 128, 10)),
    (Shape(6, 6, 3), (Conv(96, 3), Conv(96, 3), Conv(192, 3), Conv(64, 3), Conv(64, 3, 2, zero=True)), (33, 5)),
    (Shape(20, 8, 1), (Conv(24, 3, pool=True), Conv(48, 3, zero=True), Conv(32, 3), Conv(32, 3)), (200,)),
    (Shape(32, 32, 3), (Conv(32, 3, pool=True),), ()),
    (Shape(16, 16, 1), (Conv(64, 5, 2),), ()),
    (Shape(10, 10, 3), (Conv(16, 7),), ()),
    (Shape(24, 24, 3), (Conv(20, 3),), ()),
    (Shape(13, 15, 1), (Conv(96, 3),), ()),
    (Shape(8, 8, 3), (Conv(128, 3),), ()),
    (Shape(10, 12, 1), (Conv(40, 1),), (96, 32, 10)),
    (Shape(8, 8, 2), (Conv(64, 1),), (64, 10)),
    (Shape(14, 12, 3), (Conv(64, 5),), ()),
    (Shape(20, 18, 1), (Conv(24, 5, pool=True),), ()),
    (Shape(10, 16, 1), (Conv(40, 3),), ()),
    (Shape(7, 20, 3), (Conv(16, 3, pool=True),), ()),
    (Shape(12, 8, 3), (Conv(48, 5, pool=True),), ()),
    (Shape(16, 10, 1), (Conv(64, 3, pool=True),), ()),
    (
        Shape(16, 16, 3),
        (Conv(64, 3), depthwise(64, 3), depthwise(64, 3, zero=True), depthwise(64, 3, 2), depthwise(64, 3)),
        (),
    ),
    (Shape(12, 10, 1), (Conv(40, 3), depthwise(40, 3, pool=True), depthwise(40, 5), depthwise(40, 3, zero=True)), ()),
    (
        Shape(20, 28, 1),
        (Conv(96, 1), depthwise(96, 7), depthwise(96, 3, 2, zero=True), depthwise(96, 5, zero=True)),
        (),
    ),
    (
        Shape(32, 32, 1),
        (Conv(32, 3), depthwise(32, 3), depthwise(32, 3, pool=True), depthwise(32, 3, zero=True), depthwise(32, 5, 2)),
        (),
    ),
    (
        Shape(9, 13, 2),
        (Conv(160, 3), depthwise(160, 3), depthwise(160, 1), depthwise(160, 7, 2), depthwise(160, 3, zero=True)),
        (),
    ),
    (
        Shape(28, 14, 1),
        (Conv(16, 3), depthwise(16, 3, zero=True, pool=True), depthwise(16, 5, pool=True), depthwise(16, 3)),
        (),
    ),
    (Shape(12, 12, 4), (Conv(64, 3), Conv(64, 3, groups=64), Conv(96, 1, domain=SHARED), Conv(96, 3, groups=3)), (10,)),
    (Shape(9, 9, 4), (Conv(64, 3), Conv(128, 3, kept=0.3), Conv(64, 3, domain=SHARED), Conv(32, 1, kept=0.5)), (10,)),
    (
        Shape(10, 10, 3),
        (
            Conv(32, 3),
            Conv(32, 3, zero=True, domain=SHARED),
            Conv(48, 3, zero=True, kept=0.5, domain=SHARED),
            Conv(48, 5, groups=48, pool=True),
            Conv(256, 3, domain=SHARED),
        ),
        (64, 10),
    ),
    (
        Shape(8, 8, 16),
        (Conv(128, 1), Conv(128, 3, ones=0.1), Conv(128, 3, zero=True, ones=0.05), Conv(64, 3, ones=0.2)),
        (),
    ),
    (Shape(16, 16, 3), (Conv(48, 3), Conv(64, 3, ones=0.06), Conv(40, 3, ones=0.25), Conv(32, 1, ones=0.1)), ()),
    (
        Shape(8, 9, 2),
        (Conv(40, 3), Conv(128, 3), Conv(256, 1), Conv(160, 3, zero=True), Conv(224, 3, 2)),
        (384, 300, 10),
    ),
    (Shape(7, 7, 2), (Conv(33, 1), Conv(192, 5), Conv(140, 1), Conv(128, 3, 2, zero=True)), (1024, 256, 128, 5)),
    (
        Shape(16, 16, 2),
        (Conv(24, 3), Conv(48, 3, 2), Conv(16, 1), Conv(64, 3, pool=True), Conv(40, 3, 2, zero=True), Conv(16, 1)),
        (),
    ),
    (
        Shape(14, 12, 1),
        (Conv(40, 3), Conv(32, 2), Conv(48, 3, 2, zero=True), Conv(64, 2), Conv(16, 1), Conv(16, 3)),
        (),
    ),
    (
        Shape(13, 11, 1),
        (Conv(48, 3), Conv(40, 3, pool=True), Conv(64, 3, zero=True), Conv(32, 1, 2), Conv(24, 3), Conv(96, 1)),
        (),
    ),
    (
        Shape(10, 9, 2),
        (
            Conv(24, 3),
            Conv(16, 3, kept=0.4),
            Conv(40, 3, zero=True, kept=0.5),
            Conv(32, 1, kept=0.5, domain=SHARED),
            Conv(32, 3, zero=True, kept=0.3, domain=SHARED),
            Conv(24, 3, pool=True, domain=SHARED),
        ),
        (40, 10),
    ),
    (
        Shape(15, 14, 2),
        (
            Conv(24, 3, pool=True, pool_size=3),
            Conv(36, 3, 2),
            Conv(20, 3, pool=True, pool_size=3, zero=True),
            Conv(32, 1),
        ),
        (),
    ),
    (Shape(9, 12, 3), (Conv(40, 5, pool=True, pool_size=3),), ()),
    (Shape(12, 9, 3), (Conv(72, 3, pool=True, pool_size=3),), ()),
    (Shape(8, 8, 2), (Conv(36, 3), Conv(48, 3, 2), Conv(20, 3, pool=True), Conv(32, 3, 2), Conv(16, 1)), ()),
    (Shape(6, 9, 8), (Conv(40, 1),), ()),
    (Shape(6, 7, 24), (Conv(32, 1),), ()),
    (Shape(7, 6, 30), (Conv(48, 1),), ()),
    (Shape(13, 12, 1), (Conv(20, 3), Conv(36, 4), Conv(24, 2, pool=True), Conv(40, 4), Conv(16, 2, 2)), ()),
    (Shape(8, 6, 1), (Conv(20, 3, pool=True), Conv(20, 3)), (10,)),
    (Shape(8, 4, 1), (Conv(40, 1), Conv(16, 3, pool=True)), (48, 10)),
    (Shape(14, 14, 1), (Conv(32, 1),), (Dense(64, 0.02, SHARED), Dense(100, 0.05), Dense(40, 0.1, SHARED), 10)),
    (Shape(7, 7, 2), (Conv(70, 1),), (Dense(48, 0.04), Dense(256, 0.01), Dense(64, 0.06), Dense(10, 0.1))),
    (Shape(8, 8, 1), (Conv(64, 1),), (Dense(10, 0.05, SHARED),)),
    (Shape(6, 5, 3), (Conv(40, 1),), (Dense(512, 0.03), Dense(128, 0.09), Dense(5, 0.03))),
    (Shape(20, 20, 1), (Conv(16, 1),), (Dense(33, 0.002), Dense(10, 0.97))),
    (
        Shape(12, 12, 1),
        (Conv(10, 1),),
        (Dense(30, 0.01, ZERO_AND_ONE), Dense(200, 0.05), Dense(20, 0.05, ZERO_AND_ONE)),
    ),
    (Shape(3, 3, 8), (Conv(384, 1),), (Dense(96, 0.07), Dense(320, 0.002), Dense(30, 0.02, SHARED))),
    (Shape(28, 28, 1), (Conv(8, 1),), (Dense(10, 0.1),)),
    (Shape(16, 64, 1), (Conv(16, 1), Conv(16, 3, pool=True), Conv(16, 3, pool=True), Conv(24, 3, pool=True)), ()),
    (Shape(10, 36, 1), (Conv(16, 1), Conv(20, 2, pool=True), Conv(16, 3, pool=True)), ()),
)


def chain_program(number: int) -> tuple[Program, npt.NDArray[np.uint8]]:
    """Program ``number`` of :data:`CHAINS` with its image."""
    return build_chain(CHAINS[number], number)


def build_chain(chain: Chain, seed: int) -> tuple[Program, npt.NDArray[np.uint8]]:
    """The chain with random weights, and the densities that its random image, uint8 (H, W, C), gives its maps."""
    rng = np.random.default_rng(seed)
    shape, convolutions, dense = chain
    tensors = [Tensor("image", shape, ElementKind.UINT8)]
    steps: list[Step] = []
    for conv in convolutions:
        step, shape = _conv(rng, conv, shape, len(steps))
        steps.append(step)
        tensors.append(Tensor(f"map{len(steps)}", shape, ElementKind.BIT))
    layers = [Dense(each, 0.5) if isinstance(each, int) else each for each in dense]
    for layer in layers:
        filters = layer.filters
        weights = random_bits(rng, (filters, shape.height, shape.width, shape.channels), layer.ones)
        index, last = len(steps), layer is layers[-1]
        sums = Scale(np.full(filters, 3, np.int32), np.zeros(filters, np.int32))
        epilogue = sums if last else middle_threshold(rng, weights, 1.0)
        steps.append(BinaryDenseStep(f"dense{index}", "", index, index + 1, weights, epilogue, layer.domain))
        shape = Shape(1, 1, filters)
        tensors.append(Tensor(f"dense{index}", shape, ElementKind.INT32 if last else ElementKind.BIT))
    program = Program("calibration", ZERO_POINT, tuple(tensors), tuple(steps))
    verify_program(program)
    image = rng.integers(0, 256, (chain[0].height, chain[0].width, chain[0].channels), dtype=np.uint8)
    return with_densities(program, image), image


def with_densities(program: Program, image: npt.NDArray[np.uint8]) -> Program:
    """The program with the shares of ones that this one image gives."""
    found = []
    for step, output in zip(program.steps, run_program(program, image[None]), strict=True):
        if program.tensors[step.output].kind is ElementKind.BIT:
            found.append(Density(step.output, int(output.sum()), int(output.size)))
    return dataclasses.replace(program, statistics=tuple(found))


def _conv(rng: np.random.Generator, conv: Conv, shape: Shape, index: int) -> tuple[Step, Shape]:
    pad = (conv.kernel - 1) // 2
    window = Window(conv.kernel, conv.kernel, conv.stride, conv.stride, pad, pad, pad, pad)
    rows, columns = window.output_size(shape.height, shape.width)
    pool = Pool(Window(conv.pool_size, conv.pool_size, 2, 2), PoolStage.ACC) if conv.pool else None
    if pool is not None:
        rows, columns = pool.window.output_size(rows, columns)
    weights = random_bits(rng, (conv.filters, conv.kernel, conv.kernel, shape.channels // conv.groups), conv.ones)
    kept = random_bits(rng, weights.shape, conv.kept) if conv.kept < 1.0 else None
    weights = weights if kept is None else weights & kept
    output, name = Shape(rows, columns, conv.filters), f"conv{index}"
    if index == 0:
        epilogue = middle_threshold(rng, weights, 74.0)
        return InputConv2dStep(name, "", 0, 1, weights, window, pool, epilogue), output
    mode = PadMode.ZERO if conv.zero else PadMode.MINUS_ONE
    epilogue = middle_threshold(rng, weights, 1.0)
    parts = (weights, window, mode, pool, epilogue, conv.domain, conv.groups, kept)
    return BinaryConv2dStep(name, "", index, index + 1, *parts), output
