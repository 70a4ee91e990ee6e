# SPDX-License-Identifier: Apache-2.0
"""A chain of steps as the search sees it: options per step, and what a way through them is judged by.

Pure integers. Made by ``stages.py``; used by ``search.py`` and ``search_bounds.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from picobnn.codegen.plan import Layout

TRANSPOSABLE = (Layout.CHANNEL_WORDS, Layout.PIXEL_PLANES)

Totals = tuple[int, int, int]
"""Cycles, bytes of flash, arena bytes: indexed by :class:`Measure`."""

Code = frozenset[str]
"""Units of code, by name: whoever needs one brings it into the image, once."""

NO_CODE: Code = frozenset()


class Measure(IntEnum):
    """What a way is judged by. The values index :data:`Totals`."""

    CYCLES = 0
    FLASH = 1
    RAM = 2


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run a step. ``flash_bytes``: what it alone brings, beside ``code``. ``ram_bytes``: its output and its
    scratch, as they lie in the arena."""

    reads: Layout
    writes: Layout
    cycles: int
    flash_bytes: int
    ram_bytes: int
    code: Code = NO_CODE


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: its options (at least one), and what its input takes in the arena in each layout that it may have.
    ``transpose_cycles``: of its input, by the layout that it is turned into; ``transpose_code``: what that needs, and
    ``transpose_flash_bytes``: what each brings beside it."""

    options: tuple[Option, ...]
    input_bytes: Mapping[Layout, int]
    transpose_cycles: Mapping[Layout, int]
    transpose_code: Code = NO_CODE
    transpose_flash_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """The index of one option per stage, and what they add up to."""

    choices: tuple[int, ...]
    totals: Totals


def joins(found: Layout, wanted: Layout) -> bool:
    """Whether a tensor stored as ``found`` can be read as ``wanted``, transposed if need be."""
    return found is wanted or (found in TRANSPOSABLE and wanted in TRANSPOSABLE)


def is_within(totals: Totals, limits: Mapping[Measure, int]) -> bool:
    return all(totals[measure] <= limit for measure, limit in limits.items())
