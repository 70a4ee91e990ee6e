# SPDX-License-Identifier: Apache-2.0
"""The graph grammar: what ``trainer/export`` hands to the compiler, on one screen.

A graph is a tuple of nodes in execution order. A value is called by the name of the node that makes it; node 0 is
the image, the last node is the result. Weights are bits (1 is +1), thresholds are integers found by evaluating
the trained module: no float is left here. ``source`` is the dotted name of the torch module whose eval output the
node's value equals. The pass ``fuse_epilogue`` fills ``pool`` and ``epilogue``; export leaves them ``None``.
"""

from __future__ import annotations

from dataclasses import dataclass

from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    BitArray,
    Epilogue,
    Int32Array,
    PadMode,
    Pool,
    PoolStage,
    Scale,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)

__all__ = [
    "PLUS_MINUS_ONE", "BinaryConv2d", "BinaryDense", "BitArray", "Epilogue", "Flatten", "Graph", "InputConv2d",
    "InputImage", "Int32Array", "MaxPool2d", "Node", "PadMode", "Pool", "PoolStage", "Scale", "ScaleLogits", "Shape",
    "Sign", "Threshold", "WeightDomain", "Window",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class InputImage:
    """The uint8 image (H, W, C); the network sees ``q - zero_point``."""

    name: str
    shape: Shape
    zero_point: int


@dataclass(frozen=True, slots=True, eq=False)
class InputConv2d:
    """uint8 image -> int32 accumulators. weights: 0/1 (O, ky, kx, I). Pads with the zero point."""

    name: str
    source: str
    input: str
    weights: BitArray
    window: Window
    pool: Pool | None = None
    epilogue: Epilogue | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BinaryConv2d:
    """Bits -> int32 accumulators. weights: 0/1 (O, ky, kx, I / groups)."""

    name: str
    source: str
    input: str
    weights: BitArray
    window: Window
    pad_mode: PadMode
    domain: WeightDomain = PLUS_MINUS_ONE
    groups: int = 1
    pool: Pool | None = None
    epilogue: Epilogue | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BinaryDense:
    """Bits -> int32 accumulators (1, 1, O). weights: 0/1 (O, H, W, C) in the order of the input map."""

    name: str
    source: str
    input: str
    weights: BitArray
    domain: WeightDomain = PLUS_MINUS_ONE
    epilogue: Epilogue | None = None


@dataclass(frozen=True, slots=True)
class MaxPool2d:
    """Max over a window of accumulators or of bits, by what its input is; padding never wins."""

    name: str
    source: str
    input: str
    window: Window


@dataclass(frozen=True, slots=True, eq=False)
class Sign:
    """Accumulators -> bits: batch norm and sign as one integer threshold per channel."""

    name: str
    source: str
    input: str
    threshold: Threshold


@dataclass(frozen=True, slots=True, eq=False)
class ScaleLogits:
    """Accumulators -> int32 logits."""

    name: str
    source: str
    input: str
    scale: Scale


@dataclass(frozen=True, slots=True)
class Flatten:
    """(H, W, C) -> (1, 1, H*W*C) in H, W, C order. Export has permuted the weights of the dense layer behind it."""

    name: str
    source: str
    input: str


Node = InputImage | InputConv2d | BinaryConv2d | BinaryDense | MaxPool2d | Sign | ScaleLogits | Flatten


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes in execution order; every ``input`` names an earlier node."""

    name: str
    nodes: tuple[Node, ...]
