# SPDX-License-Identifier: Apache-2.0
"""compile_graph keeps the meaning of the graph, and of each step's source module."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.ir import (
    BinaryConv2d,
    Graph,
    InputConv2d,
    InputImage,
    MaxPool2d,
    PadMode,
    Scale,
    ScaleLogits,
    Shape,
    Sign,
    Threshold,
    Window,
)
from picobnn.codegen.lower import compile_graph, lower_graph
from picobnn.codegen.passes import PIPELINE
from picobnn.codegen.program import Program
from picobnn.codegen.vocabulary import ElementKind
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.reference import run_program
from tests.support.random_graphs import bits, evaluate_graph, graphs


@settings(deadline=None, max_examples=150)
@given(graphs(), st.integers(0, 2**32 - 1))
def test_every_step_equals_its_source(graph: Graph, seed: int) -> None:
    """Steps run by the reference against the unfused graph run by an independent evaluator."""
    program = compile_graph(graph)
    shape = program.input.shape
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, shape.height, shape.width, shape.channels), dtype=np.uint8)
    outputs = run_program(program, images)
    source_of = {node.source: node.name for node in graph.nodes if not isinstance(node, InputImage)}
    for index, image in enumerate(images):
        values = evaluate_graph(graph, image)
        for step, output in zip(program.steps, outputs, strict=True):
            expected = values[source_of[step.source]]
            if program.tensors[step.output].kind is ElementKind.BIT:
                expected = (expected + 1) // 2
            np.testing.assert_array_equal(output[index].reshape(expected.shape), expected)


@settings(deadline=None, max_examples=40)
@given(graphs())
def test_compiling_is_deterministic(graph: Graph) -> None:
    assert model_hash(compile_graph(graph)) == model_hash(compile_graph(graph))


def test_dump_sees_every_pass_in_order() -> None:
    seen: list[str] = []
    compile_graph(chain(), dump=lambda name, _: seen.append(name))
    assert seen == [run_pass.__name__ for run_pass in PIPELINE]


def chain() -> Graph:
    """Three convolutions; the last one's accumulators are the result."""
    rng = np.random.default_rng(0)
    flat = Threshold(np.zeros(3, np.int32), np.zeros(3, np.uint8))
    one = Window(1, 1)
    return Graph(
        "chain",
        (
            InputImage("image", Shape(4, 4, 1), 7),
            InputConv2d("a", "a", "image", bits(rng, 3, 1, 1, 1), one),
            Sign("sa", "sa", "a", flat),
            BinaryConv2d("b", "b", "sa", bits(rng, 3, 1, 1, 3), one, PadMode.ZERO),
            Sign("sb", "sb", "b", flat),
            BinaryConv2d("c", "c", "sb", bits(rng, 2, 4, 4, 3), Window(4, 4), PadMode.ZERO),
        ),
    )


def test_names_and_sources_of_steps() -> None:
    program = compile_graph(chain())
    assert [(step.name, step.source) for step in program.steps] == [("a", "sa"), ("b", "sb"), ("c", "c")]
    assert [tensor.name for tensor in program.tensors] == ["image", "a", "b", "c"]
    assert program.input_zero_point == 7


def test_accumulators_as_result_get_the_unit_scale() -> None:
    last = compile_graph(chain()).steps[-1].epilogue
    assert isinstance(last, Scale)
    np.testing.assert_array_equal(last.multiplier, [1, 1])
    np.testing.assert_array_equal(last.bias, [0, 0])


def compiled_error(graph: Graph) -> PicobnnError:
    with pytest.raises(PicobnnError) as caught:
        compile_graph(graph)
    return caught.value


def test_pool_that_belongs_to_no_layer_is_refused() -> None:
    """The layer in front is fused already, so that the pool stands alone."""
    nodes = list(chain().nodes)
    threshold = Threshold(np.zeros(3, np.int32), np.zeros(3, np.uint8))
    fused = BinaryConv2d(
        "b", "b", "sa", np.ones((3, 1, 1, 3), np.uint8), Window(1, 1), PadMode.ZERO, epilogue=threshold
    )
    error = compiled_error(Graph("g", (*nodes[:3], fused, MaxPool2d("pool", "pool", "b", Window(2, 2)))))
    assert error.error_id is ErrorId.UNSUPPORTED_FEATURE
    assert error.where == "pool"


def test_scale_that_overflows_names_the_layer() -> None:
    nodes = chain().nodes
    scale = Scale(np.array([1, 2**27], np.int32), np.zeros(2, np.int32))
    error = compiled_error(Graph("g", (*nodes, ScaleLogits("logits", "logits", "c", scale))))
    assert error.error_id is ErrorId.PROGRAM_INVALID
    assert error.where == "c"
    assert "channel 1" in error.what


def test_lowering_an_unfused_graph_is_refused() -> None:
    with pytest.raises(PicobnnError) as caught:
        lower_graph(chain())
    assert caught.value.error_id is ErrorId.GRAPH_INVALID


def test_programs_are_equal_when_only_idle_thresholds_differ() -> None:
    def with_thresholds(values: list[int], flip: list[int]) -> Program:
        nodes = list(chain().nodes)
        nodes[4] = Sign("sb", "sb", "b", Threshold(np.array(values, np.int32), np.array(flip, np.uint8)))
        return compile_graph(Graph("g", tuple(nodes)))

    # acc of a 1x1 layer over three inputs is -3, -1, 1 or 3.
    one = with_thresholds([-9, 4, 0], [0, 0, 1])
    assert model_hash(one) == model_hash(with_thresholds([99, 77, 1], [1, 0, 1]))
    assert model_hash(one) == model_hash(with_thresholds([-3, -3, 1], [0, 1, 1]))
    assert model_hash(one) != model_hash(with_thresholds([-3, -3, 1], [1, 1, 1]))
