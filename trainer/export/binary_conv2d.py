# SPDX-License-Identifier: Apache-2.0
"""BinaryConv2d -> ir.BinaryConv2d: weight bits (O, ky, kx, I), accumulators within the sum of its weights.

Called through ``graph.EXPORTERS``.
"""

from __future__ import annotations

import numpy as np

from picobnn.codegen.ir import BinaryConv2d, Node, PadMode
from picobnn.trainer import layers
from picobnn.trainer.export.value import (
    Kind,
    Value,
    binary_reach,
    make_accumulators,
    make_window,
    require_kind,
    require_unmasked,
    slide,
    unsupported,
    weight_domain,
    weight_signs,
)
from picobnn.trainer.trace import Call

_PAD_MODES = {layers.PadMode.MINUS_ONE: PadMode.MINUS_ONE, layers.PadMode.ZERO: PadMode.ZERO}


def export_binary_conv2d(call: Call, value: Value) -> tuple[tuple[Node, ...], Value]:
    """One node. Thresholds hold on all integers of the range, so parity and padded borders need no care."""
    layer = call.module
    assert isinstance(layer, layers.BinaryConv2d)
    require_kind(call, value, Kind.BITS)
    require_unmasked(call, layer.input_mask)
    if value.is_flat or layer.in_channels != value.shape.channels:
        raise unsupported(
            call, f"takes maps of {layer.in_channels} channels, reads {value.shape}", "Check the order of the modules."
        )
    bits = np.ascontiguousarray(weight_signs(call, layer.weight).transpose(0, 2, 3, 1))
    window = make_window(layer.kernel_size, layer.stride, layer.padding)
    domain = weight_domain(layer)
    shape = slide(call, window, value.shape, layer.out_channels)
    node = BinaryConv2d(call.name, call.path, value.name, bits, window, _PAD_MODES[layer.pad_mode], domain)
    high = binary_reach(bits, domain)
    return (node,), make_accumulators(call.name, shape, -high, high)
