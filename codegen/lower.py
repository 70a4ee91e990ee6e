# SPDX-License-Identifier: Apache-2.0
"""Graph -> integer program: run the passes, then turn every node into one step.

Invariant: the returned program is verified, and its tensors are the image followed by the output of each step.
Called by the flow behind ``picobnn export`` and by tests.
"""

from __future__ import annotations

from picobnn.codegen.ir import BinaryConv2d, BinaryDense, Graph, InputConv2d, InputImage, Node, verify_graph
from picobnn.codegen.ops import binary_conv2d, binary_dense, input_conv2d
from picobnn.codegen.passes import Dump, run_pipeline
from picobnn.codegen.program import Program, Step, Tensor, verify_program
from picobnn.errors import ErrorId, PicobnnError


def compile_graph(graph: Graph, *, dump: Dump | None = None) -> Program:
    """The verified program of a graph; ``dump`` sees the graph after each pass.

    Raises:
        PicobnnError: GRAPH_INVALID, UNSUPPORTED_FEATURE or PROGRAM_INVALID; ``where`` names the node.
    """
    verify_graph(graph)
    program = lower_graph(run_pipeline(graph, dump))
    verify_program(program)
    return program


def lower_graph(graph: Graph) -> Program:
    """One step per node of a graph that the passes have gone over. Does not verify the result."""
    types = verify_graph(graph)
    image = graph.nodes[0]
    zero_point = image.zero_point if isinstance(image, InputImage) else 0
    index_of = {node.name: index for index, node in enumerate(graph.nodes)}
    tensors = [Tensor(name, value.shape, value.kind) for name, value in types.items()]
    steps = [_lower_node(node, index_of) for node in graph.nodes[1:]]
    return Program(graph.name, zero_point, tuple(tensors), tuple(steps))


def _lower_node(node: Node, index_of: dict[str, int]) -> Step:
    target = index_of[node.name]
    match node:
        case InputConv2d():
            return input_conv2d.lower(node, index_of[node.input], target)
        case BinaryConv2d():
            return binary_conv2d.lower(node, index_of[node.input], target)
        case BinaryDense():
            return binary_dense.lower(node, index_of[node.input], target)
        case _:
            raise PicobnnError(
                ErrorId.UNSUPPORTED_FEATURE,
                f"no step computes a {type(node).__name__} on its own.",
                where=node.name,
                remedy="A max pool must have a layer and its sign in front of it, and be the only reader of that sign.",
            )
