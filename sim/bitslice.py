# SPDX-License-Identifier: Apache-2.0
"""From a program to the tables of the bit-sliced executor (``_bitslice.h`` says what they mean).

Invariant: with s the sum of the selected values of a window (a clear bit counts 0, a set bit 1, a byte itself) and S
the sum of all of them, ``acc = factor * (2s - S) + constant``: factor 2 for bits, 1 for bytes. The threshold becomes
``2s - S >= D`` and then ``2 (s + c) + odd >= S + bias``, with c, odd and bias not negative. Taps left out by zero
padding only change the constant, so there is one set of constants per kind of border. Called by ``executor.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    BitArray,
    PadMode,
    Pool,
    PoolStage,
    Scale,
    Shape,
    Threshold,
    Window,
)
from picobnn.errors import ErrorId, PicobnnError

Offsets = npt.NDArray[np.uint32]
Masks = npt.NDArray[np.uint64]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

ENTRY_BITS = 10  # of a sum of up to four bytes; BITSLICE_ENTRY_BITS
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
    factor: int
    scratch_vectors: int


@dataclass(frozen=True, slots=True, eq=False)
class _Borders:
    """Which taps of a window lie inside the map, per class of positions."""

    rows: Int32s  # (rows,) class of each row of positions
    columns: Int32s
    inside: npt.NDArray[np.bool_]  # (row classes * column classes, ky, kx)
    column_classes: int


def step_tables(program: Program, step: Step, vector_bytes: int) -> StepTables:
    """Tables of one step of a verified program, for vectors of ``vector_bytes``.

    Raises UNSUPPORTED_FEATURE for groups, removed taps and weights other than -1 and +1.
    """
    _refuse_general(step)
    shape = program.tensors[step.input].shape
    window = _window_of(step, shape)
    rows, columns = window.output_size(shape.height, shape.width)
    pool = None if isinstance(step, BinaryDenseStep) else step.pool
    selected = step.weights.reshape(len(step.weights), -1)
    is_input = isinstance(step, InputConv2dStep)
    largest = 255 if is_input else 1
    borders = _borders(step, window, shape)
    taps_inside, ones_inside = _count_inside(step.weights, borders)
    if is_input:
        factor, constant = 1, program.input_zero_point * (taps_inside - 2 * ones_inside)
        group = _group_of(*selected.shape)
        lists, total_list, scratch = _subset_lists(selected, group)
    else:
        factor, constant = 2, taps_inside - 2 * ones_inside
        group = 0
        lists, total_list, scratch = _word_lists(selected)
    scale = step.epilogue if isinstance(step.epilogue, Scale) else None
    flip = np.zeros(len(selected), np.uint8)
    half, odd = np.zeros_like(constant), np.zeros_like(constant)
    if isinstance(step.epilogue, Threshold):
        flip = step.epilogue.flip
        half, odd = _split_threshold(step.epilogue, factor, constant, taps_inside, ones_inside, largest)
    start = max(0, int(half.max()))
    ones = selected.sum(axis=1, dtype=np.int64) * largest
    total_reach = selected.shape[1] * largest + 2 * start
    bits = max(
        int((ones + start - half).max()).bit_length(),
        total_reach.bit_length() - 1,
        ENTRY_BITS if is_input else LEAST_BITS,
    )
    starts = np.cumsum([0, *(len(words) for words in lists), len(total_list)], dtype=np.uint32)
    return StepTables(
        is_input=is_input,
        is_scaled=scale is not None,
        is_pooled=pool is not None,
        pools_bits=pool is not None and pool.stage is PoolStage.BIT,
        input=step.input,
        output=step.output,
        in_channels=shape.channels,
        out_channels=len(selected),
        taps=selected.shape[1],
        window=_geometry(window, shape.height, shape.width),
        pool=_pool_geometry(pool, rows, columns),
        counter_bits=bits,
        group=group,
        column_classes=borders.column_classes,
        row_class=borders.rows,
        column_class=borders.columns,
        offsets=np.concatenate([*lists, total_list]) * np.uint32(vector_bytes),
        starts=starts,
        initial=np.concatenate([_masks(odd, 1), _masks(start - half, bits)], axis=-1),
        initial_total=_masks(np.array(2 * start), bits + 1),
        flip=_masks(flip.astype(np.int64), 1)[:, 0].copy(),
        constant=constant,
        multiplier=scale.multiplier if scale else np.zeros(1, np.int32),
        bias=scale.bias if scale else np.zeros(1, np.int32),
        factor=factor,
        scratch_vectors=scratch,
    )


def _refuse_general(step: Step) -> None:
    if isinstance(step, InputConv2dStep):
        return
    groups = step.groups if isinstance(step, BinaryConv2dStep) else 1
    if step.domain != PLUS_MINUS_ONE or step.kept is not None or groups != 1:
        raise PicobnnError(
            ErrorId.UNSUPPORTED_FEATURE,
            "the bit-sliced executor runs ungrouped weights of -1 and +1 only.",
            where=step.name,
            remedy="Run it with PICOBNN_PURE=1.",
        )


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


def _borders(step: Step, window: Window, shape: Shape) -> _Borders:
    """Only zero padding tells positions apart: other padding has values like the map itself."""
    rows, columns = window.output_size(shape.height, shape.width)
    if not (isinstance(step, BinaryConv2dStep) and step.pad_mode is PadMode.ZERO and window.has_padding):
        inside = np.ones((1, window.height, window.width), np.bool_)
        return _Borders(np.zeros(rows, np.int32), np.zeros(columns, np.int32), inside, 1)
    row_kinds, row_class = _axis_classes(rows, window.stride_y, window.pad_top, window.height, shape.height)
    column_kinds, column_class = _axis_classes(columns, window.stride_x, window.pad_left, window.width, shape.width)
    inside = row_kinds[:, None, :, None] & column_kinds[None, :, None, :]
    inside = inside.reshape(-1, window.height, window.width)
    return _Borders(row_class, column_class, inside, len(column_kinds))


def _axis_classes(
    positions: int, stride: int, pad: int, size: int, extent: int
) -> tuple[npt.NDArray[np.bool_], Int32s]:
    """Distinct patterns of taps inside the map along one axis, and each position's pattern."""
    at = np.arange(positions)[:, None] * stride - pad + np.arange(size)
    kinds, classes = np.unique((at >= 0) & (at < extent), axis=0, return_inverse=True)
    return kinds, classes.reshape(-1).astype(np.int32)


