# SPDX-License-Identifier: Apache-2.0
"""Places buffers by their lifetimes into one static arena.

Invariant: two requests that are alive during a common step never share a byte; for a chain of steps (every tensor
is read by the step right behind its writer) the arena is as small as any arena can be, see :func:`lower_bound`.
Called by ``select.py``; a pure function of the intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from picobnn.errors import ErrorId, PicobnnError

ALIGNMENT = 4


@dataclass(frozen=True, slots=True)
class Request:
    """``size_bytes`` of arena, alive from ``first_step`` to ``last_step``, both included. Scratch has one step."""

    size_bytes: int
    first_step: int
    last_step: int

    def meets(self, other: Request) -> bool:
        """Whether some step sees both alive."""
        return self.first_step <= other.last_step and other.first_step <= self.last_step


class Placement(NamedTuple):
    """Byte offsets in the order of the requests, and the size of the arena; all multiples of the alignment."""

    offsets: tuple[int, ...]
    arena_bytes: int


def place_buffers(requests: Sequence[Request], *, alignment: int = ALIGNMENT) -> Placement:
    """Offsets for all ``requests`` in one arena.

    Tries the lower bound from both ends of the arena (enough for every chain); otherwise takes the best of a few
    first-fit orders. Raises PLAN_INVALID for a negative size or a lifetime that ends before it begins.
    """
    for index, request in enumerate(requests):
        if request.size_bytes < 0 or not 0 <= request.first_step <= request.last_step:
            raise PicobnnError(
                ErrorId.PLAN_INVALID,
                f"bad size or lifetime ({request}).",
                where=f"arena request {index}",
                remedy="Report this: the planner made an impossible request.",
            )
    sized = [
        Request(_align(request.size_bytes, alignment), request.first_step, request.last_step) for request in requests
    ]
    offsets = _place_two_ended(sized, lower_bound(sized, alignment=alignment))
    if offsets is None:
        orders: tuple[Callable[[int], tuple[int, ...]], ...] = (
            lambda i: (-sized[i].size_bytes, sized[i].first_step, i),
            lambda i: (sized[i].first_step, -sized[i].size_bytes, i),
            lambda i: (sized[i].first_step - sized[i].last_step, -sized[i].size_bytes, i),
        )
        found = [_place_first_fit(sized, sorted(range(len(sized)), key=order)) for order in orders]
        offsets = min(found, key=lambda candidate: _extent(sized, candidate))
    return Placement(tuple(offsets), _extent(sized, offsets))


def lower_bound(requests: Sequence[Request], *, alignment: int = ALIGNMENT) -> int:
    """The largest sum of aligned sizes alive in one step: no arena can be smaller."""

    def alive_bytes(step: int) -> int:
        return sum(_align(r.size_bytes, alignment) for r in requests if r.first_step <= step <= r.last_step)

    return max((alive_bytes(request.first_step) for request in requests), default=0)


def _align(size_bytes: int, alignment: int) -> int:
    return -(-size_bytes // alignment) * alignment


def _extent(requests: Sequence[Request], offsets: Sequence[int]) -> int:
    return max((offset + request.size_bytes for request, offset in zip(requests, offsets, strict=True)), default=0)


def _gaps(requests: Sequence[Request], placed: dict[int, int], index: int, arena_bytes: int) -> list[tuple[int, int]]:
    """Free (begin, end) ranges, in ascending order, that request ``index`` may use below ``arena_bytes``."""
    taken = sorted(
        (offset, offset + requests[other].size_bytes)
        for other, offset in placed.items()
        if requests[other].meets(requests[index])
    )
    gaps, begin = [], 0
    for low, high in taken:
        if low > begin:
            gaps.append((begin, low))
        begin = max(begin, high)
    if arena_bytes >= begin:
        gaps.append((begin, arena_bytes))
    return gaps


def _place_two_ended(requests: Sequence[Request], arena_bytes: int) -> list[int] | None:
    """Alternate the buffers that outlive their first step between the two ends; the rest fills the middle.

    In a chain the input of a step then lies at one end and its output at the other, and what is left is one gap.
    """
    order = sorted(
        range(len(requests)), key=lambda i: (requests[i].first_step, requests[i].first_step == requests[i].last_step, i)
    )
    placed: dict[int, int] = {}
    at_bottom = True
    for index in order:
        size = requests[index].size_bytes
        fitting = [gap for gap in _gaps(requests, placed, index, arena_bytes) if gap[1] - gap[0] >= size]
        if not fitting:
            return None
        lasting = requests[index].last_step > requests[index].first_step
        placed[index] = fitting[0][0] if at_bottom or not lasting else fitting[-1][1] - size
        at_bottom ^= lasting
    return [placed[index] for index in range(len(requests))]


def _place_first_fit(requests: Sequence[Request], order: Sequence[int]) -> list[int]:
    ceiling = sum(request.size_bytes for request in requests)
    placed: dict[int, int] = {}
    for index in order:
        size = requests[index].size_bytes
        gaps = _gaps(requests, placed, index, ceiling)
        placed[index] = next(begin for begin, end in gaps if end - begin >= size)
    return [placed[index] for index in range(len(requests))]
