# SPDX-License-Identifier: Apache-2.0
"""nn.BatchNorm1d and nn.BatchNorm2d: no node; they wait for the sign that turns them into a threshold.

Called through ``graph.EXPORTERS``.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from picobnn.codegen.ir import Node
from picobnn.trainer.export.value import Kind, Value, unsupported
from picobnn.trainer.trace import Call


def export_batch_norm(call: Call, value: Value) -> tuple[tuple[Node, ...], Value]:
    """The value with the module pending. Any number of them may stand in front of one sign."""
    layer = call.module
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    if value.kind is not Kind.ACCUMULATORS:
        raise unsupported(
            call, f"reads {value.kind.value}", "Put it between a layer and its Sign; for logits use LogitScale."
        )
    if layer.num_features != value.shape.channels or isinstance(layer, nn.BatchNorm1d) is not value.is_flat:
        raise unsupported(
            call, f"of {layer.num_features} features reads {value.shape}", "Use BatchNorm2d for maps, 1d for vectors."
        )
    if layer.running_mean is None or layer.running_var is None:
        raise unsupported(call, "keeps no running statistics", "Leave track_running_stats on.")
    return (), replace(value, pending=(*value.pending, call))
