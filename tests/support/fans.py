# SPDX-License-Identifier: Apache-2.0
"""Many layers in one image: a fan is one input layer that makes bits, and layers that all read the image or those bits.

Layers are drawn by class (:class:`LayerClass`), so that a test can say which classes it met. A fan is not a network,
because nobody reads what its layers write: outputs and scratch of all layers lie in the same place of the arena.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.fan_plans import plan_fan
from picobnn.codegen.plan import Plan
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, Tensor
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import (
    BitArray,
    ElementKind,
    PadMode,
    Pool,
    Scale,
    Shape,
    Threshold,
    Window,
)
from picobnn.sim.reference import StepOutput, run_step
from tests.support.layer_classes import FIELDS, Kind, LayerClass, Padding, class_of
from tests.support.planes_layers import input_layer, threshold, weights_of

ZERO_POINT = 77
FILLS_A_VECTOR = 128
"""Output channels that rows_mve needs."""

TRIES = 50
POOLS = (Window(2, 2, 2, 2), Window(2, 2, 2, 2), Window(3, 3, 2, 2, 1, 1, 1, 1), Window(2, 1, 1, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Fan:
    """``classes``: of the steps behind the first."""

    plan: Plan
    classes: tuple[LayerClass, ...]


def make_fan(rng: np.random.Generator, shape: Shape, wanted: Sequence[LayerClass], per_fan: int, target: Target) -> Fan:
    """The bits have ``shape``. The first ``per_fan`` classes that it can have and whose strategy accepts the layer."""
    image = Shape(shape.height, shape.width, 1 + int(rng.integers(3)))
    tensors = [Tensor("image", image, ElementKind.UINT8), Tensor("bits", shape, ElementKind.BIT)]
    steps: list[Step] = [input_layer(shape.channels, image)]
    names, classes = [], []
    for each in wanted:
        made = _make(rng, each, image if each.kind is Kind.INPUT_CONV else shape, len(steps))
        if made is None or len(classes) == per_fan:
            continue
        step, output = made
        kind = ElementKind.INT32 if each.has_sums else ElementKind.BIT
        program = Program("fan", ZERO_POINT, (*tensors, Tensor(f"out{len(steps)}", output, kind)), (*steps, step))
        is_of_class = class_of(program, each) == each  # a depthwise layer has a tail only where the map has one
        if is_of_class and find_strategy(each.strategy).accepts(step, program, target) is None:
            tensors, steps = list(program.tensors), list(program.steps)
            names.append(each.strategy)
            classes.append(each)
    program = Program("fan", ZERO_POINT, tuple(tensors), tuple(steps))
    return Fan(plan_fan(program, names, target), tuple(classes))


def _make(rng: np.random.Generator, wanted: LayerClass, shape: Shape, index: int) -> tuple[Step, Shape] | None:
    """None where no layer of the class reads ``shape``."""
    counts = [1, 5, 31, 33, 40] if wanted.has_tail else [32, 32, 64]
    outputs = int(rng.choice(counts)) + (FILLS_A_VECTOR if wanted.strategy == "rows_mve" else 0)
    name, output, largest = f"layer{index}", index + 1, max(abs(value) for value in wanted.domain.values)
    if wanted.kind is Kind.DENSE:
        if shape.elements % 32 and not wanted.has_tail:
            return None
        weights = weights_of(rng, outputs, Window(shape.height, shape.width), shape.channels)
        if wanted.strategy == "gaps":
            weights = _few_of_one_kind(rng, weights)
        epilogue = _epilogue(rng, wanted, outputs, largest * weights[0].size)
        kept = _kept(rng, wanted, weights)
        return BinaryDenseStep(name, name, 1, output, weights, epilogue, wanted.domain, kept), Shape(1, 1, outputs)
    found = _geometry(rng, wanted, shape)
    if found is None:
        return None
    window, pool, (rows, columns) = found
    groups = 1
    if wanted.kind is Kind.DEPTHWISE:
        outputs = groups = shape.channels
    elif wanted.is_grouped:
        divisors = [count for count in range(2, shape.channels) if shape.channels % count == 0]
        if not divisors:
            return None
        groups = int(rng.choice(divisors))
        outputs = -(-outputs // groups) * groups
    weights = weights_of(rng, outputs, window, shape.channels // groups)
    if wanted.kind is Kind.INPUT_CONV:
        epilogue = _epilogue(rng, wanted, outputs, 255 * weights[0].size)
        return InputConv2dStep(name, name, 0, output, weights, window, pool, epilogue), Shape(rows, columns, outputs)
    mode = PadMode.ZERO if wanted.padding is Padding.ZERO else PadMode.MINUS_ONE
    epilogue = _epilogue(rng, wanted, outputs, largest * weights[0].size)
    kept = _kept(rng, wanted, weights)
    conv = BinaryConv2dStep(name, name, 1, output, weights, window, mode, pool, epilogue, wanted.domain, groups, kept)
    return conv, Shape(rows, columns, outputs)


def _few_of_one_kind(rng: np.random.Generator, weights: BitArray) -> BitArray:
    """Some of the ones, one in ten of all weights at most; or as few zeros."""
    few = weights & (rng.random(weights.shape) < rng.choice([0.01, 0.1])).astype(np.uint8)
    return few if rng.random() < 0.5 else 1 - few


def _kept(rng: np.random.Generator, wanted: LayerClass, weights: BitArray) -> BitArray | None:
    """Taps that stay where the layer is ternary: shares from none to all, by filter. Clears the bits of the others."""
    if not wanted.is_ternary:
        return None
    share = rng.choice([0.0, 0.1, 0.5, 0.5, 0.9, 1.0], len(weights)).reshape(-1, *([1] * (weights.ndim - 1)))
    kept = (rng.random(weights.shape) < share).astype(np.uint8)
    kept.flat[0] = 0  # one at least is removed
    weights &= kept
    return kept


def _geometry(
    rng: np.random.Generator, wanted: LayerClass, shape: Shape
) -> tuple[Window, Pool | None, tuple[int, int]] | None:
    """Window, pool and the size behind them; without a tail the map before the pool fills its words."""
    if shape.channels % 32 and wanted.kind is not Kind.INPUT_CONV and not wanted.has_tail:
        return None
    for _ in range(TRIES):
        window = _window(rng, wanted)
        size = window.output_size(shape.height, shape.width)
        if min(size) <= 0 or (size[0] * size[1] % 32 and not wanted.has_tail):
            continue
        if wanted.pool is None:
            return window, None, size
        pool = Pool(POOLS[int(rng.integers(len(POOLS)))], wanted.pool)
        if min(pooled := pool.window.output_size(*size)) > 0:
            return window, pool, pooled
    return None


def _window(rng: np.random.Generator, wanted: LayerClass) -> Window:
    """Half of those with padding keep the size of the map, others have any padding."""
    strides = [wanted.stride, int(rng.integers(1, wanted.stride + 1))]
    if rng.random() < 0.5:
        strides.reverse()
    if wanted.padding is Padding.NONE:
        return Window(*(int(size) for size in rng.integers(1, 6, 2)), *strides)
    if rng.random() < 0.5:
        size = int(rng.choice([3, 3, 5]))
        return Window(size, size, *strides, *([size // 2] * 4))
    pads = [int(pad) for pad in rng.integers(0, 4, 4)]
    pads[int(rng.integers(4))] += 1
    return Window(*(int(size) for size in rng.integers(1, 6, 2)), *strides, *pads)


def _epilogue(rng: np.random.Generator, wanted: LayerClass, outputs: int, reach: int) -> Scale | Threshold:
    if not wanted.has_sums:
        return threshold(rng, outputs, reach)
    multipliers = rng.integers(-999, 1000, outputs).astype(np.int32)
    return Scale(multipliers, rng.integers(-9999, 10000, outputs).astype(np.int32))


def run_fan(program: Program, images: npt.NDArray[np.uint8]) -> list[StepOutput]:
    """The reference, step by step."""
    outputs = [run_step(program, program.steps[0], images)]
    for step in program.steps[1:]:
        outputs.append(run_step(program, step, images if step.input == 0 else outputs[0]))
    return outputs


def fan_images(rng: np.random.Generator, program: Program, count: int) -> npt.NDArray[np.uint8]:
    """uint8 (count, H, W, C): all 0 and all 255, then noise."""
    shape = program.input.shape
    batch = rng.integers(0, 256, (count, shape.height, shape.width, shape.channels), np.uint8)
    for index, value in enumerate((0, 255)[: count - 1]):
        batch[index] = value
    return batch


def draw_fans(
    rng: np.random.Generator, layers: int, per_fan: int, classes: Sequence[LayerClass], target: Target
) -> list[Fan]:
    """Fans of ``per_fan`` layers at most until there are ``layers`` of them. First come classes with the most values of
    fields that their strategy has not had yet, then classes not met yet."""
    met: dict[LayerClass, int] = dict.fromkeys(classes, 0)
    had: set[tuple[str, str, object]] = set()
    fans: list[Fan] = []
    made = 0
    while made < layers:
        shape = _shape(rng, has_tail=len(fans) % 3 != 0)
        ranks = {each: (-len(_values(each) - had), met[each], float(rng.random())) for each in classes}
        fan = make_fan(rng, shape, sorted(classes, key=ranks.__getitem__), per_fan, target)
        for each in fan.classes:
            met[each] += 1
            had |= _values(each)
        made += len(fan.classes)
        fans.append(fan)
    return fans


def _values(each: LayerClass) -> set[tuple[str, str, object]]:
    return {(each.strategy, field, getattr(each, field)) for field in FIELDS}


def _shape(rng: np.random.Generator, *, has_tail: bool) -> Shape:
    """Of the bits."""
    if has_tail:
        return Shape(*(int(side) for side in rng.integers(3, 12, 2)), int(rng.choice([1, 5, 31, 33, 40, 65])))
    sides = [(8, 8), (16, 4), (8, 8), (12, 8), (8, 12), (16, 6)][int(rng.integers(6))]
    return Shape(*sides, int(rng.choice([32, 32, 64, 96])))
