# SPDX-License-Identifier: Apache-2.0
"""The graph grammar: what ``trainer/export`` hands to the compiler, on one screen.

A graph is a tuple of nodes in execution order. A value is called by the name of the node that makes it; node 0 is
the image, the last node is the result. Weights are bits (1 is +1), thresholds are integers found by evaluating
the trained module: no float is left here. ``source`` is the dotted name of the torch module whose eval output the
node's value equals. The pass ``fuse_epilogue`` fills ``pool`` and ``epilogue``; export leaves them ``None``.
"""

from __future__ import annotations

from dataclasses import dataclass

from picobnn.codegen import rules
from picobnn.codegen.rules import Subject
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    BitArray,
    ElementKind,
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
from picobnn.errors import ErrorId

__all__ = [
    "PLUS_MINUS_ONE", "BinaryConv2d", "BinaryDense", "BitArray", "Epilogue", "Flatten", "Graph", "InputConv2d",
    "InputImage", "Int32Array", "MaxPool2d", "Node", "Operation", "PadMode", "Pool", "PoolStage", "Scale",
    "ScaleLogits", "Shape", "Sign", "Threshold", "ValueType", "WeightDomain", "Window", "verify_graph",
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
    """Bits -> int32 accumulators. weights: 0/1 (O, ky, kx, I / groups); ``kept`` of the same shape: 0 is a removed tap.

    Output o reads the channels from ``g * I / groups`` on, g = o // (O / groups).
    """

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
    kept: BitArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BinaryDense:
    """Bits -> int32 accumulators (1, 1, O). weights: 0/1 (O, H, W, C) in the order of the input map; ``kept`` of the
    same shape: 0 is a removed tap."""

    name: str
    source: str
    input: str
    weights: BitArray
    domain: WeightDomain = PLUS_MINUS_ONE
    epilogue: Epilogue | None = None
    kept: BitArray | None = None


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


Operation = InputConv2d | BinaryConv2d | BinaryDense | MaxPool2d | Sign | ScaleLogits | Flatten
Node = InputImage | Operation


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes in execution order; every ``input`` names an earlier node."""

    name: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ValueType:
    """Shape and element kind of a value. ``is_logits``: a scale made it, so only a ``Flatten`` may still read it."""

    shape: Shape
    kind: ElementKind
    is_logits: bool = False


def verify_graph(graph: Graph) -> dict[str, ValueType]:
    """Infer the type of every value, by name, in node order; check every rule that passes and lowering rely on.

    Node 0 and no other is the image; names are unique; every value but the last is read; shapes, kinds, dtypes and
    ranges agree.

    Raises:
        PicobnnError: GRAPH_INVALID; ``where`` names the node.
    """
    subject = Subject(ErrorId.GRAPH_INVALID, "graph")
    rules.check_name(subject, "graph name", graph.name)
    if not graph.nodes or not isinstance(graph.nodes[0], InputImage):
        raise subject.fail("node 0 is not the image.", "Begin with an InputImage.")
    types: dict[str, ValueType] = {}
    unread: dict[str, None] = {}
    for index, node in enumerate(graph.nodes):
        rules.check_name(Subject(ErrorId.GRAPH_INVALID, f"node {index}"), "node name", node.name)
        subject = Subject(ErrorId.GRAPH_INVALID, node.name)
        if node.name in types:
            raise subject.fail("two nodes have this name.", "Rename one.")
        if isinstance(node, InputImage):
            if index:
                raise subject.fail("it is a second image.", "A graph has one input.")
            types[node.name] = _type_of_image(subject, node)
        else:
            rules.check_name(subject, "source", node.source, may_be_empty=True)
            if node.input not in types:
                raise subject.fail(f"it reads {node.input[:40]!a}, which no earlier node makes.", "Reorder the nodes.")
            unread.pop(node.input, None)
            types[node.name] = _type_of(subject, node, types[node.input])
        unread[node.name] = None
    unread.pop(graph.nodes[-1].name)
    if unread:
        raise Subject(ErrorId.GRAPH_INVALID, next(iter(unread))).fail("no node reads this value.", "Drop the node.")
    if len(graph.nodes) == 1:
        raise subject.fail("the image is the result.", "Add a layer.")
    return types


def _type_of_image(subject: Subject, node: InputImage) -> ValueType:
    rules.check_shape(subject, node.shape)
    rules.check_integer(subject, "zero point", node.zero_point, 0, 255)
    return ValueType(node.shape, ElementKind.UINT8)


def _type_of(subject: Subject, node: Operation, source: ValueType) -> ValueType:
    if source.is_logits and not isinstance(node, Flatten):
        raise subject.fail("it reads logits.", "Scaled logits can only be the result.")
    match node:
        case InputConv2d():
            _check_kind(subject, source, ElementKind.UINT8)
            return _type_of_conv(subject, node, source.shape)
        case BinaryConv2d():
            _check_kind(subject, source, ElementKind.BIT)
            rules.check_domain(subject, node.domain)
            return _type_of_conv(subject, node, source.shape)
        case BinaryDense():
            _check_kind(subject, source, ElementKind.BIT)
            rules.check_domain(subject, node.domain)
            shape = source.shape
            taps = (shape.height, shape.width, shape.channels)
            outputs = rules.check_weights(subject, node.weights, taps, node.kept)
            return _type_behind(subject, node.epilogue, Shape(1, 1, outputs))
        case MaxPool2d():
            _check_kind(subject, source, ElementKind.BIT, ElementKind.INT32)
            shape = source.shape
            rows, columns = rules.check_sliding(subject, node.window, shape.height, shape.width, pooling=True)
            return ValueType(Shape(rows, columns, shape.channels), source.kind)
        case Sign():
            _check_kind(subject, source, ElementKind.INT32)
            return _type_behind(subject, node.threshold, source.shape)
        case ScaleLogits():
            _check_kind(subject, source, ElementKind.INT32)
            return _type_behind(subject, node.scale, source.shape)
        case Flatten():
            _check_kind(subject, source, ElementKind.BIT, ElementKind.INT32)
            return ValueType(Shape(1, 1, source.shape.elements), source.kind, source.is_logits)


def _type_of_conv(subject: Subject, node: InputConv2d | BinaryConv2d, shape: Shape) -> ValueType:
    rows, columns = rules.check_sliding(subject, node.window, shape.height, shape.width, pooling=False)
    groups, kept = (node.groups, node.kept) if isinstance(node, BinaryConv2d) else (1, None)
    taps = (node.window.height, node.window.width, shape.channels)
    outputs = rules.check_weights(subject, node.weights, taps, kept, groups)
    rules.check_shape(subject, Shape(rows, columns, outputs))
    if node.pool is not None:
        if not isinstance(node.epilogue, Threshold):
            raise subject.fail("it pools without a threshold.", "Only a fused threshold may come with a fused pool.")
        rows, columns = rules.check_sliding(subject, node.pool.window, rows, columns, pooling=True)
    return _type_behind(subject, node.epilogue, Shape(rows, columns, outputs))


def _type_behind(subject: Subject, epilogue: Epilogue | None, shape: Shape) -> ValueType:
    """Type of accumulators of ``shape`` once ``epilogue`` has seen them."""
    if epilogue is None:
        return ValueType(shape, ElementKind.INT32)
    rules.check_epilogue(subject, epilogue, shape.channels)
    is_logits = isinstance(epilogue, Scale)
    return ValueType(shape, ElementKind.INT32 if is_logits else ElementKind.BIT, is_logits)


def _check_kind(subject: Subject, source: ValueType, *wanted: ElementKind) -> None:
    if source.kind not in wanted:
        names = " or ".join(kind.value for kind in wanted)
        raise subject.fail(f"it reads {source.kind.value} values, expected {names}.", "Reconnect or convert its input.")
