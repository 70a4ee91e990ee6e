# SPDX-License-Identifier: Apache-2.0
"""nn.MaxPool2d -> ir.MaxPool2d, of accumulators or of bits by where it stands.

Called through ``graph.EXPORTERS``; ``sign.py`` makes the nodes of pools that stand between batch norm and sign.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from picobnn.codegen.ir import MaxPool2d, Node, Shape, Window
from picobnn.trainer.export.value import Kind, Value, make_value, make_window, pair, slide, unsupported
from picobnn.trainer.trace import Call


def export_max_pool2d(call: Call, value: Value) -> tuple[tuple[Node, ...], Value]:
    """One node; behind a batch norm none yet, the pool waits for the sign."""
    window = pool_window(call)
    if value.is_flat or value.kind not in (Kind.ACCUMULATORS, Kind.BITS):
        raise unsupported(call, f"reads {value.kind.value} of {value.shape}", "Pool maps of accumulators or bits.")
    if value.pending:
        return (), replace(value, pending=(*value.pending, call))
    node = MaxPool2d(call.name, call.path, value.name, window)
    shape = pool_shape(call, value.shape)
    if value.kind is Kind.BITS:
        return (node,), make_value(call.name, Kind.BITS, shape)
    return (node,), replace(value, name=call.name, shape=shape, map_shape=shape)


def pool_shape(call: Call, shape: Shape) -> Shape:
    """The map a pool makes of a map."""
    return slide(call, pool_window(call), shape, shape.channels)


def pool_window(call: Call) -> Window:
    """The window of a pool; UNSUPPORTED_FEATURE for what the compiler has no word for."""
    layer = call.module
    assert isinstance(layer, nn.MaxPool2d)
    if pair(layer.dilation) != (1, 1):
        raise unsupported(call, f"has dilation={layer.dilation}", "Use dilation=1.")
    if layer.ceil_mode:
        raise unsupported(call, "has ceil_mode=True", "Use ceil_mode=False, with padding if the border matters.")
    if layer.return_indices:
        raise unsupported(call, "has return_indices=True", "Use return_indices=False.")
    return make_window(layer.kernel_size, layer.stride, layer.padding)
