# SPDX-License-Identifier: Apache-2.0
"""Run a block with a network in another mode and put every module back as it was.

Called by whatever looks at networks that others own: export, pruning, evaluation, the summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, each module's own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def probing(model: nn.Module) -> Iterator[None]:
    """Train mode inside, but batch norms leave their running statistics alone: a look at one batch changes nothing."""
    modes = {module: module.training for module in model.modules()}
    tracked = {module: module.track_running_stats for module in modes if isinstance(module, _BatchNorm)}
    model.train()
    for norm in tracked:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracks in tracked.items():
            norm.track_running_stats = tracks
        for module, training in modes.items():
            module.training = training
