# SPDX-License-Identifier: Apache-2.0
"""Batch-norm statistics after a network has changed under them. Called by methods whose masks change activations."""

from __future__ import annotations

import torch
from torch import nn

from picobnn.trainer.pruning.structure import Norm
from picobnn.trainer.pruning.training import Batches


@torch.no_grad()
def reestimate_norms(model: nn.Module, batches: Batches) -> None:
    """Set the running statistics of every batch norm to the plain mean over ``batches``, in place.

    One pass in train mode, where every layer sees what the batch itself gives below it; weights and masks stay, each
    module's mode is put back. Batches of one image are left out: they have no variance.
    """
    norms = [module for module in model.modules() if isinstance(module, Norm)]
    momenta = [norm.momentum for norm in norms]
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: cumulative average
    try:
        model.train()
        for images, _ in batches:
            if len(images) > 1:
                model(images.to(device))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes.items():
            module.training = training
