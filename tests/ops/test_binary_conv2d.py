# SPDX-License-Identifier: Apache-2.0
"""binary_conv2d: verify, lower, and the reference against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.ir import BinaryConv2d
from picobnn.codegen.ops import binary_conv2d
from picobnn.codegen.program import BinaryConv2dStep, Program, verify_program
from picobnn.codegen.vocabulary import PadMode, Threshold, WeightDomain, Window
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.reference import run_program
from tests.support.brute_force import run_step_slowly
from tests.support.random_programs import Limits, programs, random_images

FEW_LAYERS = Limits(max_layers=3, max_side=6, max_channels=7, max_kernel=3, max_classes=4, general=True)
THRESHOLD = Threshold(np.array([1, 2], np.int32), np.array([0, 1], np.uint8))
NODE = BinaryConv2d(
    "conv", "m.conv", "bits", np.ones((2, 3, 3, 5), np.uint8), Window(3, 3), PadMode.ZERO, epilogue=THRESHOLD
)


@settings(deadline=None, max_examples=60)
@given(
    programs(FEW_LAYERS).filter(lambda program: isinstance(program.steps[-1], BinaryConv2dStep)),
    st.integers(0, 2**32 - 1),
)
def test_reference_equals_plain_loops(program: Program, seed: int) -> None:
    """The last step, on the bits that the reference gives for the one in front of it."""
    verify_program(program)
    images = random_images(np.random.default_rng(seed), program, 2)
    *_, source, output = run_program(program, images)
    for value, result in zip(source, output, strict=True):
        assert result.tolist() == run_step_slowly(program.steps[-1], value.tolist(), 0)


def test_lowers_one_to_one() -> None:
    step = binary_conv2d.lower(NODE, 3, 4)
    assert (step.name, step.source, step.input, step.output) == ("conv", "m.conv", 3, 4)
    assert (step.window, step.pad_mode, step.pool, step.groups) == (Window(3, 3), PadMode.ZERO, None, 1)
    assert step.weights is NODE.weights
    assert step.epilogue is THRESHOLD


def test_lowers_values_groups_and_masks() -> None:
    node = replace(NODE, domain=WeightDomain(3, -5), groups=2, kept=np.ones((2, 3, 3, 5), np.uint8))
    step = binary_conv2d.lower(node, 0, 1)
    assert (step.domain, step.groups) == (node.domain, 2)
    assert step.kept is node.kept


def test_a_node_without_epilogue_is_refused() -> None:
    with pytest.raises(PicobnnError) as caught:
        binary_conv2d.lower(replace(NODE, epilogue=None), 0, 1)
    assert caught.value.error_id is ErrorId.GRAPH_INVALID
    assert caught.value.where == "conv"
