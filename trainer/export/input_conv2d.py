# SPDX-License-Identifier: Apache-2.0
"""InputConv2d -> ir.InputConv2d: weight bits (O, ky, kx, I) and the exact reach of every channel's accumulator.

The image's zero point is the graph's, not the node's (``graph.py`` reads it). Called through ``graph.EXPORTERS``.
"""

from __future__ import annotations

import numpy as np

from picobnn.codegen.ir import InputConv2d, Node
from picobnn.trainer import layers
from picobnn.trainer.export.value import (
    Kind,
    Value,
    make_accumulators,
    make_window,
    require_kind,
    slide,
    unsupported,
    weight_signs,
)
from picobnn.trainer.trace import Call


def export_input_conv2d(call: Call, value: Value) -> tuple[tuple[Node, ...], Value]:
    """Accumulators of channel o reach from the sum of each tap's smallest product to that of its largest."""
    layer = call.module
    assert isinstance(layer, layers.InputConv2d)
    require_kind(call, value, Kind.IMAGE)
    if layer.in_channels != value.shape.channels:
        raise unsupported(call, f"takes {layer.in_channels} channels, reads {value.shape}", "Shapes are H, W, C.")
    bits = np.ascontiguousarray(weight_signs(call, layer.weight).transpose(0, 2, 3, 1))
    window = make_window(layer.kernel_size, layer.stride, layer.padding)
    shape = slide(call, window, value.shape, layer.out_channels)
    plus = bits.reshape(len(bits), -1).sum(axis=1, dtype=np.int64)
    minus = bits[0].size - plus
    smallest, largest = -layer.zero_point, 255 - layer.zero_point
    node = InputConv2d(call.name, call.path, value.name, bits, window)
    low = plus * smallest - minus * largest
    return (node,), make_accumulators(call.name, shape, low, plus * largest - minus * smallest)
