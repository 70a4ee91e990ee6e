# SPDX-License-Identifier: Apache-2.0
"""What export knows of a value between two modules: its shape, what its elements are, how far accumulators reach.

Invariant: a value with ``pending`` modules stands for their output, but the graph so far holds only the accumulators
in front of them; ``sign.py`` turns the pending modules into a threshold. Called by every exporter of this folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from picobnn.codegen.ir import PLUS_MINUS_ONE, Node, Shape, WeightDomain, Window
from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.layers import BinaryWeightLayer
from picobnn.trainer.trace import Call

Int64Array = npt.NDArray[np.int64]


class Kind(Enum):
    """What one element of a value is."""

    IMAGE = "the uint8 image"
    ACCUMULATORS = "accumulators"
    BITS = "bits"
    LOGITS = "logits"


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """The value ``name`` of the graph, and what torch has made of it since.

    low, high: (C,) reach of each channel's accumulators, empty for other kinds. pending: batch norms and max pools
    behind the accumulators, in order. map_shape: the map a flattened value came from (equal to ``shape`` otherwise).
    is_flat: torch sees (N, F), not (N, C, H, W).
    """

    name: str
    kind: Kind
    shape: Shape
    low: Int64Array
    high: Int64Array
    pending: tuple[Call, ...]
    map_shape: Shape
    is_flat: bool


Exporter = Callable[[Call, Value], tuple[tuple[Node, ...], Value]]
"""One module on one value: the nodes it adds to the graph, and the value behind it."""

_NONE: Int64Array = np.zeros(0, dtype=np.int64)


def make_value(name: str, kind: Kind, shape: Shape, *, is_flat: bool = False) -> Value:
    """A value without accumulators: the image, bits or logits."""
    return Value(name, kind, shape, _NONE, _NONE, (), shape, is_flat)


def make_accumulators(name: str, shape: Shape, low: Int64Array, high: Int64Array, *, is_flat: bool = False) -> Value:
    """Accumulators that lie in low[c] to high[c] in channel c."""
    return Value(name, Kind.ACCUMULATORS, shape, low, high, (), shape, is_flat)


def require_kind(call: Call, value: Value, kind: Kind) -> None:
    """UNSUPPORTED_FEATURE when a module stands where it cannot."""
    if value.kind is kind and not value.pending:
        return
    found = value.kind.value + (f" behind {value.pending[-1].path}" if value.pending else "")
    raise unsupported(call, f"reads {found}, it can only read {kind.value}", "Check the order of the modules.")


def unsupported(call: Call, what: str, remedy: str) -> PicobnnError:
    """UNSUPPORTED_FEATURE at a module: ``what`` continues the name of its type."""
    return PicobnnError(
        ErrorId.UNSUPPORTED_FEATURE, f"{type(call.module).__name__} {what}.", where=call.path, remedy=remedy
    )


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """torch's int-or-pair as (y, x)."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def make_window(kernel: int | tuple[int, ...], stride: int | tuple[int, ...], padding: int | tuple[int, ...]) -> Window:
    """A window with the same padding on both sides of each direction, as torch has it."""
    (height, width), (stride_y, stride_x), (pad_y, pad_x) = pair(kernel), pair(stride), pair(padding)
    return Window(height, width, stride_y, stride_x, pad_y, pad_x, pad_y, pad_x)


def slide(call: Call, window: Window, shape: Shape, channels: int) -> Shape:
    """The shape a window makes; UNSUPPORTED_FEATURE when it does not fit."""
    rows, columns = window.output_size(shape.height, shape.width)
    if rows < 1 or columns < 1:
        raise unsupported(
            call, f"has a window of {window.height}x{window.width} on a map of {shape}", "Pool less or pad more."
        )
    return Shape(rows, columns, channels)


def weight_signs(call: Call, weight: nn.Parameter) -> npt.NDArray[np.uint8]:
    """Latent weights as bits: 1 where >= 0. PRUNING error while a gate may still set filters to 0."""
    if isinstance(call.module, BinaryWeightLayer) and call.module.gate is not None:
        raise PicobnnError(
            ErrorId.PRUNING, f"{type(call.module).__name__} still has a gate.", where=call.path,
            remedy="Export what the pruning method's finish() returns.",
        )  # fmt: skip
    latent = weight.detach().cpu().numpy()
    if not np.isfinite(latent).all():
        raise PicobnnError(
            ErrorId.CHECKPOINT, "latent weights are not finite.", where=call.path,
            remedy="The checkpoint is damaged or training diverged: train again.",
        )  # fmt: skip
    return (latent >= 0).astype(np.uint8)


def weight_domain(layer: BinaryWeightLayer) -> WeightDomain:
    """What a weight bit stands for."""
    if layer.values is None:
        return PLUS_MINUS_ONE
    return WeightDomain(int(layer.values.shift), layer.values.ratio)


def binary_reach(bits: npt.NDArray[np.uint8], domain: WeightDomain) -> Int64Array:
    """Largest accumulator magnitude of each filter, int64 (O,): the sum of its weights' magnitudes."""
    ones = bits.reshape(len(bits), -1).sum(axis=1, dtype=np.int64)
    zeros = bits[0].size - ones
    result: Int64Array = ones * abs(2**domain.shift + domain.ratio) + zeros * abs(domain.ratio)
    return result


def require_unmasked(call: Call, mask: Tensor) -> None:
    """PRUNING error when a mask still removes channels: a bit has no third value."""
    removed = int((mask == 0).sum())
    if removed or not bool((mask == 1).all()):
        raise PicobnnError(
            ErrorId.PRUNING, f"{type(call.module).__name__} masks {removed} channels.", where=call.path,
            remedy="Compact the network first (trainer.pruning.compact).",
        )  # fmt: skip
