# SPDX-License-Identifier: Apache-2.0
"""The commands of the serial protocol as typed methods, on top of ``conversation.py``.

``vectors.py`` runs images through a session, ``emulated.py`` opens one on an emulated board.
"""

from __future__ import annotations

import zlib
from types import TracebackType

from picobnn.errors import ErrorId, PicobnnError
from picobnn.harness.conversation import Conversation, Request
from picobnn.harness.link import Link
from picobnn.harness.protocol import (
    NO_STEP,
    Command,
    Element,
    InfoKind,
    LayerRow,
    RunFlag,
    RunReply,
    RunTimes,
    TensorId,
    TensorInfo,
    TensorLayout,
    TimerKind,
    message_struct,
    pack_message,
    unpack_message,
)

_RUN_S = 60.0
_SMALLEST_CHUNK = 32


class Session(Conversation):
    """Talks to one device. Use it as a context manager; :meth:`open` connects and greets."""

    @classmethod
    def open(cls, url: str, *, baud: int = 115200, patience: float = 1.0, start_wait_s: float = 0.0) -> Session:
        """Opens the port and says HELLO; where opening starts the device, ``start_wait_s`` is what that may take.
        Raises what Link and :meth:`connect` raise."""
        session = cls(Link(url, baud=baud), where=url, baud=baud, patience=patience)
        try:
            session.wait_for_start(start_wait_s)
            session.connect()
        except BaseException:
            session.close()
            raise
        return session

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the port. The device keeps its session until the next HELLO."""
        self._transport.close()

    def ping(self) -> int:
        """Damaged frames that the device has counted since its start."""
        return int(self.fields("ping_reply", self.request(Command.PING))["bad_frames"])

    def info(self, kind: InfoKind, index: int) -> TensorInfo:
        """A tensor of the model (index: TensorId.IMAGE or LOGITS), or the output of step ``index``."""
        payload = self.request(Command.INFO, pack_message("info_request", kind=kind, index=index))
        fields = self.fields("info_reply", payload)
        return TensorInfo(
            name=payload[message_struct("info_reply").size :].decode("utf-8", errors="replace"),
            element=self.known(Element, fields["element"]),
            layout=self.known(TensorLayout, fields["layout"]),
            height=fields["height"],
            width=fields["width"],
            channels=fields["channels"],
            size_bytes=fields["size_bytes"],
            macs=fields["macs"],
        )

    def upload_requests(self, image: bytes, chunk: int | None = None) -> list[Request]:
        """BEGIN, DATA ..., END that put ``image`` into the device, at most ``chunk`` bytes per frame."""
        transfer = self._seq
        head = message_struct("data_request").size
        chunk = max(1, min(chunk or 65535, self.hello.max_payload) - head)
        begin = pack_message(
            "begin_request", tensor=TensorId.IMAGE, transfer=transfer, total=len(image), crc=zlib.crc32(image)
        )
        requests: list[Request] = [(Command.BEGIN, begin)]
        for offset in range(0, len(image), chunk):
            data = pack_message("data_request", transfer=transfer, offset=offset) + image[offset : offset + chunk]
            requests.append((Command.DATA, data))
        requests.append((Command.END, pack_message("end_request", transfer=transfer)))
        return requests

    def upload(self, image: bytes) -> None:
        """Puts ``image`` into the device; the CRC-32 of its tensor memory is compared. On a noisy link the frames
        get smaller. Raises what :meth:`request` raises; E_DEVICE_FAULT when the size is not the model's."""
        chunk = self.hello.max_payload
        while True:
            before = self.counters.resent
            try:
                for command, payload in self.upload_requests(image, chunk):
                    self.request(command, payload)
                    if self.counters.resent - before > 2 and chunk > _SMALLEST_CHUNK:
                        break
                else:
                    return
            except PicobnnError as error:
                if error.error_id is not ErrorId.LINK_NOISY or chunk <= _SMALLEST_CHUNK:
                    raise
            chunk = max(_SMALLEST_CHUNK, chunk // 2)

    @staticmethod
    def run_request(
        *, warm_up: int = 0, repeats: int = 1, trace: bool = False, stop_after_step: int | None = None
    ) -> Request:
        """The RUN request of :meth:`run`."""
        return Command.RUN, pack_message(
            "run_request",
            warm_up=warm_up,
            flags=RunFlag.LAYER_TRACE if trace else RunFlag.NONE,
            repeats=repeats,
            stop_after_step=NO_STEP if stop_after_step is None else stop_after_step,
        )

    def run(
        self,
        *,
        warm_up: int = 0,
        repeats: int = 1,
        trace: bool = False,
        stop_after_step: int | None = None,
        timeout_s: float = _RUN_S,
    ) -> RunReply:
        """Runs the model on the uploaded image and waits for the end. ``trace`` takes time and CRC-32 of every step."""
        command, payload = self.run_request(
            warm_up=warm_up, repeats=repeats, trace=trace, stop_after_step=stop_after_step
        )
        fields = self.fields("run_reply", self.request(command, payload, budget_s=timeout_s))
        return RunReply(fields["repeats"], fields["steps_run"], bool(fields["stopped"]))

    def stat(self) -> RunTimes:
        """Ticks of the last RUN. They are latency only where ``timer_kind`` is DWT or SYSTICK."""
        fields = self.fields("stat_reply", self.request(Command.STAT))
        return RunTimes(
            timer_kind=self.known(TimerKind, fields["timer_kind"]),
            count=fields["count"],
            overhead=fields["overhead"],
            minimum=fields["minimum"],
            maximum=fields["maximum"],
            sum=fields["sum"],
        )

    def layers_requests(self) -> list[Request]:
        """The LAYERS requests that bring one row per step."""
        room = (self.hello.max_payload - message_struct("layers_reply").size) // message_struct("layer_row").size
        firsts = range(0, self.hello.step_count, room)
        return [(Command.LAYERS, pack_message("layers_request", first_step=first)) for first in firsts]

    def layer_rows(self, payload: bytes) -> list[LayerRow]:
        """The rows in an answer to LAYERS."""
        row = message_struct("layer_row")
        count = self.fields("layers_reply", payload)["rows"]
        body = payload[message_struct("layers_reply").size :]
        if count == 0 or len(body) != count * row.size:
            raise self.malformed("LAYERS")
        return [
            LayerRow(**unpack_message("layer_row", body[at : at + row.size])) for at in range(0, len(body), row.size)
        ]

    def layers(self) -> list[LayerRow]:
        """Ticks and CRC-32 of every step of the last traced RUN; count 0 for steps that it did not reach."""
        return [row for request in self.layers_requests() for row in self.layer_rows(self.request(*request))]

    def read_request(self, tensor: TensorId, offset: int, length: int) -> Request:
        """One READ request."""
        return Command.READ, pack_message("read_request", tensor=tensor, offset=offset, length=length)

    def read_bytes(self, payload: bytes) -> bytes:
        """The bytes in the answer to READ; their CRC-32 was taken where they lie in the device."""
        crc = self.fields("read_reply", payload)["crc"]
        data = payload[message_struct("read_reply").size :]
        if zlib.crc32(data) != crc:
            raise self.malformed("READ")
        return data

    def read(self, tensor: TensorId, size_bytes: int) -> bytes:
        """The first ``size_bytes`` bytes of ``tensor`` as stored."""
        data = b""
        most = self.hello.max_payload - message_struct("read_reply").size
        while len(data) < size_bytes:
            request = self.read_request(tensor, len(data), min(most, size_bytes - len(data)))
            data += self.read_bytes(self.request(*request))
        return data
