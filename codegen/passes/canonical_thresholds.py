# SPDX-License-Identifier: Apache-2.0
"""Give every threshold channel its one canonical form, so that equal functions give equal bytes.

The threshold becomes the least reachable accumulator that passes it. A channel that never changes gets the least
reachable accumulator as its threshold, and flip 0 where it is always +1, 1 where it is always -1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from picobnn.codegen.bounds import Reach, WeightValues, reach_of_binary_conv, reach_of_dense, reach_of_input_conv
from picobnn.codegen.ir import (
    BinaryConv2d,
    BinaryDense,
    Graph,
    InputConv2d,
    InputImage,
    Node,
    Shape,
    Threshold,
    verify_graph,
)


def canonical_thresholds(graph: Graph) -> Graph:
    """Rewrites the fused threshold of every layer; everything else stays."""
    types = verify_graph(graph)
    image = graph.nodes[0]
    zero_point = image.zero_point if isinstance(image, InputImage) else 0
    kept: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, InputConv2d | BinaryConv2d | BinaryDense) and isinstance(node.epilogue, Threshold):
            reach = _reach(node, types[node.input].shape, zero_point)
            kept.append(replace(node, epilogue=canonical_threshold(node.epilogue, reach)))
        else:
            kept.append(node)
    return Graph(graph.name, tuple(kept))


def canonical_threshold(threshold: Threshold, reach: Reach) -> Threshold:
    """The canonical threshold that gives the same bits for every value in ``reach``."""
    low, high = reach.bounds()
    wanted = reach.next_reachable(threshold.thresholds)
    never = wanted > high
    constant = never | (wanted <= low)
    is_set = np.where(never, threshold.flip, 1 - threshold.flip)
    flip = np.where(constant, 1 - is_set, threshold.flip).astype(np.uint8)
    return Threshold(np.where(constant, low, wanted).astype(np.int32), flip)


def _reach(node: InputConv2d | BinaryConv2d | BinaryDense, shape: Shape, zero_point: int) -> Reach:
    match node:
        case InputConv2d():
            return reach_of_input_conv(node.weights, node.window, shape.height, shape.width, zero_point)
        case BinaryConv2d():
            values = WeightValues(node.weights, node.kept, node.domain)
            return reach_of_binary_conv(values, node.window, shape.height, shape.width, node.pad_mode)
        case BinaryDense():
            return reach_of_dense(WeightValues(node.weights, node.kept, node.domain))
