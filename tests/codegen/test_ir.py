# SPDX-License-Identifier: Apache-2.0
"""verify_graph infers every value's type and refuses every broken rule by node name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from picobnn.codegen.ir import (
    BinaryConv2d,
    BinaryDense,
    Flatten,
    Graph,
    InputConv2d,
    InputImage,
    MaxPool2d,
    Node,
    PadMode,
    Pool,
    PoolStage,
    Scale,
    ScaleLogits,
    Shape,
    Sign,
    Threshold,
    ValueType,
    WeightDomain,
    Window,
    verify_graph,
)
from picobnn.codegen.vocabulary import ElementKind
from picobnn.errors import ErrorId, PicobnnError

BIT, INT32, UINT8 = ElementKind.BIT, ElementKind.INT32, ElementKind.UINT8


def ones(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.ones(shape, np.uint8)


def threshold(count: int) -> Threshold:
    return Threshold(np.zeros(count, np.int32), np.zeros(count, np.uint8))


SCALE = Scale(np.ones(3, np.int32), np.zeros(3, np.int32))
NODES: dict[str, Node] = {
    node.name: node
    for node in (
        InputImage("image", Shape(6, 7, 2), 128),
        InputConv2d("conv", "m.conv", "image", ones(4, 3, 3, 2), Window(3, 3, 1, 1, 1, 1, 1, 1)),
        MaxPool2d("pool", "m.pool", "conv", Window(2, 2, 2, 2)),
        Sign("sign", "m.sign", "pool", threshold(4)),
        BinaryConv2d("conv2", "m.conv2", "sign", ones(5, 2, 2, 4), Window(2, 2), PadMode.ZERO),
        Sign("sign2", "m.sign2", "conv2", threshold(5)),
        Flatten("flat", "m.flat", "sign2"),
        BinaryDense("dense", "m.dense", "flat", ones(3, 1, 1, 20)),
        ScaleLogits("logits", "m.logits", "dense", SCALE),
    )
}
GOOD = Graph("good", tuple(NODES.values()))


def changed(which: str, /, **changes: Any) -> Graph:
    return Graph("g", tuple(replace(node, **changes) if node.name == which else node for node in GOOD.nodes))


def ending(*nodes: Node, after: str) -> Graph:
    """The good graph up to ``after``, then ``nodes``."""
    names = list(NODES)
    return Graph("g", (*(NODES[name] for name in names[: names.index(after) + 1]), *nodes))


def test_types_of_all_values() -> None:
    assert verify_graph(GOOD) == {
        "image": ValueType(Shape(6, 7, 2), UINT8),
        "conv": ValueType(Shape(6, 7, 4), INT32),
        "pool": ValueType(Shape(3, 3, 4), INT32),
        "sign": ValueType(Shape(3, 3, 4), BIT),
        "conv2": ValueType(Shape(2, 2, 5), INT32),
        "sign2": ValueType(Shape(2, 2, 5), BIT),
        "flat": ValueType(Shape(1, 1, 20), BIT),
        "dense": ValueType(Shape(1, 1, 3), INT32),
        "logits": ValueType(Shape(1, 1, 3), INT32, is_logits=True),
    }


def test_types_of_fused_nodes() -> None:
    pool = Pool(Window(2, 2, 2, 2), PoolStage.BIT)
    fused = changed("conv", pool=pool, epilogue=threshold(4)).nodes[:2]
    assert verify_graph(Graph("g", fused))["conv"] == ValueType(Shape(3, 3, 4), BIT)
    scaled = changed("dense", epilogue=SCALE).nodes[:-1]
    assert verify_graph(Graph("g", scaled))["dense"] == ValueType(Shape(1, 1, 3), INT32, is_logits=True)


BROKEN = {
    "graph name": (replace(GOOD, name=""), "graph", "graph name"),
    "empty": (Graph("g", ()), "graph", "node 0"),
    "no image": (Graph("g", GOOD.nodes[1:]), "graph", "node 0"),
    "image only": (Graph("g", GOOD.nodes[:1]), "image", "Add a layer"),
    "second image": (ending(InputImage("more", Shape(1, 1, 1), 0), after="image"), "more", "second image"),
    "zero point": (changed("image", zero_point=-1), "image", "zero point"),
    "image shape": (changed("image", shape=Shape(6, 0, 2)), "image", "width"),
    "node name": (changed("conv", name="a\tb"), "node 1", "node name"),
    "same names": (changed("sign", name="conv"), "conv", "two nodes"),
    "source": (changed("conv", source="x" * 201), "conv", "source"),
    "unknown input": (changed("sign", input="nothing"), "sign", "'nothing'"),
    "reads itself": (changed("sign", input="sign"), "sign", "no earlier node"),
    "unread": (Graph("g", changed("sign", input="conv").nodes[:4]), "pool", "no node reads"),
    "conv of bits": (
        ending(InputConv2d("x", "", "sign", ones(1, 1, 1, 4), Window(1, 1)), after="sign"),
        "x",
        "reads bit values",
    ),
    "bits of image": (
        ending(BinaryConv2d("x", "", "image", ones(1, 1, 1, 2), Window(1, 1), PadMode.ZERO), after="image"),
        "x",
        "reads u8 values",
    ),
    "dense of accumulators": (ending(BinaryDense("x", "", "conv", ones(1, 6, 7, 4)), after="conv"), "x", "i32"),
    "pool of image": (ending(MaxPool2d("x", "", "image", Window(1, 1)), after="image"), "x", "u8"),
    "sign of bits": (ending(Sign("x", "", "sign", threshold(4)), after="sign"), "x", "bit"),
    "scale of bits": (ending(ScaleLogits("x", "", "sign2", SCALE), after="sign2"), "x", "bit"),
    "flat image": (ending(Flatten("x", "", "image"), after="image"), "x", "u8"),
    "sign of logits": (ending(Sign("x", "", "logits", threshold(3)), after="logits"), "x", "reads logits"),
    "weights": (changed("conv2", weights=ones(5, 2, 2, 3)), "conv2", "expected uint8 (5, 2, 2, 4)"),
    "dense weights": (changed("dense", weights=ones(3, 2, 2, 5)), "dense", "expected uint8 (3, 1, 1, 20)"),
    "window": (changed("conv2", window=Window(2, 9)), "conv2", "2x9 window over a 3x3 map"),
    "pool window": (changed("pool", window=Window(9, 2)), "pool", "9x2 window over a 6x7 map"),
    "pool pad": (changed("pool", window=Window(2, 2, 1, 1, 2)), "pool", "pool padding"),
    "threshold count": (changed("sign", threshold=threshold(3)), "sign", "thresholds are int32 (3,)"),
    "scale count": (changed("logits", scale=Scale(SCALE.multiplier, SCALE.bias[:2])), "logits", "biases are"),
    "pool without threshold": (
        changed("conv", pool=Pool(Window(2, 2), PoolStage.ACC)),
        "conv",
        "pools without a threshold",
    ),
    "weight shift": (changed("conv2", domain=WeightDomain(16, 0)), "conv2", "weight shift is 16"),
    "weight ratio": (changed("conv2", domain=WeightDomain(0, -32769)), "conv2", "weight ratio is -32769"),
    "groups": (changed("conv2", groups=7), "conv2", "7 groups do not divide"),
    "no groups": (changed("conv2", groups=0), "conv2", "group count is 0"),
    "kept shape": (changed("conv2", kept=np.ones((1, 1, 1, 1), np.uint8)), "conv2", "kept taps are uint8"),
    "outputs too large": (
        changed("conv", window=Window(3, 3, 1, 1, 60000, 60000)),
        "conv",
        "elements",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_rule_is_refused(case: str) -> None:
    graph, where, said = BROKEN[case]
    with pytest.raises(PicobnnError) as caught:
        verify_graph(graph)
    assert caught.value.error_id is ErrorId.GRAPH_INVALID
    assert caught.value.where == where
    assert said in caught.value.what + caught.value.remedy


def test_flat_logits_are_a_result() -> None:
    assert verify_graph(ending(Flatten("x", "", "logits"), after="logits"))["x"].is_logits
