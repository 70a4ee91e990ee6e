# SPDX-License-Identifier: Apache-2.0
"""Divide weight domains by the power of two that all their accumulators share.

``2**shift * sum(x where u=1) + ratio * sum(x)`` with an even ratio and a shift above 0 is even whatever the input is;
halves compare with halved thresholds just the same. {-8, +8} becomes {-1, +1}, which every strategy runs. Only layers
with a threshold are rewritten: a scale hands accumulators on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from picobnn.codegen.ir import BinaryConv2d, BinaryDense, Graph, Node, Threshold, WeightDomain


def reduce_domains(graph: Graph) -> Graph:
    """Rewrites the domain and the fused threshold of binary layers; everything else stays."""
    return Graph(graph.name, tuple(_reduced(node) for node in graph.nodes))


def _reduced(node: Node) -> Node:
    if not isinstance(node, BinaryConv2d | BinaryDense) or not isinstance(node.epilogue, Threshold):
        return node
    shift, ratio = node.domain.shift, node.domain.ratio
    halvings = shift if ratio == 0 else min(shift, (ratio & -ratio).bit_length() - 1)
    if halvings == 0:
        return node
    # acc >= T exactly where acc / 2**n >= ceil(T / 2**n), acc being a multiple of 2**n.
    thresholds = -(-node.epilogue.thresholds.astype(np.int64) >> halvings)
    return replace(
        node,
        domain=WeightDomain(shift - halvings, ratio >> halvings),
        epilogue=Threshold(thresholds.astype(np.int32), node.epilogue.flip),
    )
