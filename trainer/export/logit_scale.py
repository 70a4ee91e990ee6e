# SPDX-License-Identifier: Apache-2.0
"""LogitScale -> ir.ScaleLogits, with the integers the module itself computes with in eval mode.

Called through ``graph.EXPORTERS``.
"""

from __future__ import annotations

import numpy as np

from picobnn.codegen.ir import Node, Scale, ScaleLogits
from picobnn.trainer import layers
from picobnn.trainer.export.value import Kind, Value, make_value, require_kind, unsupported
from picobnn.trainer.trace import Call

_INT32_LIMIT = 2**31 - 1


def export_logit_scale(call: Call, value: Value) -> tuple[tuple[Node, ...], Value]:
    """One node. UNSUPPORTED_FEATURE when a logit could leave int32."""
    layer = call.module
    assert isinstance(layer, layers.LogitScale)
    require_kind(call, value, Kind.ACCUMULATORS)
    if layer.classes != value.shape.channels:
        raise unsupported(call, f"of {layer.classes} classes reads {value.shape}", "Check the number of classes.")
    multiplier, bias = (v.numpy().astype(np.int32) for v in layer.integers())
    reach = np.maximum(np.abs(value.low), np.abs(value.high))
    largest = int((np.abs(multiplier.astype(np.int64)) * reach + np.abs(bias.astype(np.int64))).max())
    if largest > _INT32_LIMIT:
        raise unsupported(call, f"can make a logit of {largest}, beyond int32", "Use a smaller last layer.")
    node = ScaleLogits(call.name, call.path, value.name, Scale(multiplier, bias))
    return (node,), make_value(call.name, Kind.LOGITS, value.shape, is_flat=value.is_flat)
