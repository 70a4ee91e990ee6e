# SPDX-License-Identifier: Apache-2.0
"""What follows the accumulators of every step: max pool, threshold or scale. Shared by all op files.

Meaning: ``ACC`` pools accumulators, then ``bit = (max >= T) xor flip``. ``BIT`` writes the bits first and takes their
maximum. Pool padding never wins. ``logit = acc * m + b``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from picobnn.codegen.vocabulary import BitArray, Epilogue, Pool, PoolStage, Scale, Threshold
from picobnn.sim.reference._windows import Integers, window_views

LOWEST = np.iinfo(np.int64).min  # below every accumulator


def finish(
    accumulators: Integers, pool: Pool | None, epilogue: Epilogue
) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
    """Accumulators (N, H, W, O) -> bits uint8 (N, H', W', O), or int32 logits of the same shape."""
    if pool is not None and pool.stage is PoolStage.ACC:
        accumulators = np.asarray(max_pool(accumulators, pool, LOWEST), np.int64)
    if isinstance(epilogue, Scale):
        return apply_scale(accumulators, epilogue)
    bits = apply_threshold(accumulators, epilogue)
    if pool is not None and pool.stage is PoolStage.BIT:
        bits = np.asarray(max_pool(bits, pool, 0), np.uint8)
    return bits


def max_pool(values: npt.NDArray[np.generic], pool: Pool, lowest: int) -> npt.NDArray[np.generic]:
    """Max over each window; ``lowest`` fills the padding, so that it never wins."""
    window = pool.window
    sides = ((0, 0), (window.pad_top, window.pad_bottom), (window.pad_left, window.pad_right), (0, 0))
    padded = np.pad(values, sides, constant_values=lowest)
    pooled: npt.NDArray[np.generic] = window_views(padded, window).max(axis=(4, 5))
    return pooled


def apply_threshold(accumulators: Integers, threshold: Threshold) -> BitArray:
    """``(acc >= T) xor flip`` per channel, as uint8 0/1."""
    return (accumulators >= threshold.thresholds).astype(np.uint8) ^ threshold.flip


def apply_scale(accumulators: Integers, scale: Scale) -> npt.NDArray[np.int32]:
    """``acc * m + b`` per channel; a verified program stays inside int32."""
    logits = accumulators * scale.multiplier.astype(np.int64) + scale.bias.astype(np.int64)
    return logits.astype(np.int32)
