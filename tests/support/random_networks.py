# SPDX-License-Identifier: Apache-2.0
"""Small random torch networks and images, for property tests of export, pruning and the equality chain.

Covers what export accepts: odd shapes, strides, kernels 1 to 5, both pad modes, max pools in front of batch norm,
between batch norm and sign, and behind the sign, negative and zero batch-norm scales, statistics that put
accumulators exactly on the threshold, channel counts that are not multiples of 32, hidden dense layers, heads with
and without LogitScale. The same seed makes the same network. Called by the tests of the trainer and the simulator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from picobnn.codegen.ir import Shape
from picobnn.trainer.layers import BinaryConv2d, BinaryLinear, InputConv2d, LogitScale, PadMode, Sign


@dataclass(frozen=True, slots=True, eq=False)
class RandomNetwork:
    """A network in eval mode and the shape of its images (H, W, C)."""

    model: nn.Sequential
    input_shape: Shape


@dataclass(slots=True)
class _Map:
    height: int
    width: int
    channels: int


def random_network(
    seed: int, *, max_channels: int = 40, max_side: int = 14, max_convolutions: int = 3
) -> RandomNetwork:
    """A network of 1 to ``max_convolutions`` convolutions and 1 or 2 dense layers."""
    rng = np.random.default_rng(seed)
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    shape = Shape(int(rng.integers(3, max_side + 1)), int(rng.integers(3, max_side + 1)), int(rng.integers(1, 4)))
    size = _Map(shape.height, shape.width, shape.channels)
    layers: list[nn.Module] = []
    for number in range(int(rng.integers(1, max_convolutions + 1))):
        layers += _convolution(rng, size, int(rng.integers(1, max_channels + 1)), is_first=number == 0)
    layers.append(nn.Flatten())
    features = size.height * size.width * size.channels
    if rng.random() < 0.4:
        hidden = int(rng.integers(1, max_channels + 1))
        layers += [BinaryLinear(features, hidden), random_norm(nn.BatchNorm1d(hidden), rng, features), Sign(hidden)]
        features = hidden
    classes = int(rng.integers(1, 12))
    layers.append(BinaryLinear(features, classes))
    if rng.random() < 0.85:
        layers.append(LogitScale(classes))
        random_norm(layers[-1].norm, rng, features)
    torch.set_rng_state(generator_state)
    return RandomNetwork(nn.Sequential(*layers).eval(), shape)


def random_images(seed: int, shape: Shape, count: int) -> npt.NDArray[np.uint8]:
    """uint8 (N, H, W, C); one in four is made of 0 and 255 only."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, shape.height, shape.width, shape.channels), dtype=np.uint8)
    images[::4] = np.where(images[::4] > 127, 255, 0)
    return images


def random_norm(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, rng: np.random.Generator, spread: float
) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """Statistics and scales in place: a fifth of the scales negative, a tenth zero, half of the means integers."""
    count = norm.num_features
    scale = np.abs(rng.normal(1.0, 0.5, count)) + 0.01
    draw = rng.random(count)
    scale[draw < 0.3] *= -1
    scale[draw < 0.1] = 0
    mean = rng.normal(0, np.sqrt(spread) / 2, count)
    whole = rng.random(count) < 0.5
    mean[whole] = np.round(mean[whole])
    beta = rng.normal(0, 0.3, count)
    beta[rng.random(count) < 0.4] = 0
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(scale))
        norm.bias.copy_(torch.from_numpy(beta))
        norm.running_mean.copy_(torch.from_numpy(mean))
        norm.running_var.copy_(torch.from_numpy(rng.uniform(0.1, 1.0, count) * spread))
    return norm


def _convolution(rng: np.random.Generator, size: _Map, channels: int, *, is_first: bool) -> list[nn.Module]:
    kernel = int(rng.integers(1, min(5, size.height, size.width) + 1))
    padding = int(rng.integers(0, kernel // 2 + 1))
    stride = int(rng.integers(1, 3))
    spread = float(size.channels * kernel * kernel)
    if is_first:
        zero_point = int(rng.choice([0, 1, 127, 128, 255]))
        conv: nn.Module = InputConv2d(size.channels, channels, kernel, stride, padding, zero_point)
        spread *= 100.0**2
    else:
        pad_mode = PadMode.ZERO if rng.random() < 0.5 else PadMode.MINUS_ONE
        conv = BinaryConv2d(size.channels, channels, kernel, stride, padding, pad_mode)
    size.height = (size.height + 2 * padding - kernel) // stride + 1
    size.width = (size.width + 2 * padding - kernel) // stride + 1
    size.channels = channels
    stage = [conv, random_norm(nn.BatchNorm2d(channels), rng, spread), Sign(channels)]
    if rng.random() < 0.6 and min(size.height, size.width) >= 2:
        stage.insert(int(rng.integers(1, 4)), _pool(rng, size))
    return stage


def _pool(rng: np.random.Generator, size: _Map) -> nn.MaxPool2d:
    kernel = int(rng.integers(2, min(3, size.height, size.width) + 1))
    padding = int(rng.integers(0, kernel // 2 + 1))
    stride = int(rng.integers(1, 4))
    size.height = (size.height + 2 * padding - kernel) // stride + 1
    size.width = (size.width + 2 * padding - kernel) // stride + 1
    return nn.MaxPool2d(kernel, stride, padding)
