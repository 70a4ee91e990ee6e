# SPDX-License-Identifier: Apache-2.0
"""Sign, with the modules pending in front of it -> ir.Sign: one threshold per channel.

Called through ``graph.EXPORTERS``.
"""

from __future__ import annotations

from torch import nn

from picobnn.codegen.ir import MaxPool2d, Node, Sign
from picobnn.trainer import layers
from picobnn.trainer.export.max_pool2d import pool_shape, pool_window
from picobnn.trainer.export.threshold import find_threshold
from picobnn.trainer.export.value import Kind, Value, make_value, require_unmasked, unsupported
from picobnn.trainer.trace import Call


def export_sign(call: Call, value: Value) -> tuple[tuple[Node, ...], Value]:
    """A sign node, then the pools that stood between batch norm and sign.

    A float max and a sign commute exactly, so such a pool becomes a pool of bits. The value in between has no torch
    module; both nodes name the sign, whose output is the pool's.
    """
    layer = call.module
    assert isinstance(layer, layers.Sign)
    if value.kind is not Kind.ACCUMULATORS:
        raise unsupported(call, f"reads {value.kind.value}", "Put it behind a layer and its batch norm.")
    if layer.channels != value.shape.channels:
        raise unsupported(call, f"of {layer.channels} channels reads {value.shape}", "Check the number of channels.")
    require_unmasked(call, layer.channel_mask)
    norms = [p.module for p in value.pending if not isinstance(p.module, nn.MaxPool2d)]
    threshold = find_threshold([*norms, layer], value.low, value.high, is_map=not value.is_flat, where=call.path)
    nodes: list[Node] = [Sign(call.name, call.path, value.name, threshold)]
    shape = value.shape
    for pool in (p for p in value.pending if isinstance(p.module, nn.MaxPool2d)):
        shape = pool_shape(pool, shape)
        nodes.append(MaxPool2d(pool.name, call.path, nodes[-1].name, pool_window(pool)))
    return tuple(nodes), make_value(nodes[-1].name, Kind.BITS, shape, is_flat=value.is_flat)
