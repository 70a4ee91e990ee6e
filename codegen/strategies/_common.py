# SPDX-License-Identifier: Apache-2.0
"""Parts that the strategies share: the sizes of a convolution, filter words, epilogue tables, common refusals.

Used by the strategies only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.pack import WordArray, pack_words
from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryConv2dStep, InputConv2dStep, Program, Step
from picobnn.codegen.strategies._interface import Refusal, Table
from picobnn.codegen.vocabulary import BitArray, Pool, PoolStage, Scale, Shape, Threshold, Window

Conv2dStep = InputConv2dStep | BinaryConv2dStep
IndexArray = npt.NDArray[np.int64]

MAX_EXTENT = 65535
NO_POOL = Window(height=1, width=1)


def fan_in(step: Step) -> int:
    """Weights per filter."""
    return int(step.weights.size // len(step.weights))


def filter_words(step: Step) -> int:
    """Words per filter: one run of bits in the order (ky, kx, channel) or (y, x, channel)."""
    return (fan_in(step) + 31) // 32


def packed_filters(weights: BitArray) -> WordArray:
    """Weight bits (O, ...) -> uint32 (O * words,), each filter one run of bits padded with 0."""
    return pack_words(weights.reshape(len(weights), -1)).reshape(-1)


def output_layout(step: Step) -> Layout:
    return Layout.HWC_INT32 if isinstance(step.epilogue, Scale) else Layout.CHANNEL_WORDS


def is_ternary(step: Step) -> bool:
    """Whether some taps are removed."""
    return not isinstance(step, InputConv2dStep) and step.kept is not None


def step_pool(step: Step) -> Pool | None:
    return step.pool if isinstance(step, Conv2dStep) else None


def thresholds_within(threshold: Threshold, reach: int) -> npt.NDArray[np.int64]:
    """Thresholds of accumulators in -reach to reach; those beyond are clamped to the nearest that decides alike."""
    return np.clip(threshold.thresholds.astype(np.int64), -reach, reach + 1)


def scale_tables(scale: Scale) -> tuple[Table, ...]:
    return (
        Table("multipliers", "int32_t", scale.multiplier.astype(np.int32)),
        Table("biases", "int32_t", scale.bias.astype(np.int32)),
    )


def flip_tables(threshold: Threshold) -> tuple[Table, ...]:
    """One bit per channel, or nothing where no channel is flipped."""
    return (Table("flips", "uint32_t", pack_words(threshold.flip)),) if threshold.flip.any() else ()


def flips_last(step: Step) -> bool:
    """Whether channels are flipped behind the pool, which is on accumulators."""
    pool = step_pool(step)
    has_flips = isinstance(step.epilogue, Threshold) and bool(step.epilogue.flip.any())
    return has_flips and pool is not None and pool.stage is PoolStage.ACC


def epilogue_pointers(step: Step, symbols: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Designators of flips and scale; absent ones are NULL. With the pool on accumulators the flip comes last."""
    flips, last = symbols.get("flips", "NULL"), flips_last(step)
    return (
        ("flips", "NULL" if last else flips),
        ("final_flips", flips if last else "NULL"),
        ("multipliers", symbols.get("multipliers", "NULL")),
        ("biases", symbols.get("biases", "NULL")),
    )


def shape_numbers(step: Conv2dStep, shape: Shape, output: Shape) -> tuple[tuple[str, int], ...]:
    """Fields of ``picobnn_conv2d_shape``."""
    window = step.window
    pool = step.pool.window if step.pool is not None else NO_POOL
    rows, columns = window.output_size(shape.height, shape.width)
    numbers = {
        "in_height": shape.height,
        "in_width": shape.width,
        "in_channels": shape.channels,
        "kernel_height": window.height,
        "kernel_width": window.width,
        "stride_y": window.stride_y,
        "stride_x": window.stride_x,
        "pad_top": window.pad_top,
        "pad_left": window.pad_left,
        "map_height": rows,
        "map_width": columns,
        "pool_height": pool.height,
        "pool_width": pool.width,
        "pool_stride_y": pool.stride_y,
        "pool_stride_x": pool.stride_x,
        "pool_pad_top": pool.pad_top,
        "pool_pad_left": pool.pad_left,
        "out_height": output.height,
        "out_width": output.width,
    }
    return tuple((f"shape.{name}", value) for name, value in numbers.items())


def refuse_conv2d(step: Conv2dStep, program: Program) -> Refusal | None:
    """Reasons that hold for every convolution kernel."""
    shape = program.tensors[step.input].shape
    output = program.tensors[step.output].shape
    largest = max(value for _, value in shape_numbers(step, shape, output))
    if largest > MAX_EXTENT:
        return Refusal(f"a size of {largest} is above {MAX_EXTENT}")
    if step.pool is None:
        return None
    if isinstance(step.epilogue, Scale):
        return Refusal("a pool cannot come before a scale")
    rows, columns = step.window.output_size(shape.height, shape.width)
    pool = step.pool.window
    spans = (
        (pool.pad_top, pool.height, pool.stride_y, output.height, rows),
        (pool.pad_left, pool.width, pool.stride_x, output.width, columns),
    )
    for pad, size, stride, outputs, positions in spans:
        if size <= pad or (outputs - 1) * stride - pad >= positions:
            return Refusal("a pool window lies in the padding only")
    return None


