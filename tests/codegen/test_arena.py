# SPDX-License-Identifier: Apache-2.0
"""Arena placement: nothing alive overlaps; chains reach the lower bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.arena import Request, lower_bound, place_buffers
from picobnn.errors import ErrorId, PicobnnError

sizes = st.integers(0, 500)


@st.composite
def chains(draw: st.DrawFn) -> list[Request]:
    """Image, one output and one scratch per step; the result lives to the end."""
    steps = draw(st.integers(1, 9))
    requests = [Request(draw(sizes), 0, 0)]
    for step in range(steps):
        requests.append(Request(draw(sizes), step, min(step + 1, steps - 1)))
        requests.append(Request(draw(sizes), step, step))
    return draw(st.permutations(requests))


@st.composite
def intervals(draw: st.DrawFn) -> list[Request]:
    firsts = draw(st.lists(st.integers(0, 8), max_size=14))
    return [Request(draw(sizes), first, first + draw(st.integers(0, 8))) for first in firsts]


def check_disjoint(requests: list[Request], offsets: tuple[int, ...], arena_bytes: int) -> None:
    for i, one in enumerate(requests):
        assert offsets[i] % 4 == 0
        assert offsets[i] + one.size_bytes <= arena_bytes
        for j in range(i):
            other = requests[j]
            if one.meets(other):
                apart = offsets[i] + one.size_bytes <= offsets[j] or offsets[j] + other.size_bytes <= offsets[i]
                assert apart or 0 in (one.size_bytes, other.size_bytes)


@settings(deadline=None, max_examples=300)
@given(chains())
def test_chain_peak_is_minimal(requests: list[Request]) -> None:
    offsets, arena_bytes = place_buffers(requests)
    check_disjoint(requests, offsets, arena_bytes)
    last = max(request.last_step for request in requests)
    peak = max(
        sum((r.size_bytes + 3) // 4 * 4 for r in requests if r.first_step <= step <= r.last_step)
        for step in range(last + 1)
    )
    assert arena_bytes == peak == lower_bound(requests)


@settings(deadline=None, max_examples=300)
@given(intervals())
def test_general_intervals_never_overlap(requests: list[Request]) -> None:
    offsets, arena_bytes = place_buffers(requests)
    check_disjoint(requests, offsets, arena_bytes)
    assert lower_bound(requests) <= arena_bytes <= sum((r.size_bytes + 3) // 4 * 4 for r in requests)
    assert place_buffers(requests) == (offsets, arena_bytes)


def test_no_request_needs_no_arena() -> None:
    assert place_buffers([]) == ((), 0)


@pytest.mark.parametrize("request_", [Request(-1, 0, 0), Request(4, 2, 1), Request(4, -1, 1)])
def test_impossible_request_is_refused(request_: Request) -> None:
    with pytest.raises(PicobnnError) as caught:
        place_buffers([request_])
    assert caught.value.error_id is ErrorId.PLAN_INVALID
