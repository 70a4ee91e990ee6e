# SPDX-License-Identifier: Apache-2.0
"""A trained network as the compiler's graph: the only way from torch to ``codegen``.

Invariant: every node's value equals, bit for bit, the eval output of the module its ``source`` names (Flatten: the
same elements in H, W, C order; Sign in front of a pool that torch runs before the sign: the pool's output is equal).
Called by the ``export`` verb and by tests.
"""

from __future__ import annotations

from torch import nn

from picobnn.codegen.ir import Graph, InputImage, Node, Shape
from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer import layers
from picobnn.trainer.export.batch_norm import export_batch_norm
from picobnn.trainer.export.binary_conv2d import export_binary_conv2d
from picobnn.trainer.export.binary_linear import export_binary_linear
from picobnn.trainer.export.flatten import export_flatten
from picobnn.trainer.export.input_conv2d import export_input_conv2d
from picobnn.trainer.export.logit_scale import export_logit_scale
from picobnn.trainer.export.max_pool2d import export_max_pool2d
from picobnn.trainer.export.sign import export_sign
from picobnn.trainer.export.value import Exporter, Kind, Value, make_value, unsupported
from picobnn.trainer.modes import evaluating
from picobnn.trainer.trace import Call, trace

EXPORTERS: dict[type[nn.Module], Exporter] = {
    layers.InputConv2d: export_input_conv2d,
    layers.BinaryConv2d: export_binary_conv2d,
    layers.BinaryLinear: export_binary_linear,
    layers.Sign: export_sign,
    layers.LogitScale: export_logit_scale,
    nn.BatchNorm1d: export_batch_norm,
    nn.BatchNorm2d: export_batch_norm,
    nn.MaxPool2d: export_max_pool2d,
    nn.Flatten: export_flatten,
}


def to_graph(model: nn.Module, input_shape: Shape, name: str) -> Graph:
    """The graph of a compacted network for images of ``input_shape`` (H, W, C).

    The model is evaluated in eval mode and left in the mode it came in. Raises UNSUPPORTED_LAYER and
    UNSUPPORTED_FEATURE for what has no lowering, PRUNING for masks that still remove channels, NOT_MONOTONE and
    CHECKPOINT for damaged values.
    """
    read = trace(model)
    values: dict[str, Value] = {read.image: make_value(read.image, Kind.IMAGE, input_shape)}
    nodes: list[Node] = [InputImage(read.image, input_shape, _zero_point(read.readers(read.image), name))]
    with evaluating(model):
        for call in read.calls:
            added, values[call.name] = _exporter(call)(call, values[call.input])
            nodes.extend(added)
    result = values[read.result]
    if result.pending:
        raise unsupported(result.pending[-1], "ends the network", "End with LogitScale, or with Sign for bits.")
    return Graph(name, tuple(nodes))


def _exporter(call: Call) -> Exporter:
    exporter = EXPORTERS.get(type(call.module))
    if exporter is None:
        names = ", ".join(sorted(kind.__name__ for kind in EXPORTERS))
        raise PicobnnError(
            ErrorId.UNSUPPORTED_LAYER, f"no lowering for {type(call.module).__module__}.{type(call.module).__name__}.",
            where=call.path, remedy=f"Supported: {names}.",
        )  # fmt: skip
    return exporter


def _zero_point(first: tuple[Call, ...], name: str) -> int:
    if len(first) != 1 or not isinstance(first[0].module, layers.InputConv2d):
        _exporter(first[0]) if first else None
        raise PicobnnError(
            ErrorId.UNSUPPORTED_FEATURE, "the image is not read by exactly one InputConv2d.",
            where=first[0].path if first else name, remedy="Make InputConv2d the first module.",
        )  # fmt: skip
    return first[0].module.zero_point