@dataclass(frozen=True, slots=True)
class Visits:
    """How often a convolution's walk stands at a position of the accumulator map: once per output pixel whose pool
    window holds it. ``border`` counts those whose window reaches into the padding. ``rows``, ``pixels``: of the windows
    of all visits, what lies on the map; ``outputs``: output pixels."""

    total: int
    border: int
    rows: int
    pixels: int
    outputs: int


def visits(step: Conv2dStep, program: Program) -> Visits:
    """Of ``picobnn_conv2d_walk`` (positions under overlapping pool windows are computed again)."""
    shape, output = program.tensors[step.input].shape, program.tensors[step.output].shape
    window, pool = step.window, step.pool.window if step.pool is not None else NO_POOL
    rows, columns = window.output_size(shape.height, shape.width)
    total, inside, taps = [], [], []
    for places, stride, pad, size, extent in (
        (
            window_places(output.height, pool.stride_y, pool.pad_top, pool.height, rows),
            window.stride_y,
            window.pad_top,
            window.height,
            shape.height,
        ),
        (
            window_places(output.width, pool.stride_x, pool.pad_left, pool.width, columns),
            window.stride_x,
            window.pad_left,
            window.width,
            shape.width,
        ),
    ):
        starts = places * stride - pad
        total.append(len(places))
        inside.append(int(((starts >= 0) & (starts + size <= extent)).sum()))
        taps.append(len(window_places(places, stride, pad, size, extent)))
    return Visits(
        total=total[0] * total[1],
        border=total[0] * total[1] - inside[0] * inside[1],
        rows=taps[0] * total[1],
        pixels=taps[0] * taps[1],
        outputs=output.height * output.width,
    )


def input_density(step: Step, program: Program) -> float:
    """Share of set bits of the step's input over the golden vectors; one half where the program does not say."""
    found = next((density for density in program.statistics if density.tensor == step.input), None)
    return 0.5 if found is None else found.ones / found.total


def is_pointwise(step: BinaryConv2dStep, program: Program) -> bool:
    """Whether a kernel reads the map in place: a 1x1 window on every pixel, no pool."""
    return step.pool is None and _has_pointwise_sizes(step, program)


def refuse_skipped_pixels(step: BinaryConv2dStep, program: Program) -> Refusal | None:
    """Kernels with a loop for 1x1 windows on every pixel know these by the sizes of the maps. A wider stride gives the
    same sizes where padding at the far edges makes up for the pixels that it leaves out."""
    window, shape = step.window, program.tensors[step.input].shape
    pool, output = step.pool.window if step.pool is not None else NO_POOL, program.tensors[step.output].shape
    if (pool.height, pool.width, output.height, output.width) != (1, 1, shape.height, shape.width):
        return None
    ends_outside = (shape.height - 1) * window.stride_y >= shape.height or (
        shape.width - 1
    ) * window.stride_x >= shape.width
    if ends_outside and _has_pointwise_sizes(step, program):
        return Refusal("a 1x1 window leaves out pixels and ends in the padding, with a map of the input's size")
    return None


def _has_pointwise_sizes(step: BinaryConv2dStep, program: Program) -> bool:
    """What ``is_pointwise`` in C asks of the window and its map."""
    window, shape = step.window, program.tensors[step.input].shape
    size = window.output_size(shape.height, shape.width)
    is_single = window.height * window.width == 1 and window.pad_top == window.pad_left == 0
    return is_single and size == (shape.height, shape.width)


def window_places(starts: int | IndexArray, stride: int, pad: int, size: int, limit: int) -> IndexArray:
    """Where windows at ``starts`` (or that many) stand on 0 .. limit - 1, one entry per place and window."""
    origins = (np.arange(starts) if isinstance(starts, int) else starts)[:, None] * stride - pad
    places = (origins + np.arange(size)).reshape(-1)
    return places[(places >= 0) & (places < limit)]


def inside_taps(positions: int, size: int, stride: int, pad: int, limit: int) -> tuple[BitArray, IndexArray]:
    """Distinct masks of taps inside the map along one axis, (kinds, size), and the kind of every position."""
    taps = np.arange(positions)[:, None] * stride - pad + np.arange(size)
    masks = ((taps >= 0) & (taps < limit)).astype(np.uint8)
    kinds, of_position = np.unique(masks, axis=0, return_inverse=True)
    return kinds, of_position.reshape(-1).astype(np.int64)
