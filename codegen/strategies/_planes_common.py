# SPDX-License-Identifier: Apache-2.0
"""What all forms of ``planes`` share: which convolutions they can gather, scratch of the maps, flips around the pool.

Used by the modules of the forms and by ``_planes_costs.py`` only.
"""

from __future__ import annotations

import numpy as np

from picobnn.codegen.plan import Layout, layout_bytes
from picobnn.codegen.program import BinaryConv2dStep, Program, Step
from picobnn.codegen.strategies._common import refuse_conv2d
from picobnn.codegen.strategies._interface import Refusal
from picobnn.codegen.strategies._planes_tables import tap_classes
from picobnn.codegen.targets import InstructionSet, Target
from picobnn.codegen.vocabulary import BitArray, PoolStage, Scale, Shape, Threshold, Window

MAX_STRIDE = 2
MAX_CLASSES = 256
MAX_POOL_WIDTH = 32
"""A pool window's bits of a row are one word."""


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
    if step.pool is not None and step.pool.window.width > MAX_POOL_WIDTH:
        return Refusal(f"a pool window {step.pool.window.width} wide is above {MAX_POOL_WIDTH}")
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


def phases_function(step: BinaryConv2dStep) -> str:
    """The C function that gives the kernel its input by phases (``picobnn_planes.h``)."""
    has_strides = step.window.stride_y * step.window.stride_x > 1
    return "picobnn_planes_split_phases" if has_strides else "picobnn_planes_one_phase"


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
