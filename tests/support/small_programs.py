# SPDX-License-Identifier: Apache-2.0
"""Small fixed programs: one per op, and a two-layer model; for golden texts and structural tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Tensor
from picobnn.codegen.vocabulary import (
    ElementKind,
    PadMode,
    Pool,
    PoolStage,
    Scale,
    Shape,
    Threshold,
    Window,
)

SAME_3X3 = Window(3, 3, 1, 1, 1, 1, 1, 1)
HALVING_POOL = Window(2, 2, 2, 2)


def bits(*shape: int) -> npt.NDArray[np.uint8]:
    """A fixed pattern of 0 and 1 that has no short period."""
    index = np.arange(int(np.prod(shape)))
    return ((index * index * 7 + index * 3) % 11 % 2).astype(np.uint8).reshape(shape)


def threshold(outputs: int, spread: int) -> Threshold:
    index = np.arange(outputs)
    return Threshold(((index * 5) % (2 * spread + 1) - spread).astype(np.int32), bits(outputs))


def scale(outputs: int) -> Scale:
    index = np.arange(outputs, dtype=np.int32)
    return Scale(17001 + 13 * index, -4000 + 1000 * index)


def _input_conv2d() -> tuple[Tensor, Tensor, InputConv2dStep]:
    image = Tensor("image", Shape(6, 6, 1), ElementKind.UINT8)
    output = Tensor("features", Shape(3, 3, 5), ElementKind.BIT)
    pool = Pool(HALVING_POOL, PoolStage.ACC)
    step = InputConv2dStep("conv0", "features.conv0", 0, 1, bits(5, 3, 3, 1), SAME_3X3, pool, threshold(5, 300))
    return image, output, step


def input_conv2d() -> Program:
    image, output, step = _input_conv2d()
    return Program("input_conv2d", 128, (image, output), (step,))


def binary_conv2d() -> Program:
    """Zero padding, pool on bits, 5 channels in and 33 out."""
    image, features, first = _input_conv2d()
    output = Tensor("maps", Shape(2, 2, 33), ElementKind.BIT)
    pool = Pool(Window(2, 2, 1, 1), PoolStage.BIT)
    second = BinaryConv2dStep(
        "conv1", "features.conv1", 1, 2, bits(33, 3, 3, 5), SAME_3X3, PadMode.ZERO, pool, threshold(33, 20)
    )
    return Program("binary_conv2d", 128, (image, features, output), (first, second))


def binary_dense() -> Program:
    """Dense layer with thresholds over a map whose channels leave gaps in its words."""
    image, features, first = _input_conv2d()
    output = Tensor("hidden", Shape(1, 1, 40), ElementKind.BIT)
    second = BinaryDenseStep("dense1", "classifier.dense1", 1, 2, bits(40, 3, 3, 5), threshold(40, 10))
    return Program("binary_dense", 128, (image, features, output), (first, second))


def two_layers() -> Program:
    """Input convolution and a dense layer that ends in logits."""
    image, features, first = _input_conv2d()
    output = Tensor("logits", Shape(1, 1, 3), ElementKind.INT32)
    second = BinaryDenseStep("dense1", "classifier.dense1", 1, 2, bits(3, 3, 3, 5), scale(3))
    return Program("two_layers", 128, (image, features, output), (first, second))


SMALL_PROGRAMS = {program.name: program for program in (input_conv2d(), binary_conv2d(), binary_dense(), two_layers())}


def fixed_images(program: Program, count: int) -> npt.NDArray[np.uint8]:
    """uint8 (count, H, W, C), the same for every run."""
    shape = program.input.shape
    extent = (count, shape.height, shape.width, shape.channels)
    return np.random.default_rng(7).integers(0, 256, extent, dtype=np.uint8)
