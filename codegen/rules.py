# SPDX-License-Identifier: Apache-2.0
"""Rules that graph nodes and program steps share: names, integers, shapes, windows, weights, epilogues.

Invariant: what passes here has exact Python integers, extents that fit any allocation made later, and arrays of the
promised dtype, shape and range. Called by ``ir.verify_graph`` and ``program.verify_program``, each with
its own error id.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from picobnn.codegen.vocabulary import (
    BitArray,
    Epilogue,
    Int32Array,
    Scale,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)
from picobnn.errors import ErrorId, PicobnnError

MAX_SIDE = 65535
MAX_ELEMENTS = 1 << 28
MAX_NAME = 200
MAX_SHIFT = 15
MAX_RATIO = 32767
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


@dataclass(frozen=True, slots=True)
class Subject:
    """What is being checked: the error id to raise and the node, step or tensor to name."""

    error_id: ErrorId
    where: str

    def fail(self, what: str, remedy: str) -> PicobnnError:
        return PicobnnError(self.error_id, what, where=self.where, remedy=remedy)


def check_name(subject: Subject, label: str, name: str, *, may_be_empty: bool = False) -> None:
    """Names are printable, one line, at most 200 characters."""
    if len(name) > MAX_NAME or not name.isprintable() or not (name or may_be_empty):
        raise subject.fail(
            f"the {label} {name[:40]!a} is empty, too long or not printable.",
            f"Use 1 to {MAX_NAME} printable characters.",
        )


def check_integer(subject: Subject, label: str, value: int, low: int, high: int) -> None:
    """``value`` is a Python int (numpy scalars and bools are not) from ``low`` to ``high``."""
    if type(value) is not int or not low <= value <= high:
        raise subject.fail(f"{label} is {value!r}, not an integer from {low} to {high}.", "Correct the value.")


def check_shape(subject: Subject, shape: Shape) -> None:
    """Sides and channels from 1 to 65535, at most 2**28 elements."""
    for label, value in (("height", shape.height), ("width", shape.width), ("channel count", shape.channels)):
        check_integer(subject, label, value, 1, MAX_SIDE)
    if shape.elements > MAX_ELEMENTS:
        raise subject.fail(f"the shape {shape} has more than {MAX_ELEMENTS} elements.", "Use a smaller map.")


def check_sliding(subject: Subject, window: Window, height: int, width: int, *, pooling: bool) -> tuple[int, int]:
    """Output rows and columns of ``window`` over a map. A pool window must touch the map: pads stay below its size."""
    for item in fields(window):
        low = 0 if item.name.startswith("pad") else 1
        check_integer(subject, f"window {item.name}", getattr(window, item.name), low, MAX_SIDE)
    if pooling and (
        max(window.pad_top, window.pad_bottom) >= window.height
        or max(window.pad_left, window.pad_right) >= window.width
    ):
        raise subject.fail(f"pool padding is as large as the pool window ({window}).", "Pad by less than the window.")
    rows, columns = window.output_size(height, width)
    if not (1 <= rows <= MAX_SIDE and 1 <= columns <= MAX_SIDE):
        raise subject.fail(
            f"a {window.height}x{window.width} window over a {height}x{width} map gives {rows}x{columns} outputs.",
            "Use a smaller window, more padding or a larger map.",
        )
    return rows, columns


def check_bits(subject: Subject, label: str, bits: object, extent: tuple[int, ...]) -> None:
    """uint8 array of shape ``extent`` that holds only 0 and 1."""
    if not isinstance(bits, np.ndarray) or bits.dtype != np.uint8 or bits.shape != extent:
        raise subject.fail(f"{label} are {_describe(bits)}, expected uint8 {extent}.", "Correct the array.")
    if bits.size and bits.max() > 1:
        raise subject.fail(f"{label} hold {bits.max()}, expected only 0 and 1.", "Store +1 as 1 and -1 as 0.")


def check_int32(subject: Subject, label: str, values: object, extent: tuple[int, ...]) -> None:
    """int32 array of shape ``extent``."""
    if not isinstance(values, np.ndarray) or values.dtype != np.int32 or values.shape != extent:
        raise subject.fail(f"{label} are {_describe(values)}, expected int32 {extent}.", "Correct the array.")


def check_weights(
    subject: Subject, weights: object, taps: tuple[int, int, int], kept: BitArray | None = None, groups: int = 1
) -> int:
    """Weights are 0/1 of shape (O, height, width, channels / groups) with O at least 1; returns O.

    ``taps`` are height, width, channels; groups divide channels and O. The mask of kept taps has the shape of the
    weights, which are 0 where it is 0.
    """
    outputs = weights.shape[0] if isinstance(weights, np.ndarray) and weights.ndim == 4 else 0
    check_integer(subject, "group count", groups, 1, MAX_SIDE)
    for label, count in (("input", taps[2]), ("output", outputs)):
        if count % groups:
            raise subject.fail(f"{groups} groups do not divide {count} {label} channels.", "Correct the group count.")
    extent = (max(outputs, 1), *taps[:2], taps[2] // groups)
    check_bits(subject, "weights", weights, extent)
    check_integer(subject, "output channel count", outputs, 1, MAX_SIDE)
    if kept is not None:
        check_bits(subject, "kept taps", kept, extent)
        if np.any(np.asarray(weights) > kept):
            raise subject.fail("a removed tap has a set weight bit.", "Clear the weight bits of removed taps.")
    return outputs


def check_epilogue(subject: Subject, epilogue: Epilogue, outputs: int) -> None:
    """Arrays of the epilogue hold one value per output channel."""
    match epilogue:
        case Threshold():
            check_int32(subject, "thresholds", epilogue.thresholds, (outputs,))
            check_bits(subject, "flips", epilogue.flip, (outputs,))
        case Scale():
            check_int32(subject, "multipliers", epilogue.multiplier, (outputs,))
            check_int32(subject, "biases", epilogue.bias, (outputs,))


def require_epilogue(subject: Subject, epilogue: Epilogue | None) -> Epilogue:
    """A layer that becomes a step has an epilogue."""
    if epilogue is None:
        raise subject.fail("the layer has neither a threshold nor a scale.", "Run the pass fuse_epilogue first.")
    return epilogue


def check_scale_range(subject: Subject, scale: Scale, low: Int32Array, high: Int32Array) -> None:
    """``acc * m`` and ``acc * m + b`` fit int32 for every accumulator from ``low`` to ``high``, per channel."""
    multiplier = scale.multiplier.astype(np.int64)
    ends = np.stack([low * multiplier, high * multiplier])
    for label, values in (("acc * m", ends), ("acc * m + b", ends + scale.bias.astype(np.int64))):
        outside = (values < INT32_MIN) | (values > INT32_MAX)
        if outside.any():
            channel = int(outside.any(axis=0).argmax())
            raise subject.fail(
                f"{label} of channel {channel} reaches {values[:, channel].min()} to {values[:, channel].max()}, "
                "outside int32.",
                "Use a smaller multiplier or bias.",
            )


def check_domain(subject: Subject, domain: WeightDomain) -> None:
    """Shift from 0 to 15, ratio from -32768 to 32767: weight values fit 17 bits, sums over any map fit int64."""
    check_integer(subject, "weight shift", domain.shift, 0, MAX_SHIFT)
    check_integer(subject, "weight ratio", domain.ratio, -MAX_RATIO - 1, MAX_RATIO)


def _describe(values: object) -> str:
    return f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
