# SPDX-License-Identifier: Apache-2.0
"""A network whose weights are more than the board's flash is refused with the memory and the bytes that lack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.emit import render_model
from picobnn.codegen.program import BinaryDenseStep, InputConv2dStep, Program, Tensor
from picobnn.codegen.project import project_facts
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import load_board
from picobnn.codegen.vocabulary import ElementKind, Scale, Shape, Threshold, Window
from picobnn.errors import ErrorId, PicobnnError
from tests.support.firmware import build_project, needs_compiler

SIDE, CHANNELS, CLASSES = 30, 32, 80


def heavy_program() -> Program:
    """Weights of 281 KiB, an arena of less than 6 KiB."""
    rng = np.random.default_rng(1)
    image, maps, logits = Shape(SIDE, SIDE, 1), Shape(SIDE, SIDE, CHANNELS), Shape(1, 1, CLASSES)
    threshold = Threshold(np.zeros(CHANNELS, np.int32), np.zeros(CHANNELS, np.uint8))
    ones = np.ones(CLASSES, np.int32)
    first = InputConv2dStep(
        "conv", "conv", 0, 1, rng.integers(0, 2, (CHANNELS, 1, 1, 1)).astype(np.uint8), Window(1, 1), None, threshold
    )
    weights = rng.integers(0, 2, (CLASSES, SIDE, SIDE, CHANNELS)).astype(np.uint8)
    second = BinaryDenseStep("dense", "dense", 1, 2, weights, Scale(ones, ones))
    tensors = (
        Tensor("image", image, ElementKind.UINT8),
        Tensor("maps", maps, ElementKind.BIT),
        Tensor("logits", logits, ElementKind.INT32),
    )
    return Program("heavy", 0, tensors, (first, second))


@needs_compiler
@pytest.mark.qemu
def test_too_many_weights_overflow_flash_alone(tmp_path: Path) -> None:
    board = load_board("microbit")
    plan = make_plan(heavy_program(), board.target)
    with pytest.raises(PicobnnError, match="overflows flash by") as caught:
        build_project(tmp_path, board.id, "net", project_facts(plan), render_model(plan, "net"))
    assert caught.value.error_id is ErrorId.DOES_NOT_FIT
    assert "ram" not in caught.value.what
    lacking = int(caught.value.what.split(" by ")[1].split(" bytes")[0].replace(",", ""))
    tables = SIDE * SIDE * CHANNELS * CLASSES // 8
    assert tables - board.flash.size_bytes < lacking < tables - board.flash.size_bytes + 32 * 1024
    assert not list(tmp_path.rglob("*.elf"))
