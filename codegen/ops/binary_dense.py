# SPDX-License-Identifier: Apache-2.0
"""Binary dense layer over a whole map.

Meaning: ``acc[o] = sum over y, x, c of input[y, x, c] * w[o, y, x, c]`` over the kept taps, input -1 or +1, w of the
domain's two values.
Shape: (H, W, C) bits -> (1, 1, O).
Integer semantics: no padding; with -1 and +1 over K = H * W * C inputs acc runs from -K to K in steps of 2.
C counterpart: strategy ``xnor`` for -1 and +1 with every tap kept, else ``xnor_general``; others are faster where they
accept (docs/kernel-selection.md).
Cost: O * H * W * ceil(C / 32) words; 1 bit of flash per weight, 2 with removed taps.
Reference: ``sim/reference/binary_dense.py``; docs/integer-semantics.md.
"""

from __future__ import annotations

from picobnn.codegen.ir import BinaryDense, Epilogue
from picobnn.codegen.program import BinaryDenseStep
from picobnn.codegen.rules import Subject, require_epilogue
from picobnn.errors import ErrorId


def verify(node: BinaryDense) -> Epilogue:
    """The node's epilogue. Raises GRAPH_INVALID when ``fuse_epilogue`` has left none."""
    return require_epilogue(Subject(ErrorId.GRAPH_INVALID, node.name), node.epilogue)


def lower(node: BinaryDense, reads: int, writes: int) -> BinaryDenseStep:
    """The step that reads tensor ``reads`` and writes tensor ``writes``."""
    return BinaryDenseStep(
        name=node.name,
        source=node.source,
        input=reads,
        output=writes,
        weights=node.weights,
        epilogue=verify(node),
        domain=node.domain,
        kept=node.kept,
    )
