# SPDX-License-Identifier: Apache-2.0
"""Fuse what follows a convolution or dense layer into it: [MaxPool] + Sign + [MaxPool], or ScaleLogits.

A pool in front of the sign becomes ``PoolStage.ACC``, one behind it ``PoolStage.BIT``. The fused node keeps the
layer's name and takes the source of the last node it absorbs, whose value it now has. Accumulators that are the
result get the scale 1, 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from picobnn.codegen.ir import (
    BinaryConv2d,
    BinaryDense,
    Epilogue,
    Graph,
    InputConv2d,
    MaxPool2d,
    Node,
    Operation,
    Pool,
    PoolStage,
    Scale,
    ScaleLogits,
    Sign,
    Threshold,
    Window,
)
from picobnn.codegen.passes.rewrite import readers_of, rewire
from picobnn.errors import ErrorId, PicobnnError

Layer = InputConv2d | BinaryConv2d | BinaryDense
Readers = dict[str, list[Operation]]


@dataclass(frozen=True, slots=True, eq=False)
class _Chain:
    """A layer and what hangs behind it: ``nodes`` in order, layer first, among them pools on both sides of the
    epilogue."""

    nodes: tuple[Operation, ...]
    pools_before: tuple[MaxPool2d, ...]
    epilogue: Epilogue
    pools_behind: tuple[MaxPool2d, ...] = ()


def fuse_epilogue(graph: Graph) -> Graph:
    """Absorbs every Sign and ScaleLogits, and every MaxPool2d that belongs to one layer only.

    Raises UNSUPPORTED_FEATURE for patterns that no step computes.
    """
    readers = readers_of(graph)
    layer_of: dict[str, str] = {}  # absorbed node -> name of the layer that takes it in
    fused: dict[str, Layer] = {}  # last node of a chain -> the fused layer, which takes its place
    kept: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, Layer) and node.epilogue is None:
            chain = _follow(node, readers)
            fused[chain.nodes[-1].name] = _fuse(node, chain)
            layer_of.update(dict.fromkeys((part.name for part in chain.nodes), node.name))
        if node.name in fused:
            kept.append(rewire(fused[node.name], layer_of))
        elif node.name not in layer_of:
            kept.append(rewire(node, layer_of))
    return Graph(graph.name, tuple(kept))


def _follow(layer: Layer, readers: Readers) -> _Chain:
    nodes: list[Operation] = [layer]
    pools: list[MaxPool2d] = []
    while True:
        following = readers[nodes[-1].name]
        if not following and not pools:
            count = len(layer.weights)
            return _Chain((layer,), (), Scale(np.ones(count, np.int32), np.zeros(count, np.int32)))
        if len(following) != 1:
            raise _refuse(
                nodes[-1],
                f"accumulators that {len(following)} nodes read.",
                "Put one Sign behind the layer, or make its own accumulators the result.",
            )
        node = following[0]
        nodes.append(node)
        match node:
            case MaxPool2d():
                pools.append(node)
            case Sign():
                behind = _pools_behind(node, readers)
                return _Chain((*nodes, *behind), tuple(pools), node.threshold, behind)
            case ScaleLogits():
                return _Chain(tuple(nodes), tuple(pools), node.scale)
            case _:
                raise _refuse(node, "it reads accumulators.", "Put a Sign behind the layer in front of it.")


def _pools_behind(sign: Sign, readers: Readers) -> tuple[MaxPool2d, ...]:
    pools: list[MaxPool2d] = []
    following = readers[sign.name]
    while len(following) == 1 and isinstance(following[0], MaxPool2d):
        pools.append(following[0])
        following = readers[following[0].name]
    return tuple(pools)


def _fuse(layer: Layer, chain: _Chain) -> Layer:
    last = chain.nodes[-1]
    pool = _pool(chain)
    if pool is None:
        return replace(layer, source=last.source, epilogue=chain.epilogue)
    if isinstance(layer, BinaryDense):
        raise _refuse(last, "a max pool behind a dense layer.", "Remove the pool: the map has one pixel.")
    return replace(layer, source=last.source, pool=pool, epilogue=chain.epilogue)


def _pool(chain: _Chain) -> Pool | None:
    """The one pool that equals all pools of the chain, or None when there is none."""
    pools = (*chain.pools_before, *chain.pools_behind)
    if not pools:
        return None
    if not isinstance(chain.epilogue, Threshold):
        raise _refuse(pools[0], "a max pool in front of scaled logits.", "Remove the pool, or put Sign behind it.")
    if chain.pools_before and chain.pools_behind and chain.epilogue.flip.any():
        raise _refuse(
            pools[-1],
            "a max pool in front of a sign that falls in some channels, and another behind it.",
            "Keep both pools on one side of the sign.",
        )
    window = pools[0].window
    for second in pools[1:]:
        merged = merge_windows(window, second.window)
        if merged is None:
            raise _refuse(
                second,
                f"two max pools in a row ({window}, then {second.window}) that are not one.",
                "Use one pool; two merge when the second has no padding and the first leaves no gaps.",
            )
        window = merged
    return Pool(window, PoolStage.ACC if chain.pools_before else PoolStage.BIT)


def merge_windows(first: Window, second: Window) -> Window | None:
    """The window of ``max over second of max over first``, or None where no window says the same.

    With padding in the second pool, its first and last windows would take in pixels that the first pool skips.
    """
    gaps = (first.stride_y > first.height and second.height > 1) or (first.stride_x > first.width and second.width > 1)
    if second.has_padding or gaps:
        return None
    return replace(
        first,
        height=first.height + (second.height - 1) * first.stride_y,
        width=first.width + (second.width - 1) * first.stride_x,
        stride_y=first.stride_y * second.stride_y,
        stride_x=first.stride_x * second.stride_x,
    )


def _refuse(node: Operation, what: str, remedy: str) -> PicobnnError:
    return PicobnnError(ErrorId.UNSUPPORTED_FEATURE, what, where=node.name, remedy=remedy)
