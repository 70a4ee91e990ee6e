# SPDX-License-Identifier: Apache-2.0
"""Strategy direct: what it accepts, its tables, its scratch, and its C on hand-picked shapes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from picobnn.codegen.program import InputConv2dStep, Program, Tensor
from picobnn.codegen.select import make_plan
from picobnn.codegen.strategies import Refusal, find_strategy
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import ElementKind, Pool, PoolStage, Scale, Shape, Threshold, Window
from tests.support.host_c import assert_host_c_equals_reference
from tests.support.small_programs import SAME_3X3, binary_dense, bits, input_conv2d, scale, threshold

M4 = find_core("m4")
DIRECT = find_strategy("direct")


def program(
    window: Window,
    channels: int = 1,
    outputs: int = 33,
    zero_point: int = 128,
    pool: Pool | None = None,
    scaled: bool = False,
    side: int = 6,
) -> Program:
    rng = np.random.default_rng(channels * 7 + outputs)
    weights = rng.integers(0, 2, (outputs, window.height, window.width, channels)).astype(np.uint8)
    epilogue = scale(outputs) if scaled else threshold(outputs, 40 * weights[0].size)
    rows, columns = window.output_size(side, side)
    if pool is not None:
        rows, columns = pool.window.output_size(rows, columns)
    tensors = (
        Tensor("image", Shape(side, side, channels), ElementKind.UINT8),
        Tensor("out", Shape(rows, columns, outputs), ElementKind.INT32 if scaled else ElementKind.BIT),
    )
    step = InputConv2dStep("conv", "conv", 0, 1, weights, window, pool, epilogue)
    return Program("first", zero_point, tensors, (step,))


def test_c_equals_the_reference() -> None:
    """Every number of taps in the last group and word, wide pads, zero points, pools, scales."""
    programs = [
        *(program(Window(1, width), channels=3) for width in range(1, 7)),
        *(
            program(Window(3, 3, 1, 1, 1, 1, 1, 1), channels=c, outputs=o)
            for c, o in ((1, 1), (3, 32), (4, 64), (8, 65))
        ),
        *(program(SAME_3X3, zero_point=zero) for zero in (0, 1, 255)),
        program(Window(5, 5, 3, 2, 4, 3, 0, 2), channels=2),
        program(Window(6, 6, 1, 1, 5, 5, 5, 5)),
        program(Window(2, 2, 1, 1, 9, 9, 0, 0)),
        program(SAME_3X3, pool=Pool(Window(2, 2, 2, 2), PoolStage.ACC)),
        program(SAME_3X3, pool=Pool(Window(3, 3, 1, 1, 1, 1, 1, 1), PoolStage.BIT)),
        program(SAME_3X3, channels=3, outputs=5, scaled=True),
    ]
    rng, batches = np.random.default_rng(5), []
    for each in programs:
        images = rng.integers(0, 256, (8, 6, 6, each.input.shape.channels), dtype=np.uint8)
        images[0], images[1] = 0, 255
        batches.append(images)
    assert_host_c_equals_reference([make_plan(each, M4) for each in programs], batches)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pool": Pool(Window(2, 2), PoolStage.BIT), "epilogue": scale(5)}, "before a scale"),
        ({"pool": Pool(Window(2, 2, 2, 2, 2), PoolStage.ACC)}, "padding only"),
        ({"weights": bits(1, 2048, 2049, 1)}, "above 4194303"),
    ],
)
def test_what_it_refuses(change: dict[str, object], reason: str) -> None:
    first = input_conv2d()
    refusal = DIRECT.accepts(dataclasses.replace(first.steps[0], **change), first, M4)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_binary_layers_are_refused() -> None:
    dense = binary_dense()
    assert DIRECT.accepts(dense.steps[1], dense, M4) == Refusal("the input is binary, not 8-bit")


def test_tables_and_scratch() -> None:
    first = input_conv2d()
    step = first.steps[0]
    assert isinstance(step.epilogue, Threshold)
    huge = dataclasses.replace(step.epilogue, thresholds=np.array([-(2**31), 2**31 - 1, 0, 2295, 2297], np.int32))
    tables = {table.role: table for table in DIRECT.tables(dataclasses.replace(step, epilogue=huge), first, M4)}
    assert tables["thresholds"].values.tolist() == [-2295, 2296, 0, 2295, 2296]
    assert tables["weights"].values.size == 5
    assert DIRECT.scratch_bytes(step, first, M4) == 3 * 64
    scaled = dataclasses.replace(step, epilogue=scale(5))
    assert isinstance(scaled.epilogue, Scale)
    assert [table.role for table in DIRECT.tables(scaled, first, M4)] == ["weights", "multipliers", "biases"]
