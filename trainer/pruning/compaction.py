# SPDX-License-Identifier: Apache-2.0
"""Masked network -> physically smaller network.

Invariant: in eval mode the compacted network gives exactly the masked network's integers, because a removed channel
contributes 0 everywhere, padding included, and batch norm works on each channel alone. Called by the pruning methods'
``finish`` and by tests.
"""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.layers import BinaryConv2d, InputConv2d
from picobnn.trainer.models import Network, build_model
from picobnn.trainer.pruning.masks import spread_to_inputs
from picobnn.trainer.pruning.structure import FilterGroup, Norm, Reader, WeightLayer, find_filters


def compact(model: nn.Module) -> nn.Module:
    """A copy of the network without the filters its masks remove; the model itself is not changed.

    A ``Network`` is rebuilt from its configuration with new widths, so that its checkpoint loads like any other.
    PRUNING error when a layer would lose all its filters or masks disagree.
    """
    small = deepcopy(model)
    for group in find_filters(small):
        _slice(group)
    return _rebuild(small) if isinstance(small, Network) else small


def _slice(group: FilterGroup) -> None:
    kept = group.kept()
    if not bool(kept.any()):
        raise PicobnnError(
            ErrorId.PRUNING, f"all {group.filters} filters are masked.", where=group.name, remedy="Keep at least one."
        )
    for reader in group.readers:
        inputs = spread_to_inputs(group, reader, kept)
        if not bool((reader.input_mask.bool() == inputs).all()):
            raise PicobnnError(
                ErrorId.PRUNING, "the masks of a sign and of the layer that reads it differ.", where=group.name,
                remedy="Set masks with trainer.pruning.set_masks.",
            )  # fmt: skip
        _slice_inputs(reader, inputs)
    _slice_outputs(group.layer, kept)
    for norm in group.norms:
        _slice_norm(norm, kept)
    for sign in group.signs:
        sign.channel_mask = sign.channel_mask[kept]
        sign.channels = len(sign.channel_mask)


def _slice_outputs(layer: WeightLayer, kept: Tensor) -> None:
    layer.weight = _parameter(layer.weight[kept])
    if isinstance(layer, InputConv2d | BinaryConv2d):
        layer.out_channels = len(layer.weight)
    else:
        layer.out_features = len(layer.weight)


def _slice_inputs(reader: Reader, kept: Tensor) -> None:
    reader.weight = _parameter(reader.weight[:, kept])
    reader.input_mask = reader.input_mask[kept]
    if isinstance(reader, BinaryConv2d):
        reader.in_channels = reader.weight.shape[1]
    else:
        reader.in_features = reader.weight.shape[1]


def _slice_norm(norm: Norm, kept: Tensor) -> None:
    if norm.weight is not None:
        norm.weight, norm.bias = _parameter(norm.weight[kept]), _parameter(norm.bias[kept])
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean, norm.running_var = norm.running_mean[kept], norm.running_var[kept]
    norm.num_features = int(kept.sum())


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone())


def _rebuild(small: Network) -> Network:
    """The sliced network, made anew from its configuration: the proof that a checkpoint of it will load."""
    widths = [group.filters for group in find_filters(small)]
    fresh = build_model(small.model_name, {**small.config.as_dict(), "widths": widths})
    try:
        fresh.load_state_dict(small.state_dict())
    except RuntimeError as error:
        raise PicobnnError(
            ErrorId.PRUNING, f"widths {widths} do not rebuild the network: {error}.", where=small.model_name,
            remedy="A network's widths must name its prunable layers in execution order.",
        ) from error  # fmt: skip
    return fresh.to(next(small.parameters()).device).train(small.training)
