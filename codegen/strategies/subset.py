# SPDX-License-Identifier: Apache-2.0
"""Strategy ``subset``: the first layer through tables of subset sums, two 16-bit lanes per word.

The taps of a kernel row are cut into groups of at most five; the table of a group holds the signed sums of all its
patterns. A filter adds one entry per group. Flips before the pool are stored as negated filters, so that every pool is
an OR. Flash: about 5 index bits per group and 4 bytes of offset per filter. Scratch: the tables of a few image rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from picobnn.codegen.pack import WordArray, pack_words
from picobnn.codegen.plan import Layout
from picobnn.codegen.program import InputConv2dStep, Program, Step
from picobnn.codegen.strategies._common import fan_in, flips_last, refuse_conv2d, shape_numbers, visits
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import BitArray, PoolStage, Scale, Threshold, Window

MAX_FAN_IN = 128
"""A lane holds 2**15 + acc - T with |acc - T| up to 255 per tap and 1."""

GROUP = 5
FIELDS_PER_WORD = 6
LANES_PER_BLOCK = 16
OFFSET = 1 << 15
LANES = 65537
HALVING = Window(2, 2, 2, 2)


class _Kind(Enum):
    """Formats of the filters and the functions that read them, see ``picobnn_subset.h``."""

    ANY = "any"
    THIN = "thin"
    WIDE = "wide"


RUNTIME_FILES = (
    "picobnn_conv2d.h",
    "picobnn_subset.h",
    "picobnn_subset.c",
    "picobnn_subset_cores.c",
    "picobnn_subset_cores.h",
    "picobnn_subset_pixels.h",
    "picobnn_subset_tables.c",
    "picobnn_subset_tables_v7m.S",
    "picobnn_subset_v6m.S",
    "picobnn_subset_v7m.S",
)


@dataclass(frozen=True, slots=True)
class SubsetStrategy:
    """See the module."""

    name: str = "subset"
    header: str = "picobnn_subset.h"
    packed_weights: bool = True
    input_independent: bool = True

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:  # noqa: ARG002
        if not isinstance(step, InputConv2dStep):
            return Refusal("the input is binary, not 8-bit")
        if isinstance(step.epilogue, Scale):
            return Refusal("it ends in a scale, and only compares leave the lanes")
        if fan_in(step) > MAX_FAN_IN:
            return Refusal(f"{fan_in(step)} weights per filter are above {MAX_FAN_IN}: sums overflow 16-bit lanes")
        return refuse_conv2d(step, program)

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.HWC_BYTES

    def output_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        window, channels = _conv2d(step).window, program.tensors[step.input].shape.channels
        slots = window.height + window.stride_y
        staged_words = ((window.width + window.stride_x) * channels + 3) // 4
        places = 1 + 2 * FIELDS_PER_WORD * _index_words(step) if _kind(step) is _Kind.ANY else 0
        return 4 * (slots * (1 + _row_words(step)) + 4 * ((len(step.weights) + 31) // 32) + staged_words + places)

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """``pair``: two columns of the map; ``step``: the same in two of its rows. Of tables: ``row``: image rows,
        ``few``, ``four``, ``five``: groups of their taps, one to three in ``few``; ``staged``, ``staged_byte``: rows in
        the padding or partly there, and their bytes; ``rotated``: places of rows moved. Of filters: ``block``: of 16;
        ``any``, ``thin``, ``wide`` and with ``_halved`` those of each format; ``place``, ``lookup``: fields of any
        window placed, and added. Of results: ``stored``: loops over words of pixels, ``merge``, ``merged``,
        ``merged_word``: positions pooled, their pixels and words; ``flip``: words flipped behind a pool."""
        conv, shape = _conv2d(step), program.tensors[step.input].shape
        window, output = conv.window, program.tensors[step.output].shape
        height, width = window.output_size(shape.height, shape.width)
        kind, ending = _kind(step), _ending(conv)
        if ending == "_halved":
            height, width = 2 * output.height, 2 * output.width
        lefts = range(-window.pad_left, width * window.stride_x - window.pad_left, 2 * window.stride_x)
        reach = window.width + window.stride_x
        border = sum(left < 0 or left + reach > shape.width for left in lefts)
        written = _written_rows(window, height)
        outside = sum(not 0 <= row < shape.height for row in written)
        pairs, rows, staged = len(lefts), len(lefts) * len(written), border * len(written)
        staged += (pairs - border) * outside
        steps = pairs * ((height + 1) // 2)
        slots, kept = _slots(window)
        taps = np.bincount(np.minimum(_groups(step)[0], GROUP), minlength=GROUP + 1)
        fields = FIELDS_PER_WORD * _index_words(step) if kind is _Kind.ANY else 0
        words, filters = (output.channels + 31) // 32, output.channels
        ran = steps * (filters if kind is _Kind.ANY else filters + filters % 2)
        is_pooled = ending == "_pooled"
        merged = visits(conv, program).total if is_pooled else 0
        formats = [f"{each.value}{suffix}" for each in _Kind for suffix in ("", "_halved")]
        own = f"{kind.value}{ending if ending == '_halved' else ''}"
        return (
            CostTerm.always("call", 1),
            CostTerm.always("pair", pairs),
            CostTerm.always("step", steps),
            CostTerm.always("row", rows),
            CostTerm.always("few", rows * int(taps[:4].sum())),
            CostTerm.always("four", rows * int(taps[4])),
            CostTerm.always("five", rows * int(taps[5])),
            CostTerm.always("staged", staged),
            CostTerm.always("staged_byte", staged * reach * shape.channels),
            CostTerm.always("rotated", steps * slots * (slots - kept if kept else 0)),
            CostTerm.always("block", steps * -(-filters // LANES_PER_BLOCK)),
            *(CostTerm.always(name, ran if name == own else 0) for name in formats),
            CostTerm.always("place", steps * fields),
            CostTerm.always("lookup", ran * fields),
            CostTerm.always("stored", 0 if is_pooled else steps * words),
            CostTerm.always("merge", 2 * pairs * height if is_pooled else 0),
            CostTerm.always("merged", merged),
            CostTerm.always("merged_word", merged * words),
            CostTerm.always("flip", output.height * output.width * words if flips_last(conv) else 0),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        conv = _conv2d(step)
        assert isinstance(conv.epilogue, Threshold)  # accepts() refused everything else
        weights, thresholds = conv.weights, conv.epilogue.thresholds.astype(np.int64)
        if not _flips_last(conv):
            weights, thresholds = _negated(weights, thresholds, conv.epilogue.flip)
        filters = _filters(step, weights, _offsets(weights, thresholds, program.input_zero_point))
        table = Table("filters", "uint32_t", filters.reshape(-1))
        if _flips_last(conv) and conv.epilogue.flip.any():
            return (table, Table("flips", "uint32_t", pack_words(conv.epilogue.flip)))
        return (table,)

    def view(
        self,
        step: Step,
        program: Program,
        target: Target,  # noqa: ARG002
        symbol: str,
        table_symbols: dict[str, str],
    ) -> LayerView:
        conv, shape = _conv2d(step), program.tensors[step.input].shape
        return LayerView(
            symbol=symbol,
            c_type="picobnn_subset_conv2d_layer",
            function=f"picobnn_subset_conv2d_{_kind(step).value}{_ending(conv)}",
            numbers=(
                *shape_numbers(conv, shape, program.tensors[step.output].shape),
                ("zero_point", program.input_zero_point),
                ("count", len(step.weights)),
                ("taps", _row_taps(step)),
                ("groups", len(_groups(step)[0])),
                ("row_words", _row_words(step)),
                ("index_words", _index_words(step)),
            ),
            pointers=(("filters", table_symbols["filters"]), ("flips", table_symbols.get("flips", "NULL"))),
        )


def _conv2d(step: Step) -> InputConv2dStep:
    assert isinstance(step, InputConv2dStep)  # accepts() refused everything else
    return step


def _row_taps(step: Step) -> int:
    return int(step.weights.shape[2] * step.weights.shape[3])


def _kind(step: Step) -> _Kind:
    window, taps = _conv2d(step).window, _row_taps(step)
    if window.height != 3 or window.stride_y != 1 or taps > 9:
        return _Kind.ANY
    return _Kind.THIN if taps <= GROUP else _Kind.WIDE


def _ending(step: InputConv2dStep) -> str:
    """Suffix of the function."""
    if step.pool is None:
        return ""
    return "_halved" if step.pool.window == HALVING else "_pooled"


def _flips_last(step: InputConv2dStep) -> bool:
    return step.pool is not None and step.pool.stage is PoolStage.ACC


def _groups(step: Step) -> tuple[tuple[int, ...], ...]:
    """Taps of every group of every kernel row."""
    taps = _row_taps(step)
    if _kind(step) is _Kind.WIDE:
        row: tuple[int, ...] = (taps - GROUP, GROUP)
    else:
        row = tuple(min(GROUP, taps - begin) for begin in range(0, taps, GROUP))
    return (row,) * _conv2d(step).window.height


def _row_words(step: Step) -> int:
    """Tables of one image row. The kernel writes eight entries at least."""
    if _kind(step) is _Kind.WIDE:
        return 16 + 32
    row = _groups(step)[0]
    return 32 * (len(row) - 1) + (1 << max(3, row[-1]))


def _index_words(step: Step) -> int:
    fields = sum(len(row) for row in _groups(step))
    return (fields + FIELDS_PER_WORD - 1) // FIELDS_PER_WORD


def _slots(window: Window) -> tuple[int, int]:
    """Image rows that have tables, and those of them that the next step keeps."""
    slots = window.height + window.stride_y
    return slots, max(0, slots - 2 * window.stride_y)


def _written_rows(window: Window, height: int) -> list[int]:
    """Image rows of the tables that a pair of columns writes, those in the padding included."""
    slots, kept = _slots(window)
    tops = range(-window.pad_top, height * window.stride_y - window.pad_top, 2 * window.stride_y)
    return [top + slot for top in tops for slot in range(0 if top == tops[0] else kept, slots)]


def _negated(
    weights: BitArray, thresholds: npt.NDArray[np.int64], flip: BitArray
) -> tuple[BitArray, npt.NDArray[np.int64]]:
    """Filters without flips: not (acc >= T) is -acc >= 1 - T."""
    flipped = weights ^ flip.reshape(-1, 1, 1, 1)
    return flipped, np.where(flip == 1, 1 - thresholds, thresholds)


def _offsets(weights: BitArray, thresholds: npt.NDArray[np.int64], zero_point: int) -> npt.NDArray[np.int64]:
    """What a filter starts with, (2**15 - T) in both lanes, T for sums of raw bytes and clamped to the nearest
    threshold that decides alike."""
    ones = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    zeros = weights[0].size - ones
    raw = np.clip(thresholds + zero_point * (ones - zeros), -255 * zeros, 255 * ones + 1)
    offsets: npt.NDArray[np.int64] = (OFFSET - raw) * LANES
    return offsets


def _filters(step: Step, weights: BitArray, offsets: npt.NDArray[np.int64]) -> WordArray:
    """uint32 (even count, index words + 1): per filter its indices and its offset."""
    count = len(weights)
    words = np.zeros((count + count % 2, _index_words(step) + 1), np.uint64)
    words[:count, -1] = offsets.astype(np.uint64) & np.uint64(0xFFFFFFFF)
    words[count:, -1] = (OFFSET - 1) * LANES & 0xFFFFFFFF  # all weights -1 and a threshold of 1: never fires
    rows = weights.reshape(count, weights.shape[1], -1)
    position = 0
    for ky, groups in enumerate(_groups(step)):
        begin = 0
        for index, size in enumerate(groups):
            places = np.uint64(1) << np.arange(size, dtype=np.uint64)
            values = rows[:, ky, begin : begin + size].astype(np.uint64) @ places
            if _kind(step) is _Kind.WIDE:
                word, shift = 0, 10 * ky + 4 * index
                values += np.uint64(16 * index)
            else:
                word, shift = position // FIELDS_PER_WORD, 5 * (position % FIELDS_PER_WORD)
            words[:count, word] |= values << np.uint64(shift)
            begin += size
            position += 1
    return words.astype(np.uint32)


STRATEGY = SubsetStrategy()
