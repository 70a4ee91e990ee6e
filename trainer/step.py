# SPDX-License-Identifier: Apache-2.0
"""One optimizer step, and how it is computed: number format and memory format.

Invariant: after a step every latent weight lies in [-1, +1]. Called by fit and, for timing, by throughput.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn

from picobnn.trainer.layers import BinaryWeightLayer


class Precision(Enum):
    """Number format of the training convolutions. Eval mode is always exact (float32 sums of integers)."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class MemoryFormat(Enum):
    """Order of an activation tensor in memory."""

    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels_last"

    @property
    def torch_format(self) -> torch.memory_format:
        return torch.channels_last if self is MemoryFormat.CHANNELS_LAST else torch.contiguous_format


@dataclass(frozen=True, slots=True)
class Execution:
    """How training steps are computed."""

    precision: Precision
    memory_format: MemoryFormat

    def __str__(self) -> str:
        return f"{self.precision.value}+{self.memory_format.value}"

    def prepare(self, model: nn.Module) -> None:
        """Bring the parameters of ``model`` into the memory format, in place; values do not change."""
        model.to(memory_format=self.memory_format.torch_format)  # type: ignore[call-overload]

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context a forward pass runs in."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision is Precision.BFLOAT16)

    def batch(self, images: Tensor) -> Tensor:
        """``images`` (N, C, H, W) in the memory format."""
        return images.contiguous(memory_format=self.memory_format.torch_format)


EXECUTIONS: tuple[Execution, ...] = tuple(Execution(p, m) for p in Precision for m in MemoryFormat)
"""All four combinations."""


Objective = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
"""What a step minimises: the network in train mode, images (N, C, H, W) uint8 and labels (N,) int64, all on one device,
to the loss (a scalar with its graph) and the float logits (N, classes) that the training accuracy is counted on. It
runs under the execution's autocast and computes losses in float32."""


def cross_entropy(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The objective of plain training."""
    logits = model(images).float()
    return nn.functional.cross_entropy(logits, labels), logits


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    execution: Execution,
    objective: Objective = cross_entropy,
) -> tuple[Tensor, Tensor]:
    """One optimizer step on a batch: objective, Adam, clip of latent weights. Returns loss and logits, detached.

    ``images`` (N, C, H, W) uint8, ``labels`` (N,) int64, both on the device of ``model``.
    """
    with execution.autocast(images.device):
        loss, logits = objective(model, execution.batch(images), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    clip_latent_weights(model)
    return loss.detach(), logits.detach()


@torch.no_grad()
def clip_latent_weights(model: nn.Module) -> None:
    """Clamp every latent weight to [-1, +1], in place: beyond, its gradient would be zero for good."""
    for layer in model.modules():
        if isinstance(layer, BinaryWeightLayer):
            layer.weight.clamp_(-1.0, 1.0)


def make_optimizer(model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """Adam over the parameters that ask for a gradient, without weight decay: decay of a latent weight changes only how
    easily a bit flips. A frozen parameter (``requires_grad_(False)``) keeps its value and has no state."""
    return torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=learning_rate, fused=True)
