# SPDX-License-Identifier: Apache-2.0
"""From a program to the tables of the bit-sliced executor (``_bitslice.h`` says what they mean).

Invariant: with s the sum of the selected values of a window (a clear bit counts 0, a set bit 1, a byte itself) and S
the sum of all that are kept, ``acc = factor * (2**k * s + r * S) + constant``: factor 2 for bits, 1 for bytes. The
threshold becomes ``2**k * s + r * S >= D`` and then ``2**k * (s + c) + low >= bias - r * S``, with c, low and bias not
negative; a positive r takes the complement of S. Taps left out by zero padding only change the constant, so there is
one set of constants per kind of border (``bitslice_sums.py``). Called by ``executor.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.vocabulary import Pool, PoolStage, Scale, Shape, Threshold, Window
from picobnn.sim.bitslice_sums import ENTRY_BITS, Int32s, Int64s, Offsets, Sums, borders_of, sums_of

Masks = npt.NDArray[np.uint64]

LEAST_BITS = 5  # of a counter of bits: what count_words keeps in registers


@dataclass(frozen=True, slots=True, eq=False)
class StepTables:
    """One step as the C side wants it; the fields of ``bitslice_step``."""

    is_input: bool
    is_scaled: bool
    is_pooled: bool
    pools_bits: bool
    input: int
    output: int
    in_channels: int
    out_channels: int
    taps: int
    window: tuple[int, ...]
    pool: tuple[int, ...]
    counter_bits: int
    shift: int
    multiplied: bool
    sum_bits: int
    ratio_size: int
    complemented: bool
    total_lists: int
    total_of: Int32s
    group: int
    column_classes: int
    row_class: Int32s
    column_class: Int32s
    offsets: Offsets
    starts: Offsets
    initial: Masks
    initial_total: Masks
    flip: Masks
    constant: Int64s
    multiplier: Int32s
    bias: Int32s
    gain: int
    total_gain: int
    scratch_vectors: int


def step_tables(program: Program, step: Step, vector_bytes: int) -> StepTables:
    """Tables of one step of a verified program, for vectors of ``vector_bytes``."""
    shape = program.tensors[step.input].shape
    window = _window_of(step, shape)
    rows, columns = window.output_size(shape.height, shape.width)
    pool = None if isinstance(step, BinaryDenseStep) else step.pool
    outputs = len(step.weights)
    borders = borders_of(step, window, shape)
    sums = sums_of(program, step, shape, borders)
    scale = step.epilogue if isinstance(step.epilogue, Scale) else None
    flip = np.zeros(outputs, np.uint8)
    compare = _no_compare(sums)
    if isinstance(step.epilogue, Threshold):
        flip = step.epilogue.flip
        compare = _compare(step.epilogue, sums)
    lists = [*sums.selected, *(sums.totals if compare.ratio or scale else [np.zeros(0, np.uint32)])]
    total_of = sums.total_of if compare.ratio or scale else np.zeros(outputs, np.int32)
    return StepTables(
        is_input=isinstance(step, InputConv2dStep),
        is_scaled=scale is not None,
        is_pooled=pool is not None,
        pools_bits=pool is not None and pool.stage is PoolStage.BIT,
        input=step.input,
        output=step.output,
        in_channels=shape.channels,
        out_channels=outputs,
        taps=window.height * window.width * shape.channels,
        window=_geometry(window, shape.height, shape.width),
        pool=_pool_geometry(pool, rows, columns),
        counter_bits=compare.bits,
        shift=compare.shift,
        multiplied=compare.ratio not in (-1, 0),
        sum_bits=compare.sum_bits,
        ratio_size=abs(compare.ratio),
        complemented=compare.ratio > 0,
        total_lists=len(lists) - outputs,
        total_of=total_of,
        group=sums.group,
        column_classes=borders.column_classes,
        row_class=borders.rows,
        column_class=borders.columns,
        offsets=np.concatenate(lists) * np.uint32(vector_bytes),
        starts=np.cumsum([0, *(len(words) for words in lists)], dtype=np.uint32),
        initial=np.concatenate([_masks(compare.low, compare.shift), _masks(compare.start, compare.bits)], axis=-1),
        initial_total=_masks(np.array(compare.bias), compare.bits + compare.shift),
        flip=_masks(flip.astype(np.int64), 1)[:, 0].copy(),
        constant=sums.constant,
        multiplier=scale.multiplier if scale else np.zeros(1, np.int32),
        bias=scale.bias if scale else np.zeros(1, np.int32),
        gain=sums.factor << sums.domain.shift,
        total_gain=sums.factor * sums.domain.ratio,
        scratch_vectors=sums.scratch_vectors,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Compare:
    """``2**shift * (s + start) + low >= bias - ratio * S``; where ratio > 0 S is replaced by S - (2**sum_bits - 1).

    start, low: int64 (classes, O), not negative.
    """

    shift: int
    ratio: int
    bits: int
    sum_bits: int
    start: Int64s
    low: Int64s
    bias: int


def _no_compare(sums: Sums) -> _Compare:
    """Plain counts of s and S, for scaled steps."""
    least = ENTRY_BITS if sums.group else LEAST_BITS
    bits = max(sums.most_total.bit_length(), least)
    none = np.zeros_like(sums.constant)
    return _Compare(1, -1, bits, bits, none, none, 0)


def _compare(threshold: Threshold, sums: Sums) -> _Compare:
    """``acc >= T`` as ``2**shift * s + ratio * S >= D``; D no further out than one beyond what is reachable."""
    shift, ratio = sums.domain.shift, sums.domain.ratio
    wanted = -((sums.constant - threshold.thresholds.astype(np.int64)) // sums.factor)
    ends = [
        sums.largest * (end(0, ratio) * sums.clear + end(0, (1 << shift) + ratio) * sums.ones) for end in (min, max)
    ]
    wanted = np.clip(wanted, ends[0], ends[1] + 1)
    sum_bits = max(sums.most_total.bit_length(), LEAST_BITS)
    most_total = -ratio * sums.most_total
    if ratio > 0:
        most_total = ratio * ((1 << sum_bits) - 1)
        wanted = wanted - most_total
    bias = max(0, int(wanted.max()))
    start, low = (bias - wanted) >> shift, (bias - wanted) & ((1 << shift) - 1)
    bits = max(
        (sums.most_selected + int(start.max())).bit_length(),
        (most_total + bias).bit_length() - shift,
        ENTRY_BITS if sums.group else LEAST_BITS,
    )
    return _Compare(shift, ratio, bits, sum_bits, start, low, bias)


def _window_of(step: Step, shape: Shape) -> Window:
    return Window(shape.height, shape.width) if isinstance(step, BinaryDenseStep) else step.window


def _geometry(window: Window, height: int, width: int) -> tuple[int, ...]:
    return (
        window.height, window.width, window.stride_y, window.stride_x, window.pad_top, window.pad_left,
        height, width, *window.output_size(height, width),
    )  # fmt: skip


def _pool_geometry(pool: Pool | None, rows: int, columns: int) -> tuple[int, ...]:
    """Without a pool, every position is its own window."""
    return _geometry(Window(1, 1) if pool is None else pool.window, rows, columns)


def _masks(values: Int64s, bits: int) -> Masks:
    """(...) -> (..., bits): all ones where the bit is set."""
    planes = (values[..., None] >> np.arange(bits)) & 1
    return (-planes).astype(np.uint64)
