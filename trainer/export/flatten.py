# SPDX-License-Identifier: Apache-2.0
"""nn.Flatten -> ir.Flatten. The node flattens as H, W, C, torch as C, H, W; ``binary_linear.py`` makes up for it.

Called through ``graph.EXPORTERS``.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from picobnn.codegen.ir import Flatten, Node, Shape
from picobnn.trainer.export.value import Kind, Value, require_kind, unsupported
from picobnn.trainer.trace import Call


def export_flatten(call: Call, value: Value) -> tuple[tuple[Node, ...], Value]:
    """One node; the value remembers its map for the dense layer behind."""
    layer = call.module
    assert isinstance(layer, nn.Flatten)
    require_kind(call, value, Kind.BITS)
    if layer.start_dim != 1 or layer.end_dim not in (-1, 3):
        raise unsupported(call, f"has start_dim={layer.start_dim}, end_dim={layer.end_dim}", "Use nn.Flatten().")
    node = Flatten(call.name, call.path, value.name)
    flat = Shape(1, 1, value.shape.elements)
    return (node,), replace(value, name=call.name, shape=flat, is_flat=True)
