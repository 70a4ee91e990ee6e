# SPDX-License-Identifier: Apache-2.0
"""Frames of the serial protocol: ``00 | COBS(header, payload, CRC-32) | 00``.

A frame that was damaged on the way is never returned: the reader counts it and goes on at the next ``00``. Bytes
between frames are text and are kept for people. Used by both ends: ``session.py`` and ``fake.py``.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from picobnn.harness.protocol import PROTOCOL_MAJOR, FrameType, message_struct

_HEADER = message_struct("header")
_CRC = struct.Struct("<I")
_TEXT_LIMIT = 4096
OVERHEAD_BYTES = _HEADER.size + _CRC.size + 4
"""Wire bytes of a frame beyond its payload, for payloads of up to about 240 bytes; add 1 per further 254."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. ``command`` and ``status`` stay numbers: a newer device may send unknown ones."""

    type: FrameType
    seq: int
    command: int
    status: int
    session: int
    payload: bytes
    major: int = PROTOCOL_MAJOR


def cobs_encode(data: bytes) -> bytes:
    """``data`` without any 00, at most 1 byte in 254 longer plus one. No delimiters."""
    out = bytearray()
    blocks = data.split(b"\x00")
    for number, block in enumerate(blocks):
        at = 0
        while len(block) - at >= 254:
            out.append(255)
            out += block[at : at + 254]
            at += 254
        full_end = at == len(block) and at > 0
        if not (full_end and number == len(blocks) - 1):
            out.append(len(block) - at + 1)
            out += block[at:]
    return bytes(out)


def cobs_decode(body: bytes) -> bytes | None:
    """The data of an encoded body without delimiters; None when it is damaged."""
    out = bytearray()
    at = 0
    while at < len(body):
        code = body[at]
        block = body[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            return None
        out += block
        at += code
        if code != 255 and at < len(body):
            out.append(0)
    return bytes(out)


def encode_frame(frame: Frame) -> bytes:
    """The bytes of ``frame`` on the wire, delimiters included."""
    kind = frame.major << 5 | frame.type
    data = _HEADER.pack(kind, frame.seq, frame.command, frame.status, frame.session) + frame.payload
    return b"\x00" + cobs_encode(data + _CRC.pack(zlib.crc32(data))) + b"\x00"


def decode_frame(body: bytes) -> Frame | None:
    """The frame of a body between two 00; None when it is damaged."""
    data = cobs_decode(body)
    if data is None or len(data) < _HEADER.size + _CRC.size:
        return None
    data, crc = data[: -_CRC.size], data[-_CRC.size :]
    if _CRC.unpack(crc)[0] != zlib.crc32(data):
        return None
    kind, seq, command, status, session = _HEADER.unpack_from(data)
    if kind & 0x1F not in FrameType._value2member_map_:
        return None
    return Frame(FrameType(kind & 0x1F), seq, command, status, session, data[_HEADER.size :], kind >> 5)


class FrameReader:
    """Splits a byte stream into frames and text. A 00 opens a frame, the next 00 closes it, an empty frame stays open.

    ``damaged`` counts frames that were dropped; ``text`` holds the last bytes that stood outside frames.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self.text = b""
        self._inside = False
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The whole frames that end in ``data``, in order."""
        frames = []
        *ended, rest = data.split(b"\x00")
        for part in ended:
            self._pending += part
            frame = self._close()
            if frame is not None:
                frames.append(frame)
        self._pending += rest
        if not self._inside:
            self._keep_text()
        return frames

    def reset(self) -> None:
        """Forgets a frame that has begun."""
        self._inside = False
        self._pending.clear()

    def _keep_text(self) -> None:
        self.text = (self.text + bytes(self._pending))[-_TEXT_LIMIT:]
        self._pending.clear()

    def _close(self) -> Frame | None:
        if not self._inside:
            self._keep_text()
            self._inside = True
            return None
        if not self._pending:
            return None
        frame = decode_frame(bytes(self._pending))
        self._pending.clear()
        self._inside = False
        if frame is None:
            self.damaged += 1
        return frame
