# SPDX-License-Identifier: Apache-2.0
"""Binary convolution: bits in, binary weights.

Meaning: ``acc[y, x, o] = sum over ky, kx, i of x * w[o, ky, kx, i]``, both -1 or +1.
Shape: (H, W, C) bits -> (H', W', O), behind the pool where there is one.
Integer semantics: outside the map x is -1 (``MINUS_ONE``) or the tap is left out (``ZERO``); over n taps inside,
acc has the parity of n, plus that of the padding taps under ``MINUS_ONE``.
C counterpart: strategy ``xnor``.
Cost: O * ky * kx * ceil(I / 32) words per pixel; 1 bit of flash per weight.
Reference: ``sim/reference/binary_conv2d.py``; docs/integer-semantics.md.
"""

from __future__ import annotations

from picobnn.codegen.ir import BinaryConv2d, Epilogue
from picobnn.codegen.program import BinaryConv2dStep
from picobnn.codegen.rules import Subject, check_supported, require_epilogue
from picobnn.errors import ErrorId


def verify(node: BinaryConv2d) -> Epilogue:
    """The node's epilogue. Raises GRAPH_INVALID when ``fuse_epilogue`` has left none, UNSUPPORTED_FEATURE for groups
    and for weight values other than -1 and +1."""
    subject = Subject(ErrorId.GRAPH_INVALID, node.name)
    check_supported(subject, node.domain, node.groups)
    return require_epilogue(subject, node.epilogue)


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
    )
