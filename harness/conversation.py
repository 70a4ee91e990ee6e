# SPDX-License-Identifier: Apache-2.0
"""Requests and answers over a link: deadlines, retries, resynchronization. ``session.py`` adds the commands.

Every request ends in its own answer or in a PicobnnError. A request that got no answer, or whose frame the device
found damaged, is sent again with the same sequence number, so that the device executes it once; after that the
receiver is flushed and greeted anew. A device that has restarted meanwhile is told apart: it sends an event when it
starts, knows no session, and counts its starts. Answers that belong to another request are counted and dropped, never
taken.
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from picobnn.errors import ErrorId, PicobnnError
from picobnn.harness.frame import OVERHEAD_BYTES, Frame, FrameReader, encode_frame
from picobnn.harness.link import Transport
from picobnn.harness.protocol import (
    MINIMUM_PAYLOAD,
    PROTOCOL_MAJOR,
    PROTOCOL_MINOR,
    RESYNC_ZEROS,
    Capability,
    Command,
    FrameType,
    Hello,
    ResetCause,
    Status,
    TimerKind,
    pack_message,
    unpack_message,
)

_SENDS = 4
_BUDGET_S = 0.5
_LONG_S = 5.0
_SILENCE_S = 0.05
_EMULATED_PATIENCE = 10.0

Request = tuple[Command, bytes]
_Kind = TypeVar("_Kind", bound=IntEnum)


@dataclass(slots=True)
class LinkCounters:
    """What happened on the wire so far."""

    requests: int = 0
    resent: int = 0
    naks: int = 0
    stale: int = 0
    resyncs: int = 0


class Conversation:
    """One device, one request at a time (or several ahead, where its link loses nothing)."""

    def __init__(
        self,
        transport: Transport,
        *,
        where: str,
        baud: int = 115200,
        patience: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``patience`` multiplies every deadline but that of RUN; ``clock`` gives seconds."""
        self.where = where
        self.counters = LinkCounters()
        self._transport = transport
        self._baud = baud
        self._patience = patience
        self._clock = clock
        self._reader = FrameReader()
        self._arrived: list[Frame] = []
        self._heard_bytes = 0
        self._seq = 0
        self._session = 0
        self._hello: Hello | None = None

    @property
    def hello(self) -> Hello:
        """What the device said of itself at the last HELLO."""
        if self._hello is None:
            return self.connect()
        return self._hello

    def wait_for_start(self, timeout_s: float) -> bool:
        """Waits for the event that a device sends when it starts: earlier requests may be lost. True when it came."""
        deadline = self._clock() + timeout_s
        while (frame := self._next_frame(deadline)) is not None:
            if frame.type is FrameType.EVENT:
                return True
        return False

    def connect(self) -> Hello:
        """Says HELLO with a fresh nonce. Raises E_NO_ANSWER (nothing heard, or only text), E_LINK_NOISY (only damaged
        frames) or E_PROTOCOL (another protocol, or an answer that it does not allow)."""
        nonce = secrets.randbits(16) << 16 | (secrets.randbits(16) | 1)
        self._session = 0
        payload = pack_message("hello_request", nonce=nonce, major=PROTOCOL_MAJOR, minor=PROTOCOL_MINOR)
        self._transport.write(b"\x00" * 2)
        frame = self._try(Command.HELLO, payload, 0.0)
        if frame is None:
            raise self._no_answer("HELLO")
        self._check_status(frame)
        fields = self.fields("hello_reply", frame.payload)
        if fields["major"] != PROTOCOL_MAJOR:
            raise self._wrong_protocol(fields["major"])
        if fields["nonce"] != nonce:
            raise PicobnnError(
                ErrorId.PROTOCOL,
                "the answer to HELLO carries another nonce.",
                where=self.where,
                remedy="Make sure that nothing else talks on this port.",
            )
        if fields["max_payload"] < MINIMUM_PAYLOAD:
            raise self.malformed(f"HELLO, payloads of {fields['max_payload']} bytes; {MINIMUM_PAYLOAD} are the least")
        fields["capabilities"] = Capability(fields["capabilities"])
        fields["timer_kind"] = self.known(TimerKind, fields["timer_kind"])
        fields["reset_cause"] = self.known(ResetCause, fields["reset_cause"])
        self._session = nonce & 0xFFFF
        self._hello = Hello(**fields)
        return self._hello

    def request(self, command: Command, payload: bytes = b"", *, budget_s: float = 0.0) -> bytes:
        """The payload of the device's answer. ``budget_s`` is what the device may need beyond the usual half second;
        a request that may take long is sent once, then the device is greeted to see whether it is there.

        Raises E_NO_ANSWER, E_LINK_NOISY, E_DISCONNECTED, E_DEVICE_FAULT (an error status, or a restart), E_PROTOCOL.
        """
        if self._hello is None:
            self.connect()
        frame = self._try(command, payload, budget_s)
        if frame is None:
            self._resync()
            frame = self._try(command, payload, budget_s)
        if frame is None:
            raise self._no_answer(command.name)
        self._check_status(frame)
        return frame.payload

    def send_ahead(self, requests: Sequence[Request], *, budget_s: float = 0.0) -> list[bytes] | None:
        """The answers to ``requests``, which are sent without waiting where the device's link loses nothing.

        None when not every request was answered with OK: then nothing is known of the device but that it is still
        in session, and the caller repeats the work with :meth:`request`. Without flow control always None.
        """
        if Capability.FLOW_CONTROL not in self.hello.capabilities:
            return None
        frames = [self._new_request(command, payload) for command, payload in requests]
        wire = b"".join(encode_frame(frame) for frame in frames)
        self._transport.write(wire)
        self.counters.requests += len(frames)
        answers = []
        for frame in frames:
            deadline = self._deadline(len(wire), budget_s)
            answer = self._answer(frame, deadline)
            if answer is None or answer.status != Status.OK:
                self._drain()
                return None
            answers.append(answer.payload)
        return answers

    def _new_request(self, command: Command, payload: bytes) -> Frame:
        self._seq = (self._seq + 1) & 0xFF
        return Frame(FrameType.REQUEST, self._seq, command, 0, self._session, payload)

    def _deadline(self, wire_bytes: int, budget_s: float) -> float:
        emulated = self._hello is not None and Capability.EMULATED in self._hello.capabilities
        patience = max(self._patience, _EMULATED_PATIENCE) if emulated else self._patience
        answer_bytes = (self._hello.max_payload if self._hello is not None else 256) + OVERHEAD_BYTES
        on_wire_s = 10.0 * (wire_bytes + answer_bytes) / self._baud
        return self._clock() + patience * (1.5 * on_wire_s + _BUDGET_S) + budget_s

    def _try(self, command: Command, payload: bytes, budget_s: float) -> Frame | None:
        """Sends one request until it is answered, at most _SENDS times, always with one sequence number. Silence after
        a request that may take long ends the attempt: the device may be busy or gone, which only a greeting tells."""
        request = self._new_request(command, payload)
        wire = encode_frame(request)
        self.counters.requests += 1
        for attempt in range(_SENDS):
            if attempt:
                self.counters.resent += 1
            refused = self.counters.naks
            self._transport.write(wire)
            answer = self._answer(request, self._deadline(len(wire), budget_s))
            if answer is not None:
                return answer
            if budget_s > _LONG_S and self.counters.naks == refused:
                break
        return None

    def _answer(self, request: Frame, deadline: float) -> Frame | None:
        """The response to ``request``; None at the deadline and after a NAK."""
        while (frame := self._next_frame(deadline)) is not None:
            if frame.major != PROTOCOL_MAJOR:
                raise self._wrong_protocol(frame.major)
            if frame.type is FrameType.NAK:
                self.counters.naks += 1
                return None
            if frame.type is FrameType.EVENT and frame.session == 0 and self._session:
                raise self._restarted()
            if frame.type is not FrameType.RESPONSE or (frame.seq, frame.command) != (request.seq, request.command):
                self.counters.stale += 1
            elif request.command == Command.HELLO or frame.session == self._session:
                return frame
            elif frame.session == 0:
                raise self._restarted()
            else:
                self.counters.stale += 1
        return None

    def _next_frame(self, deadline: float) -> Frame | None:
        while not self._arrived:
            left = deadline - self._clock()
            if left <= 0:
                return None
            data = self._transport.read(left)
            self._heard_bytes += len(data)
            self._arrived += self._reader.feed(data)
        return self._arrived.pop(0)

    def _drain(self) -> None:
        """Drops everything until the line has been silent for a moment."""
        give_up = self._clock() + 2.0 * self._patience
        while self._transport.read(_SILENCE_S * self._patience) and self._clock() < give_up:
            pass
        self._arrived.clear()
        self._reader.reset()

    def _resync(self) -> None:
        boot_count = self.hello.boot_count
        self.counters.resyncs += 1
        self._transport.write(b"\x00" * RESYNC_ZEROS)
        self._drain()
        if self.connect().boot_count != boot_count:
            raise self._restarted()

    def _check_status(self, frame: Frame) -> None:
        if frame.status == Status.OK:
            return
        detail = struct.unpack_from("<I", frame.payload)[0] if len(frame.payload) >= 4 else 0
        status = Status(frame.status).name if frame.status in Status._value2member_map_ else str(frame.status)
        command = Command(frame.command).name if frame.command in Command._value2member_map_ else str(frame.command)
        error_id = ErrorId.PROTOCOL if frame.status == Status.UNSUPPORTED else ErrorId.DEVICE_FAULT
        raise PicobnnError(
            error_id,
            f"the device answered {command} with {status} (detail {detail}).",
            where=self.where,
            remedy=_STATUS_REMEDY.get(frame.status, "Run again; if it stays, build and flash the firmware again."),
        )

    def fields(self, message: str, payload: bytes) -> dict[str, Any]:
        try:
            return unpack_message(message, payload)
        except struct.error as error:
            raise self.malformed(message) from error

    def known(self, kind: type[_Kind], value: int) -> _Kind:
        """The member of ``kind`` with this value. Raises E_PROTOCOL when there is none."""
        try:
            return kind(value)
        except ValueError:
            raise self.malformed(f"{kind.__name__} {value}") from None

    def malformed(self, what: str) -> PicobnnError:
        return PicobnnError(
            ErrorId.PROTOCOL,
            f"the answer ({what}) is not what the protocol says.",
            where=self.where,
            remedy="Flash firmware that this version of picobnn built.",
        )

    def _wrong_protocol(self, major: int) -> PicobnnError:
        return PicobnnError(
            ErrorId.PROTOCOL,
            f"the device speaks protocol {major}, picobnn speaks {PROTOCOL_MAJOR}.",
            where=self.where,
            remedy="Flash firmware that this version of picobnn built.",
        )

    def _restarted(self) -> PicobnnError:
        self._hello, self._session = None, 0
        try:
            cause = self.connect().reset_cause.name.lower()
        except PicobnnError:
            cause = "unknown"
        return PicobnnError(
            ErrorId.DEVICE_FAULT,
            f"the device restarted during the session (cause: {cause}).",
            where=self.where,
            remedy="Check power and the model; a fault in the firmware restarts the board.",
        )

    def _no_answer(self, what: str) -> PicobnnError:
        if self._reader.damaged or self.counters.naks:
            return PicobnnError(
                ErrorId.LINK_NOISY,
                f"no undamaged answer to {what} ({self._reader.damaged} damaged, {self.counters.naks} refused frames).",
                where=self.where,
                remedy="Shorten the cable, lower the baud rate, or check that the baud rates agree.",
            )
        heard = f"only {self._heard_bytes} bytes that are no frames" if self._heard_bytes else "nothing at all"
        return PicobnnError(
            ErrorId.NO_ANSWER,
            f"no answer to {what}: {heard} arrived.",
            where=self.where,
            remedy="Check that picobnn firmware runs there (picobnn flash) and that port and baud rate are right.",
        )


_STATUS_REMEDY: dict[int, str] = {
    Status.SHAPE_MISMATCH: "Give images of the size that this model takes; detail is that size in bytes.",
    Status.UNSUPPORTED: "Flash firmware that this version of picobnn built.",
    Status.NOT_LOADED: "Upload an image before RUN, run before READ.",
    Status.MODEL_FAULT: "The model itself failed: detail is its status in the high and the step in the low half.",
}
