# SPDX-License-Identifier: Apache-2.0
"""Counts behind cost terms against loops as the C sources have them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from picobnn.codegen.program import BinaryConv2dStep, Program
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.strategies._planes_costs import GATHERED, counted_groups, map_counts
from picobnn.codegen.strategies._planes_tables import tap_classes
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import Shape
from tests.support.random_programs import random_program

M4 = find_core("m4")
PLANES, XNOR = find_strategy("planes"), find_strategy("xnor")


def binary_convolutions(seed: int) -> list[tuple[BinaryConv2dStep, Program]]:
    program = random_program(np.random.default_rng(seed))
    return [
        (step, program)
        for step in program.steps
        if isinstance(step, BinaryConv2dStep) and PLANES.accepts(step, program, M4) is None
    ]


def gathered(step: BinaryConv2dStep, shape: Shape) -> Counter[str]:
    """``picobnn_planes_gather_block`` over all blocks: what it does in the order in which it does it."""
    window, counts = step.window, Counter[str]()
    rows, columns = window.output_size(shape.height, shape.width)
    pitch = -(-shape.width // window.stride_x)

    def span(tap: int, pad: int, stride: int, size: int, positions: int) -> tuple[int, int]:
        offset = tap - pad
        shift, phase = divmod(offset, stride)
        return max(0, -shift), min(positions, (size + stride - 1 - phase) // stride - shift)

    def lanes(begin: int, end: int) -> bool:
        return max(0, begin) < min(32, end)

    for block in range(-(-rows * columns // 32)):
        counts["block"] += 1
        row, column = divmod(32 * block, columns)
        for kx in range(window.width):
            counts["column"] += 1
            left, right = span(kx, window.pad_left, window.stride_x, shape.width, columns)
            if (left, right) != (0, columns):
                counts["mask"] += len(range(-column, 32, columns))
            for ky in range(window.height):
                counts["tap"] += 1
                top, bottom = span(ky, window.pad_top, window.stride_y, shape.height, rows)
                inside = [
                    position
                    for position, lane in enumerate(range(-column, 32, columns), row)
                    if top <= position < bottom and lanes(lane + left, lane + right)
                ]
                if columns == pitch:
                    counts["run"] += bool(inside)
                    counts["word" if inside else "blank"] += shape.channels
                else:
                    counts["blank"] += shape.channels
                    counts["piece"] += len(range(-column, 32, columns))
                    counts["merge"] += len(inside)
                    counts["merged"] += len(inside) * shape.channels
    return counts


def looked_up(step: BinaryConv2dStep, shape: Shape) -> tuple[int, int]:
    """``picobnn_planes_find_classes`` over all blocks: classes found, and entries looked at."""
    classes = tap_classes(step, shape)
    kinds = (classes.rows[:, None] + classes.columns).reshape(-1).tolist()
    found = sought = 0
    for first in range(0, len(kinds), 32):
        seen: list[int] = []
        place = -1
        for kind in kinds[first : first + 32]:
            if place < 0 or seen[place] != kind:
                place = 0
                while place < len(seen) and seen[place] != kind:
                    place += 1
                    sought += 1
                sought += 1
            if place == len(seen):
                seen.append(kind)
        found += len(seen)
    return found, sought


@pytest.mark.parametrize("seed", range(40))
def test_maps_are_gathered_as_counted(seed: int) -> None:
    for step, program in binary_convolutions(seed):
        shape = program.tensors[step.input].shape
        counts = map_counts(step, program)
        terms = {term.name: term.mean for term in counts.terms}
        assert Counter({name: terms[name] for name in GATHERED}) == gathered(step, shape)
        has_classes = len(tap_classes(step, shape).inside) > 1
        assert (counts.compares, terms["sought"]) == (looked_up(step, shape) if has_classes else (0, 0))
        assert counts.blocks == terms["block"]


@pytest.mark.parametrize("groups", [1, 2, 15, 16, 17, 255, 256])
def test_words_are_counted_level_by_level(groups: int) -> None:
    """``picobnn_planes_sum_words``: carries of a level are the words of the next, filled up to 16."""
    words, counted, cleared = 16 * groups, 0, 0
    while True:
        carries = words // 16
        counted += carries
        if carries == 1:
            break
        cleared += -carries % 16
        words = carries + -carries % 16
    assert counted_groups(groups) == (counted, cleared)


@pytest.mark.parametrize("seed", range(40))
def test_patches_of_xnor_hold_what_was_counted(seed: int) -> None:
    """Words copied and padded fill the patches, those that see zero padding twice; each filter takes one loop."""
    program = random_program(np.random.default_rng(seed))
    for step in program.steps:
        if XNOR.accepts(step, program, M4) is not None:
            continue
        terms = {term.name: term.mean for term in XNOR.cost_terms(step, program, M4)}
        words = -(-step.weights[0].size // 32)
        if terms["window_row"]:
            assert isinstance(step, BinaryConv2dStep)
            patches = terms["position"] + terms["second"]
            assert terms["copied"] + terms["padded"] == patches * words
            assert terms["window_row"] + terms["outside_row"] == patches * step.window.height
        single = terms["two"] + terms["nine"] + terms["pairs"] + terms["few"] + terms["run"] - 2 * terms["border"]
        if not terms["sum"]:
            positions = terms["position"] + terms["pointwise"] or 1
            assert single + terms["border"] == positions * len(step.weights)
