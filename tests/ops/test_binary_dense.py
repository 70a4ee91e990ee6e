# SPDX-License-Identifier: Apache-2.0
"""binary_dense: verify, lower, and the reference against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.ir import BinaryDense
from picobnn.codegen.ops import binary_dense
from picobnn.codegen.program import BinaryDenseStep, Program, verify_program
from picobnn.codegen.vocabulary import Scale, WeightDomain
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.reference import run_program
from tests.support.brute_force import run_step_slowly
from tests.support.random_programs import Limits, programs, random_images

FEW_LAYERS = Limits(max_layers=3, max_side=5, max_channels=7, max_kernel=3, max_classes=5, general=True)
SCALE = Scale(np.array([3, -4], np.int32), np.array([0, 9], np.int32))
NODE = BinaryDense("dense", "m.dense", "bits", np.ones((2, 2, 3, 5), np.uint8), epilogue=SCALE)


@settings(deadline=None, max_examples=60)
@given(
    programs(FEW_LAYERS).filter(lambda program: isinstance(program.steps[-1], BinaryDenseStep)),
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
    step = binary_dense.lower(NODE, 3, 4)
    assert (step.name, step.source, step.input, step.output) == ("dense", "m.dense", 3, 4)
    assert step.weights is NODE.weights
    assert step.epilogue is SCALE


def test_lowers_values_and_masks() -> None:
    node = replace(NODE, domain=WeightDomain(3, -5), kept=np.ones((2, 2, 3, 5), np.uint8))
    step = binary_dense.lower(node, 0, 1)
    assert step.domain == node.domain
    assert step.kept is node.kept


def test_a_node_without_epilogue_is_refused() -> None:
    with pytest.raises(PicobnnError) as caught:
        binary_dense.lower(replace(NODE, epilogue=None), 0, 1)
    assert caught.value.error_id is ErrorId.GRAPH_INVALID
    assert caught.value.where == "dense"
