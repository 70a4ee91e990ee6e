# SPDX-License-Identifier: Apache-2.0
"""A network's filters as one vector of bits, 1 = keep: masks from bits, and counts that must hold.

Invariant: bits stand in the order of ``find_filters``, layer after layer. Called by ``state_pruning``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.pruning.masks import write_masks
from picobnn.trainer.pruning.quota import Quota
from picobnn.trainer.pruning.structure import find_filters


class FilterStates:
    """State vectors of one network: (D,) or (NS, D), one bit per kernel of every convolution, the first included, and
    per hidden dense unit (methods.md 2.2)."""

    def __init__(self, model: nn.Module) -> None:
        self.groups = find_filters(model)
        self.widths = tuple(group.filters for group in self.groups)

    @property
    def bits(self) -> int:
        return sum(self.widths)

    def sizes(self) -> Tensor:
        """Parameters each bit stands for, float64 (D,): the kernel and its scales and shifts."""
        return torch.cat(
            [
                torch.full((group.filters,), group.layer.weight[0].numel() + 2.0 * len(group.norms)).double()
                for group in self.groups
            ]
        )

    def split(self, state: Tensor) -> dict[str, Tensor]:
        """Bool masks per layer, as :func:`set_masks` takes them."""
        parts = (state > 0).split(self.widths)
        return {group.name: part for group, part in zip(self.groups, parts, strict=True)}

    def join(self, masks: Mapping[str, Tensor]) -> Tensor:
        """The state, float64 (D,), of masks for every layer."""
        return torch.cat([masks[group.name].double() for group in self.groups])

    def write(self, state: Tensor) -> None:
        """Put a state into the network as its masks. The state must keep a filter in every layer."""
        write_masks(self.groups, self.split(state))


Keep = Mapping[str, int] | int
"""Filters that stay, per layer or in all."""


class Allowed:
    """The states that may be tried: at least ``floors[i]`` filters in layer i, or exact counts.

    Calling it repairs states (NS, D): bits are set or cleared at random among those that may be, as few as possible
    (inferred; the release has no floor, and a strong optimizer then empties layers, methods.md 2.3).
    ``keep``: filters to keep, per layer or in all; None: any number.
    """

    def __init__(
        self,
        states: FilterStates,
        generator: torch.Generator,
        floors: Sequence[int],
        keep: Keep | None = None,
    ) -> None:
        self._widths = states.widths
        self._generator = generator
        self._floors = list(floors)
        self._exact = None if not isinstance(keep, Mapping) else [keep[group.name] for group in states.groups]
        self._total = keep if isinstance(keep, int) else None
        if self._exact is not None and any(
            not 1 <= count <= width for count, width in zip(self._exact, self._widths, strict=True)
        ):
            raise _impossible(f"layers of {self._widths} filters cannot keep {tuple(self._exact)}")
        if self._total is not None and not sum(self._floors) <= self._total <= states.bits:
            raise _impossible(f"{self._total} of {states.bits} filters cannot stay with floors of {tuple(floors)}")

    def __call__(self, states: Tensor) -> Tensor:
        # A set bit draws from [1, 2), a clear one from [0, 1): the largest draws are as many set bits as there are,
        # then clear ones, in random order.
        draws = states + torch.rand(states.shape, generator=self._generator, dtype=torch.float64)
        if self._exact is not None:
            parts = draws.split(self._widths, dim=1)
            return torch.cat([_largest(part, count) for part, count in zip(parts, self._exact, strict=True)], dim=1)
        parts = draws.split(self._widths, dim=1)
        needed = torch.cat([_largest(part, count) for part, count in zip(parts, self._floors, strict=True)], dim=1)
        if self._total is not None:
            return _largest(draws + 2 * needed, self._total)
        return torch.maximum(states, needed)


def kept_after(quota: Quota, states: FilterStates) -> Keep:
    """Filters that stay when ``quota`` is met: per layer, or in all."""
    if isinstance(quota.remove, int):
        return states.bits - quota.remove
    return {group.name: group.filters - quota.remove.get(group.name, 0) for group in states.groups}


def _largest(draws: Tensor, count: int) -> Tensor:
    return torch.zeros_like(draws).scatter_(1, draws.topk(count, dim=1).indices, 1.0)


def _impossible(what: str) -> PicobnnError:
    return PicobnnError(
        ErrorId.PRUNING, f"{what}.", where="filter states", remedy="Lower the rate or the floor, or keep more."
    )
