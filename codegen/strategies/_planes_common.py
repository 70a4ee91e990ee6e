# SPDX-License-Identifier: Apache-2.0
"""What all forms of ``planes`` share: which convolutions they can gather, scratch of the maps, flips around the pool.

Used by ``planes.py`` and ``_lists.py`` only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picobnn.codegen.plan import Layout, layout_bytes
from picobnn.codegen.program import BinaryConv2dStep, Program, Step
from picobnn.codegen.strategies._common import refuse_conv2d
from picobnn.codegen.strategies._interface import CostTerm, Refusal
from picobnn.codegen.strategies._planes_tables import tap_classes
from picobnn.codegen.targets import InstructionSet, Target
from picobnn.codegen.vocabulary import BitArray, PoolStage, Scale, Shape, Threshold, Window

MAX_STRIDE = 2
MAX_CLASSES = 256


def refuse_gather(step: Step, program: Program, target: Target) -> Refusal | None:
    """Why a step's words cannot be gathered and counted, whatever its weights."""
    if not isinstance(step, BinaryConv2dStep):
        return Refusal("only binary convolutions have planes of pixels")
    if target.isa is InstructionSet.V6M:
        return Refusal("v6-M has too few registers for the adders")
    if step.groups != 1:
        return Refusal(f"{step.groups} groups; only ungrouped convolutions are gathered")
    if isinstance(step.epilogue, Scale):
        return Refusal("a scale needs sums, the counters only give signs")
    stride = max(step.window.stride_y, step.window.stride_x)
    if stride > MAX_STRIDE:
        return Refusal(f"a stride of {stride} is above {MAX_STRIDE}")
    classes = len(tap_classes(step, program.tensors[step.input].shape).inside)
    if classes > MAX_CLASSES:
        return Refusal(f"zero padding gives {classes} kinds of border, above {MAX_CLASSES}")
    return refuse_conv2d(step, program)


def map_scratch_bytes(step: BinaryConv2dStep, program: Program) -> int:
    """The input by phases and the map before the pool, where there are any."""
    window, shape, size = step.window, program.tensors[step.input].shape, 0
    if window.stride_y * window.stride_x > 1:
        phases = window.stride_y * window.stride_x
        height, width = -(-shape.height // window.stride_y), -(-shape.width // window.stride_x)
        size += layout_bytes(Layout.PIXEL_PLANES, Shape(height, width, shape.channels)) * phases
    if pool_window(step) is not None:
        rows, columns = window.output_size(shape.height, shape.width)
        size += layout_bytes(Layout.PIXEL_PLANES, Shape(rows, columns, len(step.weights)))
    return size


@dataclass(frozen=True, slots=True)
class MapCounts:
    """What a convolution's map means for the kernel. ``compares``: classes met, over all blocks, or 0 with one.

    Terms before the filters: ``tap``: taps placed; ``word``, ``piece``: words gathered, in one piece and piece by
    piece. Terms around them: ``phase``, ``pooled``: rows split and pooled, or steps on words that take about as long.
    """

    blocks: int
    compares: int
    gathered: tuple[CostTerm, ...]
    around: tuple[CostTerm, ...]


def map_counts(step: BinaryConv2dStep, program: Program) -> MapCounts:
    """Of an accepted step."""
    window, shape = step.window, program.tensors[step.input].shape
    rows, columns = window.output_size(shape.height, shape.width)
    blocks, taps = -(-rows * columns // 32), window.height * window.width
    whole = columns == -(-shape.width // window.stride_x)
    pieces = 0 if whole else min(rows * columns, 32 * blocks) // columns + blocks
    classes = tap_classes(step, shape)
    kinds = (classes.rows[:, None] + classes.columns).reshape(-1)
    compares = sum(len(np.unique(kinds[first : first + 32])) for first in range(0, len(kinds), 32))
    gathered = (
        CostTerm.always("tap", blocks * taps),
        CostTerm.always("word", blocks * taps * shape.channels),
        CostTerm.always("piece", pieces * taps * shape.channels),
    )
    around = (
        CostTerm.always("phase", _split(step, shape)),
        CostTerm.always("pooled", _pooled(step, columns, program.tensors[step.output].shape)),
    )
    return MapCounts(blocks, compares if len(classes.inside) > 1 else 0, gathered, around)


def _split(step: BinaryConv2dStep, shape: Shape) -> int:
    """Rows split into phases; where rows do not cross words, words, each once more per halving of rows below 16."""
    stride_y, stride_x = step.window.stride_y, step.window.stride_x
    if stride_y == stride_x == 2 and _divides_word(shape.width):
        halvings = max(0, 5 - shape.width.bit_length())
        return shape.channels * -(-shape.height * shape.width // 32) * (1 + halvings)
    return shape.channels * shape.height * stride_x if stride_y * stride_x > 1 else 0


def _pooled(step: BinaryConv2dStep, columns: int, output: Shape) -> int:
    """Rows pooled; where rows do not cross words, two per byte written. ``columns``: width of the map pooled."""
    pool, filters = pool_window(step), len(step.weights)
    if pool is None:
        return 0
    is_halved = (pool.height, pool.width, pool.stride_y, pool.stride_x) == (2, 2, 2, 2)
    is_whole = pool.pad_top == pool.pad_left == 0 and 2 * output.width == columns
    if is_halved and is_whole and _divides_word(columns):
        return 2 * filters * -(-output.height * output.width // 8)
    return filters * output.height * pool.height * pool.width


def _divides_word(width: int) -> bool:
    """Whether rows do not cross words."""
    return width > 1 and 32 % width == 0


def pool_window(step: BinaryConv2dStep) -> Window | None:
    """The pool's window, None where it leaves the map as it is."""
    if step.pool is None:
        return None
    window = step.pool.window
    is_trivial = (window.height, window.width, window.stride_y, window.stride_x) == (1, 1, 1, 1)
    return None if is_trivial else window


def split_flips(step: BinaryConv2dStep) -> tuple[BitArray, BitArray]:
    """Flips of the compare and flips behind the pool: with the pool on accumulators the flip comes last."""
    assert isinstance(step.epilogue, Threshold)
    flip = step.epilogue.flip
    none = np.zeros_like(flip)
    last = step.pool is not None and step.pool.stage is PoolStage.ACC and pool_window(step) is not None
    return (none, flip) if last else (flip, none)
