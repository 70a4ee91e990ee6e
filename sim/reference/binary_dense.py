# SPDX-License-Identifier: Apache-2.0
"""Binary dense layer over a whole map.

Meaning: ``acc[o] = sum over y, x, c of x[y, x, c] * w[o, y, x, c]``, x = +-1, w one of the domain's two values, or 0
where the tap is removed.
Shape: (N, H, W, C) 0/1 -> (N, 1, 1, O).
Integer semantics: no padding, no pool; weights lie in the order of the input tensor.
C counterpart: strategy ``xnor``. Cost: one xnor and popcount per 32 inputs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryDenseStep
from picobnn.sim.reference._epilogue import finish
from picobnn.sim.reference._windows import multiply_exactly, signs, weight_values


def run_binary_dense(
    step: BinaryDenseStep, bits: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
    """Bits or logits (N, 1, 1, O) of a batch of maps (N, H, W, C) of 0/1."""
    rows = signs(bits).reshape(len(bits), 1, 1, step.weights.size // len(step.weights))
    accumulators = multiply_exactly(rows, weight_values(step.weights, step.kept, step.domain))
    return finish(accumulators, None, step.epilogue)
