# SPDX-License-Identifier: Apache-2.0
"""Remove filters by masks: the channel is 0 after its sign, and so is its padding in every layer that reads it.

Invariant: a masked network computes in eval mode exactly what ``compaction.compact`` makes of it. Called by the
pruning methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.pruning.structure import FilterGroup, Reader, find_filters


def set_masks(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Keep the filters where ``kept[layer]`` (bool, one per filter) is true; layers not named keep all.

    Masks replace earlier ones. PRUNING error for a layer without filters, a mask of the wrong size, or one that
    keeps nothing.
    """
    groups = {group.name: group for group in find_filters(model)}
    for name, mask in kept.items():
        group = groups.get(name)
        if group is None or mask.shape != (group.filters,) or not bool(mask.any()):
            what = (
                f"{name} has no filters to remove; layers with filters are {', '.join(groups)}."
                if group is None
                else f"a mask of shape {tuple(mask.shape)} keeps {int(mask.sum())} of {group.filters} filters."
            )
            raise PicobnnError(
                ErrorId.PRUNING, what, where=name, remedy="Give one flag per filter and keep at least one."
            )
    every = {name: torch.ones(group.filters, dtype=torch.bool) for name, group in groups.items()}
    write_masks(tuple(groups.values()), {**every, **kept})


def write_masks(groups: Sequence[FilterGroup], kept: Mapping[str, Tensor]) -> None:
    """:func:`set_masks` for groups already found, with a right mask for each: cheap enough for every step."""
    for group in groups:
        mask = kept[group.name]
        for sign in group.signs:
            sign.channel_mask.copy_(mask)
        for reader in group.readers:
            reader.input_mask.copy_(spread_to_inputs(group, reader, mask))


def spread_to_inputs(group: FilterGroup, reader: Reader, mask: Tensor) -> Tensor:
    """The mask of a reader's inputs: itself for a convolution, each entry H*W times behind a flatten."""
    return mask.repeat_interleave(reader.weight.shape[1] // group.filters)
