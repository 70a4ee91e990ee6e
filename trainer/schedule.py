# SPDX-License-Identifier: Apache-2.0
"""The learning-rate schedule: linear warm-up, then half a cosine to zero. A pure function of the step; used by fit."""

from __future__ import annotations

import math


def learning_rate_at(step: int, total_steps: int, peak: float, warmup: float) -> float:
    """Learning rate of optimizer step ``step`` (0-based) of ``total_steps``.

    Rises linearly over the first ``warmup`` (a share, 0 to below 1) of the steps to ``peak``, which its last step has,
    then falls as half a cosine and would reach 0 one step after the end.
    """
    warmup_steps = int(warmup * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
