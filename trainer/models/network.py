# SPDX-License-Identifier: Apache-2.0
"""The shape all networks share: a chain of stages (conv, pool, batch norm, sign) and a dense output.

Pooling stands on the accumulators, in front of batch norm and sign: firmware then keeps the largest sum and compares
once. With ``float_twin`` the same chain is built with float weights and ReLU, to show what binarizing costs.
Called by the networks beside this file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.layers import BinaryConv2d, BinaryLinear, InputConv2d, LogitScale, Sign


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What rebuilds a network. ``widths``: filters of each convolution; ``zero_point``: 0..255 of the input;
    ``value_bits``: fractional bits of the two learned weight values of every layer between the first and the last,
    with ``value_head`` of the last too; None where weights are -1 and +1."""

    widths: tuple[int, ...]
    classes: int = 10
    zero_point: int = 128
    float_twin: bool = False
    value_bits: int | None = None
    value_head: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :func:`picobnn.trainer.models.build_model` takes them back."""
        return {**asdict(self), "widths": list(self.widths)}


class Network(nn.Module):
    """A chain of layers that knows its name and configuration.

    Shape: (N, C, H, W) uint8 image, ``input_shape`` = (C, H, W) -> (N, classes), float in train mode, int32 in eval
    mode.
    """

    model_name: ClassVar[str]
    input_shape: ClassVar[tuple[int, int, int]]

    def __init__(self, config: NetworkConfig, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(layers)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.layers(image)
        return result

    def learn_values(self, value_bits: int, *, head: bool = False) -> None:
        """Give every hidden binary layer two learned weight values (:class:`TwoValues`), in place; the last layer too
        with ``head``, or when it has some."""
        with_head = head or self.config.value_head
        for layer in _binary_layers(self) if with_head else hidden_layers(self):
            layer.learn_values(value_bits)
        self.config = replace(self.config, value_bits=value_bits, value_head=with_head)


def hidden_layers(model: nn.Module) -> tuple[BinaryConv2d | BinaryLinear, ...]:
    """The binary layers between bits and bits, in order of definition: not the first, which reads the image, and not
    the last, which makes the logits."""
    return _binary_layers(model)[:-1]


def valued_layers(model: nn.Module) -> tuple[BinaryConv2d | BinaryLinear, ...]:
    """The layers that a share of ones is about: the hidden ones, and the last where it has two learned values."""
    layers = _binary_layers(model)
    return layers if layers and layers[-1].values is not None else layers[:-1]


def _binary_layers(model: nn.Module) -> tuple[BinaryConv2d | BinaryLinear, ...]:
    return tuple(layer for layer in model.modules() if isinstance(layer, BinaryConv2d | BinaryLinear))


class Centre(nn.Module):
    """Float twin only: ``image - zero_point`` as float32."""

    def __init__(self, zero_point: int) -> None:
        super().__init__()
        self.zero_point = zero_point

    def forward(self, image: Tensor) -> Tensor:
        return image.to(torch.float32) - self.zero_point


def convolution_stages(config: NetworkConfig, in_channels: int, pools: Sequence[bool]) -> OrderedDict[str, nn.Module]:
    """Stages of 3x3 convolutions with padding 1; ``pools[i]`` puts a 2x2 max pool behind convolution i.

    Layers are named conv1, pool1, norm1, sign1, conv2 and so on. Raises BAD_INPUT unless there is one width per stage.
    """
    if len(config.widths) != len(pools) or min(config.widths) < 1:
        raise PicobnnError(
            ErrorId.BAD_INPUT,
            f"Widths {config.widths} do not fit a network of {len(pools)} convolutions.",
            where="network configuration",
            remedy=f"Give {len(pools)} positive numbers of filters.",
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if config.float_twin:
        layers["centre"] = Centre(config.zero_point)
    source = in_channels
    for number, (width, pool) in enumerate(zip(config.widths, pools, strict=True), start=1):
        if config.float_twin:
            layers[f"conv{number}"] = nn.Conv2d(source, width, 3, padding=1, bias=False)
        elif number == 1:
            layers["conv1"] = InputConv2d(source, width, 3, padding=1, zero_point=config.zero_point)
        else:
            layers[f"conv{number}"] = BinaryConv2d(source, width, 3, padding=1)
        if pool:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        layers[f"norm{number}"] = nn.BatchNorm2d(width)
        layers[f"sign{number}"] = nn.ReLU() if config.float_twin else Sign(width)
        source = width
    return layers


def dense_output(config: NetworkConfig, in_features: int) -> OrderedDict[str, nn.Module]:
    """Flatten, dense layer and logits: the end of every network."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["flatten"] = nn.Flatten()
    if config.float_twin:
        layers["dense"] = nn.Linear(in_features, config.classes)
    else:
        layers["dense"] = BinaryLinear(in_features, config.classes)
        layers["logits"] = LogitScale(config.classes)
    return layers
