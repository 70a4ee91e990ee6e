# SPDX-License-Identifier: Apache-2.0
"""The layers that kernels are judged by, as programs: an input convolution that makes bits, then the layer.

Invariant: weights, thresholds and image depend on the workload and the share of ones only, so figures repeat. The
layer of interest is always the last step. Used by ``kernels.py`` and ``calibrate.py``.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, Tensor
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    ElementKind,
    PadMode,
    Pool,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)
from picobnn.sim.reference import run_program

BitArray = npt.NDArray[np.uint8]

IMAGE_CHANNELS = 16
"""Of the image behind a binary layer: every bit is the sign of a random sum of so many random bytes."""

ZERO_POINT = 128
IMAGES_TRIED = 16


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer to run: ``kernel`` 0 is dense; pads are (kernel - 1) / 2; ``is_first`` reads the 8-bit image."""

    height: int
    width: int
    channels: int
    filters: int
    kernel: int
    is_first: bool = False
    stride: int = 1
    pad_mode: PadMode = PadMode.MINUS_ONE
    pool: Pool | None = None
    groups: int = 1

    @property
    def text(self) -> str:
        if self.kernel == 0:
            return f"dense {self.height * self.width * self.channels}-{self.filters}"
        kind = "first layer u8 " if self.is_first else ""
        stride = f" /{self.stride}" if self.stride != 1 else ""
        size = f"{self.kernel}x{self.kernel}{stride}"
        if self.groups != 1:
            kind = "depthwise " if self.groups == self.channels == self.filters else f"{self.groups} groups "
        return f"{kind}{size} {self.channels}-{self.filters} {self.height}x{self.width}"


WORKLOADS = {
    "a": Layer(16, 16, 32, 32, 3),
    "b": Layer(8, 8, 64, 64, 3),
    "c": Layer(8, 8, 128, 128, 3),
    "d": Layer(1, 1, 1024, 256, 0),
    "e": Layer(32, 32, 3, 32, 3, is_first=True),
    "f": Layer(16, 16, 64, 128, 1),
    "g": Layer(16, 16, 64, 64, 3, groups=64),
    "h": Layer(14, 14, 32, 64, 3),
    "i": Layer(7, 7, 64, 128, 3),
}


def layer_program(layer: Layer, density: float = 0.5, domain: WeightDomain | None = None) -> Program:
    """The layer behind an input convolution that makes its bits; a first layer stands alone.

    ``density`` is the share of ones of the weights. ``domain``: what their bits stand for. Without one these are the
    two values with mean near zero whose counters have the fewest fractional bits: acc = 2**k * sum(x where u=1) -
    sum(x); at one half those are -1 and +1.
    """
    rng = np.random.default_rng(zlib.crc32(layer.text.encode()))
    shape = Shape(layer.height, layer.width, layer.channels)
    if layer.is_first:
        tensors = [Tensor("image", shape, ElementKind.UINT8)]
        steps: list[Step] = []
    else:
        image = Shape(layer.height, layer.width, IMAGE_CHANNELS)
        tensors = [Tensor("image", image, ElementKind.UINT8), Tensor("bits", shape, ElementKind.BIT)]
        steps = [make_bits(rng, layer.channels)]
    step, output = last_step(rng, layer, len(steps), density, domain or domain_of(density))
    return Program("kernel", ZERO_POINT, (*tensors, Tensor("out", output, ElementKind.BIT)), (*steps, step))


def make_bits(rng: np.random.Generator, channels: int) -> InputConv2dStep:
    """A 1x1 input convolution: bits that are half ones where image bytes are random."""
    weights = random_bits(rng, (channels, 1, 1, IMAGE_CHANNELS), 0.5)
    threshold = Threshold(np.zeros(channels, np.int32), random_bits(rng, (channels,), 0.5))
    return InputConv2dStep("bits", "bits", 0, 1, weights, Window(1, 1), None, threshold)


def last_step(
    rng: np.random.Generator, layer: Layer, index: int, density: float, domain: WeightDomain
) -> tuple[Step, Shape]:
    """The layer as step ``index`` with the shape of its output. Thresholds lie near the middle."""
    if layer.kernel == 0:
        weights = random_bits(rng, (layer.filters, layer.height, layer.width, layer.channels), density)
        epilogue = middle_threshold(rng, weights, spread_of(domain, density))
        dense = BinaryDenseStep("layer", "layer", index, index + 1, weights, epilogue, domain)
        return dense, Shape(1, 1, layer.filters)
    pad = (layer.kernel - 1) // 2
    window = Window(layer.kernel, layer.kernel, layer.stride, layer.stride, pad, pad, pad, pad)
    rows, columns = window.output_size(layer.height, layer.width)
    if layer.pool is not None:
        rows, columns = layer.pool.window.output_size(rows, columns)
    output = Shape(rows, columns, layer.filters)
    taps = (layer.kernel, layer.kernel, layer.channels // layer.groups)
    weights = random_bits(rng, (layer.filters, *taps), density)
    if layer.is_first:
        epilogue = middle_threshold(rng, weights, 74.0)
        return InputConv2dStep("layer", "layer", index, index + 1, weights, window, layer.pool, epilogue), output
    epilogue = middle_threshold(rng, weights, spread_of(domain, density))
    return BinaryConv2dStep(
        "layer", "layer", index, index + 1, weights, window, layer.pad_mode, layer.pool, epilogue, domain, layer.groups
    ), output


def domain_of(density: float) -> WeightDomain:
    """The two weight values for a share of ones."""
    if density == 0.5:
        return PLUS_MINUS_ONE
    return WeightDomain(shift=max(1, round(math.log2(1.0 / density))), ratio=-1)


def spread_of(domain: WeightDomain, density: float) -> float:
    """Root mean square of the weight values."""
    clear, set_ = domain.values
    return math.sqrt((1.0 - density) * clear**2 + density * set_**2)


def middle_threshold(rng: np.random.Generator, weights: BitArray, spread: float) -> Threshold:
    """Around zero, half a standard deviation of a sum of ``weights[0].size`` values of size ``spread``."""
    deviation = 0.5 * spread * math.sqrt(weights[0].size)
    count = len(weights)
    return Threshold(rng.normal(0.0, deviation, count).round().astype(np.int32), random_bits(rng, (count,), 0.5))


def random_bits(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> BitArray:
    """0/1 with the given share of ones."""
    return (rng.random(shape) < density).astype(np.uint8)


def half_ones_image(program: Program) -> npt.NDArray[np.uint8]:
    """uint8 (H, W, C): of some random images the one whose map before the last step is nearest to half ones."""
    shape = program.input.shape
    extent = (IMAGES_TRIED, shape.height, shape.width, shape.channels)
    images = np.random.default_rng(1).integers(0, 256, extent, dtype=np.uint8)
    if len(program.steps) == 1:
        return images[0]
    seen = run_program(program, images)[-2]
    share = seen.reshape(IMAGES_TRIED, -1).mean(axis=1)
    return images[int(np.argmin(np.abs(share - 0.5)))]
