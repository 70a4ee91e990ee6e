# SPDX-License-Identifier: Apache-2.0
"""Tables of strategy ``slice``: how lanes count, and at which positions they start anew. Used by ``slice.py``.

Invariant: weights, starts, spans and sets are those of ``picobnn_slice.h``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.pack import WordArray, pack_words
from picobnn.codegen.program import BinaryConv2dStep, Program
from picobnn.codegen.strategies._common import IndexArray, fan_in, inside_taps
from picobnn.codegen.strategies._interface import Table
from picobnn.codegen.vocabulary import BitArray, PadMode, PoolStage, Threshold

MIN_PLANES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """How lanes count. ``thresholds``: int64 (kinds, channels), agreeing taps that set the bit, of a lane's own weights
    or, where ``inverted`` (channels,), of their complements; ``planes``: the bits they need."""

    thresholds: IndexArray
    inverted: npt.NDArray[np.bool_]
    planes: int


def lanes_of(step: BinaryConv2dStep, program: Program) -> Lanes:
    assert isinstance(step.epilogue, Threshold)
    taps = fan_in(step)
    inside = np.stack(kinds_of(step, program)[0]).astype(np.int64)[:, None]  # (kinds, 1, ky, kx)
    outside = ((1 - inside) * (1 - step.weights[None, :, :, :, 0].astype(np.int64))).sum(axis=(2, 3))
    wanted = step.epilogue.thresholds.astype(np.int64)[None] + inside.sum(axis=(2, 3))
    # Whatever padding does, acc lies in -N to N: what lies beyond is decided before padding comes in.
    counted = inside.sum(axis=(2, 3))
    reach = np.clip(wanted, 0, 2 * counted + 1)
    agreeing = (reach + 1) // 2
    own = np.where(agreeing == 0, 0, np.where(agreeing > counted, taps + 1, agreeing + outside))
    most = np.minimum(own.max(axis=0), (taps + 1 - own).max(axis=0))
    planes = max(MIN_PLANES, int(most.max()).bit_length())
    inverted = own.max(axis=0) > (1 << planes) - 1
    return Lanes(np.where(inverted, taps + 1 - own, own), inverted, planes)


def kinds_of(step: BinaryConv2dStep, program: Program) -> tuple[tuple[BitArray, ...], IndexArray, IndexArray]:
    """Kinds of positions by the taps that count: masks (ky, kx), and per row and column of the map what adds up to a
    position's kind. One kind where all taps count."""
    shape, window = program.tensors[step.input].shape, step.window
    rows, columns = window.output_size(shape.height, shape.width)
    if step.pad_mode is PadMode.MINUS_ONE or not window.has_padding:
        return (np.ones(step.weights.shape[1:3], np.uint8),), np.zeros(rows, np.int64), np.zeros(columns, np.int64)
    row_taps, of_row = inside_taps(rows, window.height, window.stride_y, window.pad_top, shape.height)
    column_taps, of_column = inside_taps(columns, window.width, window.stride_x, window.pad_left, shape.width)
    return (
        tuple(np.outer(row, column) for row in row_taps for column in column_taps),
        of_row * len(column_taps),
        of_column,
    )


def filter_words(step: BinaryConv2dStep, lanes: Lanes) -> WordArray:
    """What XOR turns into marks, uint32 (groups, kx, 2 ky - 1): complements of the weights, or where a lane is inverted
    the weights; every column once and, but for its last row, again. Lanes behind the last channel mark no clear bit."""
    marks = np.where(lanes.inverted[:, None, None], step.weights[..., 0], 1 - step.weights[..., 0]).astype(np.uint8)
    columns = np.concatenate([marks, marks[:, :-1]], axis=1).transpose(2, 1, 0)  # (kx, 2 ky - 1, channels)
    return np.moveaxis(pack_words(np.ascontiguousarray(columns)), -1, 0).copy()


def start_words(step: BinaryConv2dStep, lanes: Lanes) -> WordArray:
    """uint32 (kinds, groups, planes + 1): 2**planes - 1 - threshold bit by bit, then what inverts the result. Lanes
    behind the last channel start at 0 and see no mark, so that they never overflow."""
    assert isinstance(step.epilogue, Threshold)
    starts = (1 << lanes.planes) - 1 - lanes.thresholds
    bits = (starts[:, None] >> np.arange(lanes.planes)[:, None]) & 1  # (kinds, planes, channels)
    flips = np.zeros(len(step.weights), np.bool_) if flips_last(step) else step.epilogue.flip.astype(np.bool_)
    inverts = np.broadcast_to(lanes.inverted ^ flips, (len(starts), 1, len(step.weights)))
    words = pack_words(np.concatenate([bits, inverts], axis=1).astype(np.uint8))
    return np.moveaxis(words, -1, 1).copy()


def flips_last(step: BinaryConv2dStep) -> bool:
    """Whether the flips come behind a pool on accumulators."""
    return step.pool is not None and step.pool.stage is PoolStage.ACC


def final_flips(step: BinaryConv2dStep) -> tuple[Table, ...]:
    assert isinstance(step.epilogue, Threshold)
    if not flips_last(step) or not step.epilogue.flip.any():
        return ()
    return (Table("final_flips", "uint32_t", pack_words(step.epilogue.flip)),)


def spans_of(step: BinaryConv2dStep, program: Program, positions: int) -> IndexArray:
    """Runs of positions of one kind, (spans, 2): how many, and the kind."""
    kinds = kinds_of(step, program)[2][:positions]
    begins = np.flatnonzero(np.diff(kinds, prepend=-1))
    return np.stack([np.diff(begins, append=len(kinds)), kinds[begins]], axis=1)


def row_sets(step: BinaryConv2dStep, program: Program) -> tuple[Table, ...]:
    sets = kinds_of(step, program)[1]
    return (Table("row_sets", "uint16_t", sets.astype(np.uint16)),) if sets.any() else ()