def _count_inside(weights: BitArray, borders: _Borders) -> tuple[Int64s, Int64s]:
    """Taps, and taps whose weight is set, inside the map: int64 (classes, O) each."""
    ones = weights.sum(axis=3, dtype=np.int64).reshape(len(weights), -1)
    inside = borders.inside.reshape(len(borders.inside), -1).astype(np.int64)
    taps = inside.sum(axis=1, keepdims=True) * weights.shape[3]
    return np.repeat(taps, len(weights), axis=1), inside @ ones.T


def _split_threshold(
    threshold: Threshold, factor: int, constant: Int64s, taps: Int64s, ones: Int64s, largest: int
) -> tuple[Int64s, Int64s]:
    """``acc >= T`` as ``2s - S >= D`` with ``D = 2 half - odd``; D no further out than one beyond what is reachable."""
    wanted = -((constant - threshold.thresholds.astype(np.int64)) // factor)
    wanted = np.clip(wanted, (ones - taps) * largest, ones * largest + 1)
    half = -(-wanted // 2)
    return half, 2 * half - wanted


def _masks(values: Int64s, bits: int) -> Masks:
    """(...) -> (..., bits): all ones where the bit is set."""
    planes = (values[..., None] >> np.arange(bits)) & 1
    return (-planes).astype(np.uint64)


def _word_lists(selected: BitArray) -> tuple[list[Offsets], Offsets, int]:
    """Per channel the words to add, padded to a multiple of four with the zero word behind the window."""
    taps = selected.shape[1]

    def padded(words: npt.NDArray[np.intp]) -> Offsets:
        return np.concatenate([words, np.full(-len(words) % 4, taps)]).astype(np.uint32)

    return [padded(np.flatnonzero(row)) for row in selected], padded(np.arange(taps)), taps + 1


def _group_of(outputs: int, taps: int) -> int:
    """Taps per subset table: the size with the fewest additions per position."""

    def additions(size: int) -> float:
        return taps / size * ((1 << size) - size - 1 + outputs * (1 - 0.5**size))

    return min(range(1, 5), key=additions)


def _subset_lists(selected: BitArray, group: int) -> tuple[list[Offsets], Offsets, int]:
    """Per channel the table entries to add: of every group of taps the sum of the selected ones."""
    outputs, taps = selected.shape
    groups = -(-taps // group)
    padded = np.zeros((outputs + 1, groups * group), np.int64)
    padded[:outputs, :taps] = selected
    padded[outputs, :taps] = 1
    subsets = (padded.reshape(-1, groups, group) << np.arange(group)).sum(axis=2)
    entries = (np.arange(groups) << group) + subsets
    lists = [(row[subset > 0] * ENTRY_BITS).astype(np.uint32) for row, subset in zip(entries, subsets, strict=True)]
    return lists[:outputs], lists[outputs], (groups << group) * ENTRY_BITS
