# SPDX-License-Identifier: Apache-2.0
"""The first layer: uint8 image, +-1 weights.

Meaning: ``acc[y, x, o] = sum over ky, kx, i of (q - zero_point) * w[o, ky, kx, i]``, w = +1 where the bit is set.
Shape: (N, H, W, C) uint8 -> (N, H', W', O).
Integer semantics: outside the image q is the zero point, so that the padding adds 0.
C counterpart: strategy ``direct``. Cost: one addition per tap.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import InputConv2dStep
from picobnn.sim.reference._epilogue import finish
from picobnn.sim.reference._windows import convolve, pad_map, signs


def run_input_conv2d(
    step: InputConv2dStep, images: npt.NDArray[np.uint8], zero_point: int
) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
    """Bits or logits of a batch of images (N, H, W, C); ``zero_point`` 0 to 255."""
    values = images.astype(np.float64) - float(zero_point)
    accumulators = convolve(pad_map(values, step.window, 0.0), signs(step.weights), step.window)
    return finish(accumulators, step.pool, step.epilogue)
