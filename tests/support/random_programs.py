# SPDX-License-Identifier: Apache-2.0
"""Small random networks as programs, for property tests of everything that runs or compiles a program.

Both a hypothesis strategy (:func:`programs`, shrinks towards few small layers) and a seeded generator
(:func:`random_program`) draw from one description of what a program may be: odd shapes, strides, kernels 1 to 5,
asymmetric pads, both pad modes, both pool stages with overlapping and padded pools, thresholds over and beyond the
reachable range, flips, channel counts that are not multiples of 32, dense tails, scale or threshold endings. With
``Limits.general`` also weight values other than -1 and +1, groups (depthwise ones among them) and removed taps.
Every program made here is valid for ``verify_program``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Protocol, TypeVar

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, Tensor
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    ElementKind,
    Epilogue,
    PadMode,
    Pool,
    PoolStage,
    Scale,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)

T = TypeVar("T")
INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a random program may be."""

    max_layers: int = 4
    max_side: int = 12
    max_channels: int = 70
    max_kernel: int = 5
    max_classes: int = 12
    general: bool = False


SMALL = Limits()
TINY = Limits(max_layers=3, max_side=6, max_channels=9, max_kernel=3, max_classes=4)
GENERAL = replace(SMALL, general=True)
TINY_GENERAL = replace(TINY, general=True)


class Chooser(Protocol):
    """Where the choices come from: a numpy generator or hypothesis."""

    def integer(self, low: int, high: int) -> int:
        """low to high, both included; low is the simplest."""

    def pick(self, options: Sequence[T]) -> T:
        """One of the options; the first is the simplest."""

    def generator(self) -> np.random.Generator:
        """For arrays, whose every element need not shrink."""


class SeededChooser:
    """Choices of a numpy generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def integer(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._rng.integers(len(options)))]

    def generator(self) -> np.random.Generator:
        return self._rng


class HypothesisChooser:
    """Choices of hypothesis, so that a failing program shrinks."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def pick(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(list(options)))

    def generator(self) -> np.random.Generator:
        return np.random.default_rng(self._draw(st.integers(0, 2**16)))


def random_program(rng: np.random.Generator, limits: Limits = SMALL) -> Program:
    """A random program from a seeded generator; equal seeds give equal programs."""
    return build_program(SeededChooser(rng), limits)


@st.composite
def programs(draw: st.DrawFn, limits: Limits = SMALL) -> Program:
    """Hypothesis strategy for programs."""
    return build_program(HypothesisChooser(draw), limits)


def random_images(rng: np.random.Generator, program: Program, count: int) -> npt.NDArray[np.uint8]:
    """uint8 (count, H, W, C): noise, with some flat images and images around the zero point, 0 and 255."""
    shape = program.input.shape
    extent = (shape.height, shape.width, shape.channels)
    images = rng.integers(0, 256, (count, *extent), dtype=np.uint8)
    for index in range(0, count, 4):
        images[index] = rng.choice([0, 255, program.input_zero_point, int(rng.integers(256))])
    for index in range(1, count, 4):
        near = program.input_zero_point + rng.integers(-3, 4, extent)
        images[index] = np.clip(near, 0, 255).astype(np.uint8)
    return images


def build_program(chooser: Chooser, limits: Limits) -> Program:
    """A program out of choices: an input convolution, then binary convolutions, then dense layers."""
    side = limits.max_side
    shape = Shape(chooser.integer(1, side), chooser.integer(1, side), chooser.pick([1, 3, 2, 4]))
    zero_point = chooser.pick([0, 128, 1, 255])
    layers = chooser.integer(1, limits.max_layers)
    dense = chooser.integer(0, layers - 1)
    tensors = [Tensor("image", shape, ElementKind.UINT8)]
    steps: list[Step] = []
    for index in range(layers):
        last = index == layers - 1
        is_dense = index >= layers - dense
        scaled = last and chooser.pick([True, False])
        outputs = _channels(chooser, limits.max_classes if last else limits.max_channels)
        if limits.general and index and not is_dense and chooser.pick([False, True]):
            outputs = shape.channels  # so that groups are possible
        step: Step
        if is_dense:
            step = _dense(chooser, limits, index, shape, outputs, scaled)
            shape = Shape(1, 1, outputs)
        else:
            step = _convolution(chooser, limits, index, shape, outputs, scaled, zero_point)
            shape = _output_shape(shape, step)
        steps.append(step)
        kind = ElementKind.INT32 if scaled else ElementKind.BIT
        tensors.append(Tensor(f"value{index + 1}", shape, kind))
    return Program("random", zero_point, tuple(tensors), tuple(steps))


def _output_shape(shape: Shape, step: InputConv2dStep | BinaryConv2dStep) -> Shape:
    rows, columns = step.window.output_size(shape.height, shape.width)
    if step.pool is not None:
        rows, columns = step.pool.window.output_size(rows, columns)
    return Shape(rows, columns, len(step.weights))


def _channels(chooser: Chooser, most: int) -> int:
    """1 to ``most``, with the edges of 32-bit words well represented."""
    edges = [count for count in (1, 2, 8, 31, 32, 33, 63, 64, 65) if count <= most]
    return chooser.pick([*edges, chooser.integer(1, most)])


