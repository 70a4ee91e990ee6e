# SPDX-License-Identifier: Apache-2.0
"""Binary convolution: bits in, bits (or logits) out.

Meaning: ``acc[y, x, o] = sum over ky, kx, i of x[y*s + ky, x*s + kx, g*I + i] * w[o, ky, kx, i]``, x = +-1, w one of
the domain's two values, or 0 where the tap is removed; I channels per group, g the group of o.
Shape: (N, H, W, C) 0/1 -> (N, H', W', O).
Integer semantics: ``acc = 2**shift * sum(x where u=1) + ratio * sum(x)`` over the kept taps;
outside the map x is -1 (``MINUS_ONE``) or the tap is left out (``ZERO``).
C counterpart: strategy ``xnor``. Cost: one xnor and popcount per 32 channels of a tap.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep
from picobnn.codegen.vocabulary import PadMode
from picobnn.sim.reference._epilogue import finish
from picobnn.sim.reference._windows import convolve, pad_map, signs, weight_values


def run_binary_conv2d(
    step: BinaryConv2dStep, bits: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
    """Bits or logits of a batch of maps (N, H, W, C) of 0/1."""
    outside = -1.0 if step.pad_mode is PadMode.MINUS_ONE else 0.0
    padded = pad_map(signs(bits), step.window, outside)
    weights = weight_values(step.weights, step.kept, step.domain)
    parts = zip(np.split(padded, step.groups, axis=3), np.split(weights, step.groups), strict=True)
    accumulators = np.concatenate([convolve(part, filters, step.window) for part, filters in parts], axis=3)
    return finish(accumulators, step.pool, step.epilogue)
