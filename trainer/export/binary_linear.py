# SPDX-License-Identifier: Apache-2.0
"""BinaryLinear -> ir.BinaryDense. Torch flattens maps as C, H, W, tensors are H, W, C: the columns are permuted.

Called through ``graph.EXPORTERS``.
"""

from __future__ import annotations

import numpy as np

from picobnn.codegen.ir import BinaryDense, Node, Shape
from picobnn.trainer import layers
from picobnn.trainer.export.value import (
    Kind,
    Value,
    binary_reach,
    make_accumulators,
    require_kind,
    require_unmasked,
    unsupported,
    weight_domain,
    weight_signs,
)
from picobnn.trainer.trace import Call


def export_binary_linear(call: Call, value: Value) -> tuple[tuple[Node, ...], Value]:
    """One node with weights (O, 1, 1, H*W*C), accumulators within the sum of a filter's weights."""
    layer = call.module
    assert isinstance(layer, layers.BinaryLinear)
    require_kind(call, value, Kind.BITS)
    require_unmasked(call, layer.input_mask)
    if not value.is_flat or layer.in_features != value.shape.elements:
        raise unsupported(
            call, f"takes vectors of {layer.in_features}, reads {value.shape}", "Put nn.Flatten() in front of it."
        )
    bits = weight_signs(call, layer.weight)
    source = value.map_shape
    columns = bits.reshape(len(bits), source.channels, source.height, source.width).transpose(0, 2, 3, 1)
    weights = np.ascontiguousarray(columns).reshape(len(bits), 1, 1, -1)
    domain = weight_domain(layer)
    node = BinaryDense(call.name, call.path, value.name, weights, domain)
    high = binary_reach(bits, domain)
    return (node,), make_accumulators(call.name, Shape(1, 1, len(bits)), -high, high, is_flat=True)