def _window(chooser: Chooser, height: int, width: int, most: int, *, pool: bool) -> Window:
    """A window that fits; pads of a pool stay below its size, so that no pool window lies in the padding."""
    rows = chooser.integer(1, most)
    columns = chooser.integer(1, most)
    most_y, most_x = (rows - 1, columns - 1) if pool else (rows // 2 + 1, columns // 2 + 1)
    padded = chooser.pick([False, True])
    pads = [chooser.integer(0, limit) if padded else 0 for limit in (most_y, most_x, most_y, most_x)]
    rows = min(rows, height + pads[0] + pads[2])
    columns = min(columns, width + pads[1] + pads[3])
    if pool:
        pads = [min(pad, size - 1) for pad, size in zip(pads, (rows, columns, rows, columns), strict=True)]
        rows = min(rows, height + pads[0] + pads[2])
        columns = min(columns, width + pads[1] + pads[3])
        pads = [min(pad, size - 1) for pad, size in zip(pads, (rows, columns, rows, columns), strict=True)]
        if rows > height + pads[0] + pads[2] or columns > width + pads[1] + pads[3]:
            return Window(1, 1)
    return Window(rows, columns, chooser.integer(1, 3), chooser.integer(1, 3), *pads)


def _convolution(
    chooser: Chooser, limits: Limits, index: int, shape: Shape, outputs: int, scaled: bool, zero_point: int
) -> InputConv2dStep | BinaryConv2dStep:
    window = _window(chooser, shape.height, shape.width, limits.max_kernel, pool=False)
    groups = _groups(chooser, shape.channels, outputs) if limits.general and index else 1
    weights = _bits(chooser, (outputs, window.height, window.width, shape.channels // groups))
    stage = None if scaled else chooser.pick([None, PoolStage.ACC, PoolStage.BIT])
    pool = None
    if stage is not None:
        pool = Pool(_window(chooser, *window.output_size(shape.height, shape.width), 3, pool=True), stage)
    fan_in = weights[0].size
    if index == 0:
        reach = fan_in * max(zero_point, 255 - zero_point)
        first = _epilogue(chooser, outputs, reach, scaled)
        return InputConv2dStep("conv0", "layers.conv0", 0, 1, weights, window, pool, first)
    domain, kept = _domain(chooser, limits), _kept(chooser, limits, weights)
    epilogue = _epilogue(chooser, outputs, fan_in, scaled, _largest(domain))
    mode = chooser.pick([PadMode.MINUS_ONE, PadMode.ZERO])
    name = f"conv{index}"
    return BinaryConv2dStep(
        name, f"layers.{name}", index, index + 1, weights, window, mode, pool, epilogue, domain, groups, kept
    )


def _dense(chooser: Chooser, limits: Limits, index: int, shape: Shape, outputs: int, scaled: bool) -> BinaryDenseStep:
    weights = _bits(chooser, (outputs, shape.height, shape.width, shape.channels))
    domain, kept = _domain(chooser, limits), _kept(chooser, limits, weights)
    epilogue = _epilogue(chooser, outputs, weights[0].size, scaled, _largest(domain))
    name = f"dense{index}"
    return BinaryDenseStep(name, f"layers.{name}", index, index + 1, weights, epilogue, domain, kept)


def _groups(chooser: Chooser, channels: int, outputs: int) -> int:
    """A divisor of both counts; often the largest (depthwise where the counts agree), often 1."""
    largest = gcd(channels, outputs)
    divisors = [count for count in range(1, largest + 1) if largest % count == 0]
    return chooser.pick([1, largest, chooser.pick(divisors)])


def _domain(chooser: Chooser, limits: Limits) -> WeightDomain:
    if not limits.general:
        return PLUS_MINUS_ONE
    named = [PLUS_MINUS_ONE, WeightDomain(0, 0), WeightDomain(4, -1), WeightDomain(15, -32768)]
    drawn = WeightDomain(chooser.integer(0, 7), chooser.integer(-40, 40))
    return chooser.pick([*named, drawn, drawn])


def _largest(domain: WeightDomain) -> int:
    return max(abs(value) for value in domain.values)


def _kept(chooser: Chooser, limits: Limits, weights: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """No mask, or one that keeps some share of the taps; clears the weight bits of the others, in place."""
    share = chooser.pick([None, 0.5, 0.1, 0.9, 0.0]) if limits.general else None
    if share is None:
        return None
    kept = (chooser.generator().random(weights.shape) < share).astype(np.uint8)
    weights &= kept
    return kept


def _bits(chooser: Chooser, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Random bits; sometimes sparse, dense, or with channels that are all 0 or all 1."""
    density = chooser.pick([0.5, 0.1, 0.9, 0.0, 1.0])
    rng = chooser.generator()
    bits = (rng.random(shape) < density).astype(np.uint8)
    if 0.0 < density < 1.0 and len(bits) > 2:
        bits[int(rng.integers(len(bits)))] = rng.integers(2)
    return bits


def _epilogue(chooser: Chooser, outputs: int, fan_in: int, scaled: bool, largest: int = 1) -> Epilogue:
    """``fan_in * largest`` is the greatest magnitude of an accumulator, ``largest`` that of a weight."""
    rng = chooser.generator()
    reach = fan_in * largest
    if scaled:
        most = min(1 << 15, (INT32.max - (1 << 20)) // max(reach, 1))
        multiplier = rng.integers(-most, most + 1, outputs).astype(np.int32)
        return Scale(multiplier, rng.integers(-(1 << 20), 1 << 20, outputs).astype(np.int32))
    middle = max(1, int(fan_in**0.5) * largest)
    near = rng.integers(-middle, middle + 1, outputs)
    wide = rng.integers(-reach - 3, reach + 4, outputs)
    edge = rng.choice([-reach - 1, -reach, -reach + 1, 0, reach, reach + 1, INT32.min, INT32.max], outputs)
    kinds = rng.choice(3, outputs, p=[0.6, 0.3, 0.1])
    thresholds = np.choose(kinds, [near, wide, edge]).astype(np.int32)
    return Threshold(thresholds, rng.integers(0, 2, outputs).astype(np.uint8))
