# SPDX-License-Identifier: Apache-2.0
"""Tables of strategy ``planes_mve``: the form of a layer, its lists of 16-bit offsets, the constants of the compare.

Invariant: what stands here is the format that ``picobnn_planes_mve.h`` describes. Used by ``planes_mve.py`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep
from picobnn.codegen.strategies._planes_tables import compare_constants, counter_bits, tap_classes
from picobnn.codegen.vocabulary import Shape, Threshold

PARTS = 4
"""Words of 32 lanes in a vector."""
GROUP = 8
ROUND = 16
"""Words of a block are a multiple of this."""
MAX_WORDS = 4096
PADDING_CARRIES = 8
CYCLES_PER_GROUP = {1: 76, 2: 101}
"""Of 8 additions of a unit, by its filters."""

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Form:
    """What runs at a time: ``filters`` side by side on ``parts`` words of pixels."""

    filters: int

    @property
    def parts(self) -> int:
        return PARTS // self.filters

    def blocks(self, pixels: int) -> int:
        return -(-pixels // (32 * self.parts))

    def units(self, filters: int) -> int:
        return -(-filters // self.filters)


@dataclass(frozen=True, slots=True, eq=False)
class UnitTables:
    """As emitted: uint32 lists, uint16 limits. ``groups``: per unit, of 8 additions."""

    lists: npt.NDArray[np.uint32]
    limits: npt.NDArray[np.uint16]
    groups: Int64Array


def form_of(step: BinaryConv2dStep, shape: Shape) -> Form:
    """The form that adds faster on this map: 64 pixels of two filters where 128 pixels leave too many lanes idle."""
    rows, columns = step.window.output_size(shape.height, shape.width)
    wide, narrow = Form(1), Form(2)
    filters = len(step.weights)

    def cycles(form: Form) -> int:
        return form.blocks(rows * columns) * form.units(filters) * CYCLES_PER_GROUP[form.filters]

    return wide if cycles(wide) <= cycles(narrow) else narrow


def block_words(step: BinaryConv2dStep) -> int:
    """Words that a block takes: the zero word, one per weight of a filter, then zero words."""
    used: int = 1 + step.weights[0].size
    return -(-used // ROUND) * ROUND


def word_places(step: BinaryConv2dStep) -> Int64Array:
    """Word of every weight (ky, kx, channel): taps down the columns of the window, behind the zero word."""
    _, rows, columns, channels = step.weights.shape
    ky, kx, channel = np.ogrid[:rows, :columns, :channels]
    places: Int64Array = 1 + (kx * rows + ky) * channels + channel
    return places


def unit_tables(step: BinaryConv2dStep, shape: Shape, flips: npt.NDArray[np.uint8]) -> UnitTables:
    """The tables of all units; ``flips`` are applied in the compare. The epilogue is a threshold."""
    return _unit_tables(step, shape, flips.tobytes())


@lru_cache(maxsize=8)
def _unit_tables(step: BinaryConv2dStep, shape: Shape, flips: bytes) -> UnitTables:
    threshold = step.epilogue
    assert isinstance(threshold, Threshold)
    form, classes, places = form_of(step, shape), tap_classes(step, shape), word_places(step)
    ones = np.einsum("oyxc,kyx->ok", step.weights.astype(np.int64), classes.inside.astype(np.int64))
    taps = classes.inside.sum(axis=(1, 2), dtype=np.int64) * step.weights.shape[3]
    adds_set = 2 * step.weights.sum(axis=(1, 2, 3), dtype=np.int64) <= step.weights[0].size
    flipped = np.frombuffer(flips, np.uint8).astype(np.int64)
    bits = counter_bits(step.weights[0].size)
    constants = compare_constants(threshold.thresholds, ones, taps, adds_set, flipped, bits)
    lists, groups = [], []
    for first in range(0, len(step.weights), form.filters):
        unit = range(first, min(first + form.filters, len(step.weights)))
        made = _unit_list([np.sort(places[step.weights[one] == int(adds_set[one])]) for one in unit], form)
        groups.append(made.size // (GROUP * form.filters))
        lists += [np.array([groups[-1]], np.uint32), (made[0::2] | made[1::2] << 16).astype(np.uint32)]
    return UnitTables(np.concatenate(lists), _limits(constants, bits, form), np.array(groups, np.int64))


def _unit_list(words: list[Int64Array], form: Form) -> Int64Array:
    """Byte offsets in the order of addition; word 0, which is 0, fills up groups and shorter lists."""
    groups = max(1, *(-(-len(each) // GROUP) for each in words))
    filled = np.zeros((form.filters, groups * GROUP), np.int64)
    for index, each in enumerate(words):
        filled[index, : len(each)] = each
    offsets = filled * (4 * form.parts)
    # Of two filters, half a group each in turn.
    half_groups = offsets.reshape(form.filters, -1, GROUP // form.filters)
    result: Int64Array = half_groups.transpose(1, 0, 2).reshape(-1)
    return result


def _limits(constants: Int64Array, bits: int, form: Form) -> npt.NDArray[np.uint16]:
    """Constants (O, classes) of :func:`compare_constants` as one bit per byte of a vector: (units, classes, bits + 1)
    flat, lowest first."""
    missing = -len(constants) % form.filters
    padded = np.pad(constants, ((0, missing), (0, 0)))
    single = padded[..., None] >> np.arange(bits + 1) & 1
    lanes = (1 << 16 // form.filters) - 1
    units = single.reshape(-1, form.filters, *single.shape[1:])
    places = lanes << 16 // form.filters * np.arange(form.filters)
    limits: npt.NDArray[np.uint16] = np.einsum("ufkb,f->ukb", units, places).reshape(-1).astype(np.uint16)
    return limits
