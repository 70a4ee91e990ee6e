# SPDX-License-Identifier: Apache-2.0
"""Frames: what goes in comes out, and nothing that was damaged does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.harness.frame import Frame, FrameReader, cobs_decode, cobs_encode, encode_frame
from picobnn.harness.protocol import FrameType

FRAMES = st.builds(
    Frame,
    type=st.sampled_from(FrameType),
    seq=st.integers(0, 255),
    command=st.integers(0, 255),
    status=st.integers(0, 255),
    session=st.integers(0, 65535),
    payload=st.binary(max_size=600),
    major=st.integers(0, 7),
)
SAMPLES = (
    Frame(FrameType.REQUEST, 1, 0x0C, 0, 0x1234, b""),
    Frame(FrameType.RESPONSE, 0, 9, 0, 0, bytes(40)),
    Frame(FrameType.RESPONSE, 255, 4, 5, 0xFFFF, bytes(range(1, 256)) * 2),
)
PING = SAMPLES[0]


@given(st.binary(max_size=1200))
@settings(max_examples=150, deadline=None)
def test_cobs_round_trip_has_no_zero(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert cobs_decode(encoded) == data
    assert len(encoded) <= len(data) + len(data) // 254 + 1


@pytest.mark.parametrize("size", [0, 1, 253, 254, 255, 508, 509])
def test_cobs_at_block_borders(size: int) -> None:
    for data in (b"\x01" * size, b"\x01" * size + b"\x00", b"\x00" + b"\x01" * size):
        assert cobs_decode(cobs_encode(data)) == data


@given(st.lists(FRAMES, max_size=5), st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_frames_survive_any_split_of_the_stream(frames: list[Frame], chunk: int) -> None:
    wire = b"".join(encode_frame(frame) for frame in frames)
    reader = FrameReader()
    parts = [wire[at : at + chunk] for at in range(0, len(wire), chunk)]
    assert [frame for part in parts for frame in reader.feed(part)] == frames
    assert (reader.damaged, reader.text) == (0, b"")


def read_then_ping(wire: bytes) -> tuple[list[Frame], list[Frame]]:
    """The frames in damaged bytes, and those in the two good frames that follow."""
    reader = FrameReader()
    return reader.feed(wire), reader.feed(encode_frame(PING) * 2)


@pytest.mark.parametrize("frame", SAMPLES, ids=("empty", "zeros", "long"))
def test_single_faults_never_give_another_frame(frame: Frame) -> None:
    wire = encode_frame(frame)
    faults = [wire[:at] + bytes([wire[at] ^ 1 << bit]) + wire[at + 1 :] for at in range(len(wire)) for bit in range(8)]
    faults += [wire[:at] + wire[at + 1 :] for at in range(len(wire))]
    faults += [wire[:at] + bytes([value]) + wire[at:] for at in range(len(wire) + 1) for value in (0, 1, 0x55, 255)]
    for faulty in faults:
        first, after = read_then_ping(faulty)
        assert first in ([], [frame])
        assert after[-1] == PING
        assert set(after) <= {PING, frame}


def test_text_between_frames_is_kept_and_not_read() -> None:
    reader = FrameReader()
    assert reader.feed(b"m-ready\r\n" + encode_frame(PING) + b"hello") == [PING]
    assert reader.text == b"m-ready\r\nhello"
    assert reader.damaged == 0


def test_empty_frames_are_no_frames() -> None:
    reader = FrameReader()
    assert reader.feed(bytes(64) + encode_frame(PING)) == [PING]
    assert reader.damaged == 0


def test_a_reset_forgets_what_began() -> None:
    reader = FrameReader()
    assert reader.feed(encode_frame(PING)[:-3]) == []
    reader.reset()
    assert reader.feed(encode_frame(PING)) == [PING]
