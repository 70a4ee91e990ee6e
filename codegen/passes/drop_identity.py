# SPDX-License-Identifier: Apache-2.0
"""Drop nodes that change nothing: 1x1 max pools of stride 1 without padding, and flattens of 1x1 maps."""

from __future__ import annotations

from picobnn.codegen.ir import Flatten, Graph, MaxPool2d, Node, Window, verify_graph
from picobnn.codegen.passes.rewrite import rewire


def drop_identity(graph: Graph) -> Graph:
    """Readers of a dropped node read its input instead."""
    types = verify_graph(graph)
    renamed: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        rewired = rewire(node, renamed)
        match rewired:
            case MaxPool2d(window=window) if window == Window(1, 1):
                renamed[rewired.name] = rewired.input
            case Flatten() if types[node.name].shape == types[rewired.input].shape:
                renamed[rewired.name] = rewired.input
            case _:
                kept.append(rewired)
    return Graph(graph.name, tuple(kept))
