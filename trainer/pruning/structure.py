# SPDX-License-Identifier: Apache-2.0
"""Which filters a network has, and what follows them: the layer, its batch norms and signs, the layers that read them.

Invariant: found by walking the torch.fx trace, never by names. A filter is one output channel of a convolution or of
a hidden dense layer; the outputs of the network are no filters. Called by masks, compaction and every method.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.layers import BinaryConv2d, BinaryLinear, InputConv2d, LogitScale, Sign
from picobnn.trainer.modes import evaluating
from picobnn.trainer.trace import Call, Trace, trace

WeightLayer = InputConv2d | BinaryConv2d | BinaryLinear
Reader = BinaryConv2d | BinaryLinear
Norm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass(frozen=True, slots=True, eq=False)
class FilterGroup:
    """The filters of one layer and everything that has one entry per filter.

    name: dotted name of the layer. readers: layers whose inputs these filters are; one behind a flatten has
    H*W inputs per filter, next to each other (torch flattens C, H, W).
    """

    name: str
    layer: WeightLayer
    norms: tuple[Norm, ...]
    signs: tuple[Sign, ...]
    readers: tuple[Reader, ...]

    @property
    def filters(self) -> int:
        return self.layer.weight.shape[0]

    def kept(self) -> Tensor:
        """Bool (filters,): which filters the masks keep. PRUNING error when signs of one layer disagree."""
        masks = [sign.channel_mask != 0 for sign in self.signs]
        if any(not torch.equal(mask, masks[0]) for mask in masks):
            raise PicobnnError(
                ErrorId.PRUNING, "the signs behind one layer have different masks.", where=self.name,
                remedy="Set masks with trainer.pruning.set_masks.",
            )  # fmt: skip
        return masks[0]


def find_filters(model: nn.Module) -> tuple[FilterGroup, ...]:
    """The filter groups in execution order; PRUNING error when there are none.

    Raises UNSUPPORTED_LAYER when a module that is no batch norm, pool, flatten, sign or picobnn layer follows one.
    """
    read = trace(model)
    groups = []
    for call in read.calls:
        if isinstance(call.module, WeightLayer):
            found = _Walk(read)
            found.follow(call)
            if not found.is_output:
                groups.append(
                    FilterGroup(call.path, call.module, tuple(found.norms), tuple(found.signs), tuple(found.readers))
                )
    if not groups:
        raise PicobnnError(
            ErrorId.PRUNING, "the network has no filters to remove.", where=type(model).__name__,
            remedy="Filters are outputs of binary layers with a Sign and another binary layer behind them.",
        )  # fmt: skip
    return tuple(groups)


class _Walk:
    """Everything behind one layer, up to the layers that read its signs."""

    def __init__(self, read: Trace) -> None:
        self._read = read
        self.norms: list[Norm] = []
        self.signs: list[Sign] = []
        self.readers: list[Reader] = []
        self.is_output = False

    def follow(self, call: Call) -> None:
        self.is_output |= call.name == self._read.result
        for reader in self._read.readers(call.name):
            module = reader.module
            if isinstance(module, Reader):
                self.readers.append(module)
                continue
            if isinstance(module, Norm):
                self.norms.append(module)
            elif isinstance(module, Sign):
                self.signs.append(module)
            elif not isinstance(module, nn.MaxPool2d | nn.Flatten | LogitScale):
                raise PicobnnError(
                    ErrorId.UNSUPPORTED_LAYER, f"pruning cannot see through {type(module).__name__}.",
                    where=reader.path, remedy="Between layers use BatchNorm, MaxPool2d, Sign and Flatten.",
                )  # fmt: skip
            self.follow(reader)


def count_macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of one image: weights times positions, border included. image: (1, C, H, W)."""
    macs = 0

    def add(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal macs
        assert isinstance(layer, WeightLayer)
        macs += layer.weight.numel() * output[0, 0].numel()

    hooks = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, WeightLayer)]
    try:
        with evaluating(model), torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return macs
