# SPDX-License-Identifier: Apache-2.0
"""The textual form of graphs and programs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from picobnn.codegen.ir import (
    BinaryConv2d,
    BinaryDense,
    Flatten,
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
from picobnn.codegen.lower import compile_graph
from picobnn.codegen.text import graph_text, program_text
from tests.support.random_graphs import graphs


def example() -> Graph:
    first = Threshold(np.array([-3, 5], np.int32), np.array([0, 1], np.uint8))
    ones = np.ones((2, 3, 3, 2), np.uint8)
    return Graph(
        "tiny",
        (
            InputImage("image", Shape(8, 8, 1), 128),
            InputConv2d("a", "m.a", "image", ones[..., :1], Window(3, 3, 2, 2, 1, 1)),
            Sign("sa", "m.sa", "a", first),
            BinaryConv2d("b", "m.b", "sa", ones, Window(3, 3, 1, 1, 1, 1, 1, 1), PadMode.ZERO),
            MaxPool2d("pool", "m.pool", "b", Window(2, 2, 2, 2)),
            Sign("sb", "m.sb", "pool", first),
            Flatten("flat", "m.flat", "sb"),
            BinaryDense("c", "m.c", "flat", np.zeros((3, 1, 1, 8), np.uint8)),
            ScaleLogits("d", "", "c", Scale(np.full(3, 7, np.int32), np.array([-1, 0, 2], np.int32))),
        ),
    )


def test_graph_text() -> None:
    assert graph_text(example()) == (
        "graph tiny\n"
        "  image: u8 8x8x1 = image, zero point 128\n"
        "  a: i32 4x4x2 = input_conv2d(image, weights 2x3x3x1, window 3x3 stride 2x2 pads 1,1,0,0)  # m.a\n"
        "  sa: bit 4x4x2 = sign(a, threshold -3 to 5 with 1 flips)  # m.sa\n"
        "  b: i32 4x4x2 = binary_conv2d(sa, weights 2x3x3x2, window 3x3 pads 1,1,1,1, pad zero)  # m.b\n"
        "  pool: i32 2x2x2 = max_pool2d(b, window 2x2 stride 2x2)  # m.pool\n"
        "  sb: bit 2x2x2 = sign(pool, threshold -3 to 5 with 1 flips)  # m.sb\n"
        "  flat: bit 1x1x8 = flatten(sb)  # m.flat\n"
        "  c: i32 1x1x3 = binary_dense(flat, weights 3x1x1x8)  # m.c\n"
        "  d: i32 1x1x3 = scale_logits(c, scale m 7 to 7 b -1 to 2)\n"
    )


def test_program_text() -> None:
    head, text = program_text(compile_graph(example())).split("\n", 1)
    assert head.startswith("program tiny, model hash ")
    assert text == (
        "  %0 image: u8 8x8x1 = image, zero point 128\n"
        "  %1 a: bit 4x4x2 = input_conv2d(%0, weights 2x3x3x1, window 3x3 stride 2x2 pads 1,1,0,0, "
        "threshold -3 to 5 with 1 flips)  # m.sa: acc -1152 to 1143, 288 MACs\n"
        "  %2 b: bit 2x2x2 = binary_conv2d(%1, weights 2x3x3x2, window 3x3 pads 1,1,1,1, pad zero, "
        "pool acc window 2x2 stride 2x2, threshold -2 to 6 with 1 flips)  # m.sb: acc -18 to 18, 576 MACs\n"
        "  %3 c: i32 1x1x3 = binary_dense(%2, weights 3x2x2x2, scale m 7 to 7 b -1 to 2)  # c: acc -8 to 8, 24 MACs\n"
    )


@settings(deadline=None, max_examples=20)
@given(graphs())
def test_one_line_per_value(graph: Graph) -> None:
    assert len(graph_text(graph).splitlines()) == 1 + len(graph.nodes)
    program = compile_graph(graph)
    assert len(program_text(program).splitlines()) == 1 + len(program.tensors)
