# SPDX-License-Identifier: Apache-2.0
"""input_conv2d: verify, lower, and the reference against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.ir import InputConv2d
from picobnn.codegen.ops import input_conv2d
from picobnn.codegen.program import Program, verify_program
from picobnn.codegen.vocabulary import Pool, PoolStage, Threshold, Window
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.reference import run_program
from tests.support.brute_force import run_step_slowly
from tests.support.random_programs import Limits, programs, random_images

ONE_LAYER = Limits(max_layers=1, max_side=5, max_channels=5, max_kernel=3, max_classes=4)
THRESHOLD = Threshold(np.array([1, 2], np.int32), np.array([0, 1], np.uint8))
NODE = InputConv2d(
    "conv",
    "features.0",
    "image",
    np.ones((2, 3, 2, 1), np.uint8),
    Window(3, 2, 2, 1),
    Pool(Window(2, 2), PoolStage.BIT),
    THRESHOLD,
)


@settings(deadline=None, max_examples=60)
@given(programs(ONE_LAYER), st.integers(0, 2**32 - 1))
def test_reference_equals_plain_loops(program: Program, seed: int) -> None:
    verify_program(program)
    images = random_images(np.random.default_rng(seed), program, 2)
    (output,) = run_program(program, images)
    for image, result in zip(images, output, strict=True):
        assert result.tolist() == run_step_slowly(program.steps[0], image.tolist(), program.input_zero_point)


def test_lowers_one_to_one() -> None:
    step = input_conv2d.lower(NODE, 0, 1)
    assert (step.name, step.source, step.input, step.output) == ("conv", "features.0", 0, 1)
    assert (step.window, step.pool) == (NODE.window, NODE.pool)
    assert step.weights is NODE.weights
    assert step.epilogue is THRESHOLD


def test_unfused_node_is_refused() -> None:
    node = InputConv2d("conv", "", "image", NODE.weights, NODE.window)
    with pytest.raises(PicobnnError) as caught:
        input_conv2d.verify(node)
    assert caught.value.error_id is ErrorId.GRAPH_INVALID
    assert caught.value.where == "conv"
