# SPDX-License-Identifier: Apache-2.0
"""A dense layer behind a flatten reads the map itself: weights (O, 1, 1, H*W*C) become (O, H, W, C).

Flatten runs in H, W, C order, so that the bits do not move.
"""

from __future__ import annotations

from dataclasses import replace

from picobnn.codegen.ir import BinaryDense, Flatten, Graph, Node, verify_graph
from picobnn.codegen.passes.rewrite import readers_of
from picobnn.errors import ErrorId, PicobnnError


def fold_flatten(graph: Graph) -> Graph:
    """Removes every flatten. Raises UNSUPPORTED_FEATURE when one is read by anything but dense layers."""
    types = verify_graph(graph)
    readers = readers_of(graph)
    flattens: dict[str, Flatten] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, Flatten):
            if not readers[node.name] or any(not isinstance(reader, BinaryDense) for reader in readers[node.name]):
                raise PicobnnError(
                    ErrorId.UNSUPPORTED_FEATURE,
                    f"a flatten of {types[node.input].shape} that something other than a dense layer reads.",
                    where=node.name,
                    remedy="Put the flatten directly in front of a dense layer, behind sign and pool.",
                )
            flattens[node.name] = node
        elif isinstance(node, BinaryDense) and node.input in flattens:
            source = flattens[node.input].input
            shape = types[source].shape
            extent = (len(node.weights), shape.height, shape.width, shape.channels)
            mask = None if node.kept is None else node.kept.reshape(extent)
            kept.append(replace(node, input=source, weights=node.weights.reshape(extent), kept=mask))
        else:
            kept.append(node)
    return Graph(graph.name, tuple(kept))
