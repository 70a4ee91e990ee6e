# SPDX-License-Identifier: Apache-2.0
"""Run a block with a network in eval or train mode and put every module back as it was.

Called by whatever looks at networks that others own: export, pruning, evaluation, the summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


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
