# SPDX-License-Identifier: Apache-2.0
"""Runs a network in eval mode over many images: integer logits, integer argmax, accuracy.

Results do not depend on the batch size. Called by fit, by export checks and by the flow.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from picobnn.trainer.modes import evaluating

BATCH = 512


def images_tensor(images: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 (N, H, W, C) images as an (N, C, H, W) uint8 tensor that shares their memory (channels-last)."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


@torch.no_grad()
def predict(model: nn.Module, images: npt.NDArray[np.uint8], batch_size: int = BATCH) -> Tensor:
    """Logits of eval mode, (N, classes) on the CPU: int32, or float32 for a float twin. The model's mode is kept."""
    device = next(model.parameters()).device
    with evaluating(model):
        return torch.cat([model(part.to(device)).cpu() for part in images_tensor(images).split(batch_size)])


def evaluate(
    model: nn.Module, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], batch_size: int = BATCH
) -> float:
    """Share of ``images``, uint8 (N, H, W, C), whose largest logit is the label's; ties go to the lower index."""
    classes = predict(model, images, batch_size).argmax(dim=1).numpy()
    return float((classes == labels).mean())
