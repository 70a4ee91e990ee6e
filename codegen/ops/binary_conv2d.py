# SPDX-License-Identifier: Apache-2.0
"""Binary convolution: bits in, weights of two values, grouped or not, some taps removed or none.

Meaning: ``acc[y, x, o] = sum over ky, kx, i of x * w[o, ky, kx, i]`` over the kept taps, x -1 or +1, w of the domain's
two values, i over the channels of the group of o.
Shape: (H, W, C) bits -> (H', W', O), behind the pool where there is one.
Integer semantics: outside the map x is -1 (``MINUS_ONE``) or the tap is left out (``ZERO``).
C counterpart: strategy ``xnor`` for -1 and +1 without groups and removed taps, else ``xnor_general``; others are faster
where they accept (docs/kernel-selection.md).
Cost: O * ky * kx * ceil(I / 32) words per pixel; 1 bit of flash per weight, 2 with removed taps.
Reference: ``sim/reference/binary_conv2d.py``; docs/integer-semantics.md.
"""

from __future__ import annotations

from picobnn.codegen.ir import BinaryConv2d, Epilogue
from picobnn.codegen.program import BinaryConv2dStep
from picobnn.codegen.rules import Subject, require_epilogue
from picobnn.errors import ErrorId


def verify(node: BinaryConv2d) -> Epilogue:
    """The node's epilogue. Raises GRAPH_INVALID when ``fuse_epilogue`` has left none."""
    return require_epilogue(Subject(ErrorId.GRAPH_INVALID, node.name), node.epilogue)


def lower(node: BinaryConv2d, reads: int, writes: int) -> BinaryConv2dStep:
    """The step that reads tensor ``reads`` and writes tensor ``writes``."""
    return BinaryConv2dStep(
        name=node.name,
        source=node.source,
        input=reads,
        output=writes,
        weights=node.weights,
        window=node.window,
        pad_mode=node.pad_mode,
        pool=node.pool,
        epilogue=verify(node),
        domain=node.domain,
        groups=node.groups,
        kept=node.kept,
    )
