# SPDX-License-Identifier: Apache-2.0
"""Batch norm and sign as one integer threshold per channel, found by running the modules themselves.

Invariant: for every integer a channel's accumulator can take, ``(acc >= T) xor flip`` is the bit that the given
modules make of it in eval mode on this machine; nothing is derived from a formula, because float batch norm at exact
ties disagrees with the textbook one in many channels. The modules see a feature map (or a batch of vectors) of
accumulators, as in the forward pass; torch's eval batch norm does not depend on position, map size or memory
format (``tests/trainer/test_export.py`` holds that). Called by ``trainer/export/sign.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from picobnn.codegen.ir import Threshold
from picobnn.errors import ErrorId, PicobnnError

_CHUNK_ELEMENTS = 1 << 22
_LARGEST_EXACT = 1 << 24  # float32 holds every integer up to here

Int64Array = npt.NDArray[np.int64]


def find_threshold(
    modules: Sequence[nn.Module], low: Int64Array, high: Int64Array, *, is_map: bool, where: str
) -> Threshold:
    """The threshold of each channel of ``modules`` (batch norms, then a sign), all in eval mode.

    low, high: (O,) smallest and largest accumulator of each channel. is_map: evaluate as (1, O, N, 1), else as
    (N, O). Raises NOT_MONOTONE when a channel's bit changes more than once over its range or is not a number, and
    UNSUPPORTED_FEATURE when float32 cannot hold the range.
    """
    largest = max(int(high.max()), -int(low.min()))
    if largest > _LARGEST_EXACT:
        raise PicobnnError(
            ErrorId.UNSUPPORTED_FEATURE, f"accumulators reach {largest}, float32 is exact to {_LARGEST_EXACT}.",
            where=where, remedy="Use fewer input channels or a smaller kernel.",
        )  # fmt: skip
    first = int(low.min())
    values = np.arange(first, int(high.max()) + 1, dtype=np.int64)
    bits = _evaluate(modules, values, len(low), is_map=is_map, where=where)
    # Outside its own range a channel repeats its border bit, so that only reachable values decide.
    index = np.clip(values[:, None], low[None, :], high[None, :]) - first
    bits = np.take_along_axis(bits, index, axis=0)
    changes = bits[1:] != bits[:-1]
    count = changes.sum(axis=0)
    if (count > 1).any():
        channel = int(np.flatnonzero(count > 1)[0])
        raise PicobnnError(
            ErrorId.NOT_MONOTONE, f"the bit of channel {channel} changes {int(count[channel])} times over accumulators "
            f"{int(low[channel])} to {int(high[channel])}.", where=where,
            remedy="Only monotone functions may stand between a layer and its sign.",
        )  # fmt: skip
    position = np.where(count == 1, changes.argmax(axis=0) + 1 + first if len(changes) else 0, low)
    return Threshold(position.astype(np.int32), np.uint8(1) - bits[-1])


def _evaluate(
    modules: Sequence[nn.Module], values: Int64Array, channels: int, *, is_map: bool, where: str
) -> npt.NDArray[np.uint8]:
    """The bit of every value (rows) in every channel (columns)."""
    rows = max(1, _CHUNK_ELEMENTS // channels)
    parts = []
    for start in range(0, len(values), rows):
        column = torch.from_numpy(values[start : start + rows]).float()
        x = column.view(1, 1, -1, 1).expand(1, channels, -1, 1) if is_map else column.view(-1, 1).expand(-1, channels)
        x = x.contiguous()
        with torch.no_grad():
            for module in modules:
                x = module(x)
                if not bool(torch.isfinite(x).all()):
                    raise PicobnnError(
                        ErrorId.NOT_MONOTONE, f"{type(module).__name__} makes values that are not finite.", where=where,
                        remedy="The checkpoint is damaged or training diverged: train again.",
                    )  # fmt: skip
        y = x[0, :, :, 0].t() if is_map else x
        parts.append((y > 0).to(torch.uint8).numpy())
    return np.concatenate(parts)
