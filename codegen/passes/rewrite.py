# SPDX-License-Identifier: Apache-2.0
"""What passes need to walk and rewire a graph. Not a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from picobnn.codegen.ir import Graph, InputImage, Node, Operation


def readers_of(graph: Graph) -> dict[str, list[Operation]]:
    """Per value name the nodes that read it, in node order; the result has none."""
    readers: dict[str, list[Operation]] = {node.name: [] for node in graph.nodes}
    for node in graph.nodes:
        if not isinstance(node, InputImage):
            readers[node.input].append(node)
    return readers


def rewire(node: Node, renamed: Mapping[str, str]) -> Node:
    """``node`` with its input replaced when that value goes by another name now."""
    if isinstance(node, InputImage) or node.input not in renamed:
        return node
    return replace(node, input=renamed[node.input])
