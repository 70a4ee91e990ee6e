# SPDX-License-Identifier: Apache-2.0
"""A device in this process: the protocol of the firmware, in Python, with faults on request.

It is the second, independent implementation of the device's side, so that the session can be tested without
firmware, and in virtual time: ``clock`` stands still but for reads that find nothing, which take their timeout.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from picobnn.harness.frame import Frame, FrameReader, encode_frame
from picobnn.harness.protocol import (
    NO_STEP,
    PROTOCOL_MAJOR,
    PROTOCOL_MINOR,
    Capability,
    Command,
    Element,
    FrameType,
    InfoKind,
    ResetCause,
    RunFlag,
    Status,
    TensorId,
    TensorLayout,
    TimerKind,
    message_struct,
    pack_message,
    unpack_message,
)

Mangle = Callable[[bytes], bytes]


def untouched(data: bytes) -> bytes:
    """The mangler that changes nothing."""
    return data


@dataclass(frozen=True, slots=True)
class FakeModel:
    """What the device runs: ``steps`` maps an image to the output of every step, as stored. Ticks are invented."""

    image_bytes: int
    step_bytes: tuple[int, ...]
    steps: Callable[[bytes], Sequence[bytes]]
    model_hash: bytes
    ticks: int = 1000


@dataclass(slots=True)
class Faults:
    """What goes wrong. ``to_device`` and ``to_host`` mangle bytes on the wire; ``status`` answers a command with an
    error; ``restart_at`` restarts the device instead of executing that command, once; ``silent`` never answers."""

    to_device: Mangle = untouched
    to_host: Mangle = untouched
    status: dict[Command, Status] = field(default_factory=dict)
    restart_at: Command | None = None
    silent: bool = False


class DeviceError(Exception):
    """An error status with its detail, on its way into a reply."""

    def __init__(self, status: Status, detail: int = 0) -> None:
        super().__init__(status.name)
        self.status = status
        self.detail = detail


class FakeDevice:
    """Implements Transport: give it to Session together with ``clock``."""

    def __init__(
        self,
        model: FakeModel,
        *,
        faults: Faults | None = None,
        build_id: bytes = bytes(20),
        max_payload: int = 256,
        capabilities: Capability = Capability.LAYER_TRACE | Capability.FLOW_CONTROL,
        major: int = PROTOCOL_MAJOR,
    ) -> None:
        self.model = model
        self.faults = faults or Faults()
        self.executed: list[Command] = []
        self.boot_count = 1
        self._build_id = build_id
        self._max_payload = max_payload
        self._capabilities = capabilities
        self._major = major
        self._time = 0.0
        self._outgoing = bytearray()
        self._reader = FrameReader()
        self._start()

    def _start(self) -> None:
        self._session = 0
        self._image = bytearray(self.model.image_bytes)
        self._loaded = False
        self._transfer: int | None = None
        self._expected_crc = 0
        self._contiguous = 0
        self._outputs: list[bytes] = []
        self._traced: list[int] = []
        self._repeats = 0
        self._last: tuple[Frame, bytes] | None = None
        self._emit(Frame(FrameType.EVENT, 0, 0, Status.OK, 0, pack_message("error_reply", detail=self.boot_count)))

    # -- Transport ------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Virtual seconds."""
        return self._time

    def read(self, timeout_s: float) -> bytes:
        """What the device has sent; when that is nothing, ``timeout_s`` pass."""
        if not self._outgoing:
            self._time += timeout_s
        data, self._outgoing = bytes(self._outgoing), bytearray()
        return data

    def write(self, data: bytes) -> None:
        """Bytes from the host; the device answers at once."""
        damaged = self._reader.damaged
        for frame in self._reader.feed(self.faults.to_device(data)):
            self._serve(frame)
        for _ in range(self._reader.damaged - damaged):
            detail = pack_message("error_reply", detail=self._reader.damaged)
            self._emit(Frame(FrameType.NAK, 0, 0, Status.BAD_CRC, self._session, detail))

    def close(self) -> None:
        """Nothing to close."""

    # -- the device -----------------------------------------------------------------------------------------------

    def say(self, text: bytes) -> None:
        """Puts raw bytes on the wire to the host."""
        self._outgoing += text

    def _emit(self, frame: Frame) -> None:
        if not self.faults.silent:
            self._outgoing += self.faults.to_host(encode_frame(frame))

    def _serve(self, request: Frame) -> None:
        if self.faults.restart_at == request.command:
            self.faults.restart_at = None
            self.boot_count += 1
            self._start()
            return
        if self._last is not None and self._last[0] == request:
            reply = self._last[1]
        else:
            reply = self._reply(request)
            self._last = (request, reply)
        if not self.faults.silent:
            self._outgoing += self.faults.to_host(reply)

    def _reply(self, request: Frame) -> bytes:
        status = Status.OK
        try:
            payload = self._execute(request)
        except DeviceError as error:
            status, payload = error.status, pack_message("error_reply", detail=error.detail)
        return encode_frame(
            Frame(FrameType.RESPONSE, request.seq, request.command, status, self._session, payload, self._major)
        )

    def _execute(self, request: Frame) -> bytes:
        if request.command != Command.HELLO and (self._session == 0 or request.session != self._session):
            raise DeviceError(Status.BAD_ARG, self._session)
        handlers: dict[int, Callable[[bytes], bytes]] = {
            Command.HELLO: self._hello,
            Command.INFO: self._info,
            Command.BEGIN: self._begin,
            Command.DATA: self._data,
            Command.END: self._end,
            Command.RUN: self._run,
            Command.STAT: self._stat,
            Command.LAYERS: self._layers,
            Command.READ: self._read,
            Command.PING: lambda _: pack_message("ping_reply", bad_frames=self._reader.damaged),
        }
        if request.command not in handlers:
            raise DeviceError(Status.UNSUPPORTED, request.command)
        command = Command(request.command)
        self.executed.append(command)
        if command in self.faults.status:
            raise DeviceError(self.faults.status[command], 7)
        return handlers[command](request.payload)

    def _hello(self, payload: bytes) -> bytes:
        nonce = unpack_message("hello_request", payload)["nonce"]
        self._session = nonce & 0xFFFF
        return pack_message(
            "hello_reply",
            nonce=nonce,
            major=self._major,
            minor=PROTOCOL_MINOR,
            capabilities=self._capabilities,
            max_payload=self._max_payload,
            rx_ring=0,
            baud=115200,
            cpuid=0x410CC200,
            clock_hz=16_000_000,
            timer_kind=TimerKind.NONE,
            reset_cause=ResetCause.COLD if self.boot_count == 1 else ResetCause.FAULT,
            step_count=len(self.model.step_bytes),
            boot_count=self.boot_count,
            build_id=self._build_id,
            model_hash=self.model.model_hash[:8],
        )

    def _info(self, payload: bytes) -> bytes:
        fields = unpack_message("info_request", payload)
        kind, index = fields["kind"], fields["index"]
        last = len(self.model.step_bytes) - 1
        if (kind, index) == (InfoKind.TENSOR, TensorId.IMAGE):
            size, element, layout = self.model.image_bytes, Element.UINT8, TensorLayout.HWC_BYTES
        elif (kind, index) == (InfoKind.TENSOR, TensorId.LOGITS) or (kind == InfoKind.STEP and index <= last):
            step = index if kind == InfoKind.STEP else last
            size, element, layout = self.model.step_bytes[step], Element.INT32, TensorLayout.HWC_INT32
        else:
            raise DeviceError(Status.NO_TENSOR, last + 1)
        reply = pack_message(
            "info_reply",
            kind=kind,
            index=index,
            element=element,
            layout=layout,
            height=1,
            width=1,
            channels=size,
            size_bytes=size,
            macs=0,
        )
        return reply + f"tensor{index}".encode()

    def _begin(self, payload: bytes) -> bytes:
        fields = unpack_message("begin_request", payload)
        if fields["tensor"] != TensorId.IMAGE:
            raise DeviceError(Status.NO_TENSOR, fields["tensor"])
        if fields["total"] != self.model.image_bytes:
            raise DeviceError(Status.SHAPE_MISMATCH, self.model.image_bytes)
        self._transfer, self._expected_crc = fields["transfer"], fields["crc"]
        self._contiguous, self._loaded = 0, False
        return pack_message("begin_reply", transfer=fields["transfer"])

    def _data(self, payload: bytes) -> bytes:
        fields = unpack_message("data_request", payload)
        data = payload[message_struct("data_request").size :]
        offset = fields["offset"]
        if fields["transfer"] != self._transfer:
            raise DeviceError(Status.BAD_ARG, self._transfer or 0)
        if offset > self._contiguous or offset + len(data) > self.model.image_bytes:
            raise DeviceError(Status.OUT_OF_RANGE, self._contiguous)
        self._image[offset : offset + len(data)] = data
        self._contiguous = max(self._contiguous, offset + len(data))
        return pack_message("data_reply", contiguous=self._contiguous)

    def _end(self, payload: bytes) -> bytes:
        if unpack_message("end_request", payload)["transfer"] != self._transfer:
            raise DeviceError(Status.BAD_ARG, self._transfer or 0)
        if self._contiguous != self.model.image_bytes:
            raise DeviceError(Status.OUT_OF_RANGE, self._contiguous)
        crc = zlib.crc32(self._image)
        self._transfer = None
        if crc != self._expected_crc:
            raise DeviceError(Status.BAD_CRC, crc)
        self._loaded = True
        return pack_message("end_reply", crc=crc)

    def _run(self, payload: bytes) -> bytes:
        fields = unpack_message("run_request", payload)
        stop = fields["stop_after_step"]
        steps = len(self.model.step_bytes)
        if not self._loaded:
            raise DeviceError(Status.NOT_LOADED)
        if fields["repeats"] == 0 or (stop != NO_STEP and stop >= steps):
            raise DeviceError(Status.BAD_ARG, steps)
        outputs = [bytes(output) for output in self.model.steps(bytes(self._image))]
        self._outputs = outputs if stop == NO_STEP else outputs[: stop + 1]
        self._repeats = fields["repeats"]
        traced = bool(fields["flags"] & RunFlag.LAYER_TRACE)
        self._traced = [zlib.crc32(output) for output in self._outputs] if traced else []
        return pack_message(
            "run_reply", repeats=self._repeats, steps_run=len(self._outputs), stopped=int(stop != NO_STEP)
        )

    def _stat(self, _payload: bytes) -> bytes:
        ticks = self.model.ticks
        return pack_message(
            "stat_reply",
            timer_kind=TimerKind.NONE,
            count=self._repeats,
            overhead=1,
            minimum=ticks,
            maximum=ticks,
            sum=ticks * self._repeats,
        )

    def _layers(self, payload: bytes) -> bytes:
        first = unpack_message("layers_request", payload)["first_step"]
        row_bytes = message_struct("layer_row").size
        room = (self._max_payload - message_struct("layers_reply").size) // row_bytes
        steps = range(first, min(len(self.model.step_bytes), first + room))
        rows = b""
        for step in steps:
            reached = step < len(self._traced)
            crc = self._traced[step] if reached else 0
            rows += pack_message("layer_row", count=int(reached), minimum=1, maximum=1, sum=1, crc=crc)
        return pack_message("layers_reply", first_step=first, rows=len(steps)) + rows

    def _read(self, payload: bytes) -> bytes:
        fields = unpack_message("read_request", payload)
        if fields["tensor"] == TensorId.IMAGE:
            data = bytes(self._image)
        elif fields["tensor"] not in (TensorId.LOGITS, TensorId.STEP_OUTPUT):
            raise DeviceError(Status.NO_TENSOR, fields["tensor"])
        elif not self._outputs or (
            fields["tensor"] == TensorId.LOGITS and len(self._outputs) != len(self.model.step_bytes)
        ):
            raise DeviceError(Status.NOT_LOADED)
        else:
            data = self._outputs[-1]
        offset, length = fields["offset"], fields["length"]
        if offset + length > len(data) or length > self._max_payload - message_struct("read_reply").size:
            raise DeviceError(Status.OUT_OF_RANGE, len(data))
        part = data[offset : offset + length]
        return pack_message("read_reply", crc=zlib.crc32(part)) + part
