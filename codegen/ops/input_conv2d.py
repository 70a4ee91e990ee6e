# SPDX-License-Identifier: Apache-2.0
"""The first layer: 8-bit image, binary weights.

Meaning: ``acc[y, x, o] = sum over ky, kx, i of (q - zero_point) * w[o, ky, kx, i]``, w = +1 where the bit is set.
Shape: image (H, W, C) u8 -> (H', W', O), behind the pool where there is one.
Integer semantics: outside the image q is the zero point, so that padding adds 0; a step of q changes acc by 1, so
every integer between the bounds is reachable.
C counterpart: strategy ``direct``.
Cost: O * ky * kx * I additions per pixel; 1 bit of flash per weight.
Reference: ``sim/reference/input_conv2d.py``; docs/integer-semantics.md.
"""

from __future__ import annotations

from picobnn.codegen.ir import Epilogue, InputConv2d
from picobnn.codegen.program import InputConv2dStep
from picobnn.codegen.rules import Subject, require_epilogue
from picobnn.errors import ErrorId


def verify(node: InputConv2d) -> Epilogue:
    """The node's epilogue. Raises GRAPH_INVALID when ``fuse_epilogue`` has left none."""
    return require_epilogue(Subject(ErrorId.GRAPH_INVALID, node.name), node.epilogue)


def lower(node: InputConv2d, reads: int, writes: int) -> InputConv2dStep:
    """The step that reads tensor ``reads`` and writes tensor ``writes``."""
    return InputConv2dStep(
        name=node.name,
        source=node.source,
        input=reads,
        output=writes,
        weights=node.weights,
        window=node.window,
        pool=node.pool,
        epilogue=verify(node),
    )
