# SPDX-License-Identifier: Apache-2.0
"""What a step of the bit-sliced executor adds up: lists of words per channel, and constants per kind of border.

Invariant: ``acc = factor * (2**k * s + r * S) + constant`` for every channel and position, with s the sum of the
channel's selected words and S that of the list of its kept taps. Called by ``bitslice.py`` only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, BitArray, PadMode, Shape, WeightDomain, Window

Offsets = npt.NDArray[np.uint32]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

ENTRY_BITS = 10  # of a sum of up to four bytes; BITSLICE_ENTRY_BITS


@dataclass(frozen=True, slots=True, eq=False)
class Borders:
    """Which taps of a window lie inside the map, per class of positions."""

    rows: Int32s  # (rows,) class of each row of positions
    columns: Int32s
    inside: npt.NDArray[np.bool_]  # (row classes * column classes, ky, kx)
    column_classes: int


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What a step adds up: ``acc = factor * (2**shift * s + ratio * S) + constant``, per class of borders and channel.

    ``selected``, ``totals``: the words of s per channel and of S per list, ``total_of`` the list of each channel.
    ``ones``, ``clear``: int64 (classes, O), set and clear weights of kept taps inside the map. ``largest``: a value.
    """

    domain: WeightDomain
    factor: int
    constant: Int64s
    ones: Int64s
    clear: Int64s
    largest: int
    selected: list[Offsets]
    totals: list[Offsets]
    total_of: Int32s
    most_selected: int
    most_total: int
    group: int
    scratch_vectors: int


def sums_of(program: Program, step: Step, shape: Shape, borders: Borders) -> Sums:
    kept = np.ones_like(step.weights) if isinstance(step, InputConv2dStep) or step.kept is None else step.kept
    ones, clear = _count_inside(step.weights, borders), _count_inside(kept - step.weights, borders)
    counts = [int(bits.reshape(len(bits), -1).sum(axis=1, dtype=np.int64).max()) for bits in (step.weights, kept)]
    if isinstance(step, InputConv2dStep):
        flat = step.weights.reshape(len(step.weights), -1)
        group = _group_of(*flat.shape)
        selected, total, scratch = _subset_lists(flat, group)
        constant = program.input_zero_point * (clear - ones)
        totals, total_of = [total], np.zeros(len(flat), np.int32)
        domain, factor, largest = PLUS_MINUS_ONE, 1, 255
    else:
        group, domain, factor, largest = 0, step.domain, 2, 1
        selected, totals, total_of = _word_lists(step, kept, shape)
        clear_value, set_value = domain.values
        constant = -(set_value * ones + clear_value * clear)
        scratch = step.weights[0, ..., 0].size * shape.channels + 1
    return Sums(
        domain, factor, constant, ones, clear, largest, selected, totals, total_of,
        counts[0] * largest, counts[1] * largest, group, scratch,
    )  # fmt: skip


def borders_of(step: Step, window: Window, shape: Shape) -> Borders:
    """Only zero padding tells positions apart: other padding has values like the map itself."""
    rows, columns = window.output_size(shape.height, shape.width)
    if not (isinstance(step, BinaryConv2dStep) and step.pad_mode is PadMode.ZERO and window.has_padding):
        inside = np.ones((1, window.height, window.width), np.bool_)
        return Borders(np.zeros(rows, np.int32), np.zeros(columns, np.int32), inside, 1)
    row_kinds, row_class = _axis_classes(rows, window.stride_y, window.pad_top, window.height, shape.height)
    column_kinds, column_class = _axis_classes(columns, window.stride_x, window.pad_left, window.width, shape.width)
    inside = row_kinds[:, None, :, None] & column_kinds[None, :, None, :]
    inside = inside.reshape(-1, window.height, window.width)
    return Borders(row_class, column_class, inside, len(column_kinds))


def _axis_classes(
    positions: int, stride: int, pad: int, size: int, extent: int
) -> tuple[npt.NDArray[np.bool_], Int32s]:
    """Distinct patterns of taps inside the map along one axis, and each position's pattern."""
    at = np.arange(positions)[:, None] * stride - pad + np.arange(size)
    kinds, classes = np.unique((at >= 0) & (at < extent), axis=0, return_inverse=True)
    return kinds, classes.reshape(-1).astype(np.int32)


def _count_inside(bits: BitArray, borders: Borders) -> Int64s:
    """Set bits of each filter inside the map: int64 (classes, O)."""
    counts = bits.sum(axis=3, dtype=np.int64).reshape(len(bits), -1)
    inside = borders.inside.reshape(len(borders.inside), -1).astype(np.int64)
    found: Int64s = inside @ counts.T
    return found


def _word_lists(
    step: BinaryConv2dStep | BinaryDenseStep, kept: BitArray, shape: Shape
) -> tuple[list[Offsets], list[Offsets], Int32s]:
    """Words of the window to add, padded to a multiple of four with the zero word behind it: per channel those of its
    set weights; then every list of kept taps (one per group, or one per channel where taps are removed), and the list
    of each channel."""
    outputs, height, width, inputs = step.weights.shape
    groups = step.groups if isinstance(step, BinaryConv2dStep) else 1
    per_group = outputs // groups

    def words(taps: BitArray, channel: int) -> Offsets:
        pixels, places = np.nonzero(taps.reshape(height * width, inputs))
        found = pixels * shape.channels + channel // per_group * inputs + places
        return np.concatenate([found, np.full(-len(found) % 4, height * width * shape.channels)]).astype(np.uint32)

    channels = np.arange(outputs, dtype=np.int32)
    heads = channels if step.kept is not None else channels[::per_group]
    total_of = channels if step.kept is not None else channels // per_group
    selected = [words(taps, channel) for channel, taps in enumerate(step.weights)]
    return selected, [words(kept[channel], channel) for channel in heads.tolist()], total_of


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
