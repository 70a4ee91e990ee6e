# SPDX-License-Identifier: Apache-2.0
"""Answers of devices and servers that nobody expected end in a named error with a remedy, never in a traceback."""

from __future__ import annotations

import http.client
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest

from picobnn.errors import ErrorId, PicobnnError
from picobnn.harness import fake
from picobnn.harness.fake import FakeDevice, FakeModel
from picobnn.harness.protocol import MINIMUM_PAYLOAD, InfoKind, TensorId
from picobnn.harness.session import Session
from picobnn.trainer.data import fetch_dataset, fmnist
from tests.support.stub_model import IMAGE_BYTES, MODEL_HASH, stub_steps

MODEL = FakeModel(IMAGE_BYTES, (256, 16), stub_steps, MODEL_HASH)


def session_that_hears(monkeypatch: pytest.MonkeyPatch, message: str, field: str, value: int) -> Session:
    """A session whose device puts ``value`` into ``field`` of ``message``."""
    pack = fake.pack_message

    def packed(name: str, **values: int | bytes) -> bytes:
        return pack(name, **({**values, field: value} if name == message else values))

    monkeypatch.setattr(fake, "pack_message", packed)
    device = FakeDevice(MODEL)
    return Session(device, where="fake", clock=device.clock)


CASES: list[tuple[str, str, int, Callable[[Session], object]]] = [
    ("hello_reply", "timer_kind", 200, Session.connect),
    ("hello_reply", "reset_cause", 77, Session.connect),
    ("hello_reply", "max_payload", 16, Session.connect),
    ("hello_reply", "max_payload", 0, Session.connect),
    ("info_reply", "element", 9, lambda session: session.info(InfoKind.TENSOR, TensorId.IMAGE)),
    ("info_reply", "layout", 9, lambda session: session.info(InfoKind.STEP, 0)),
    ("stat_reply", "timer_kind", 9, Session.stat),
]


def use(session: Session, ask: Callable[[Session], object]) -> None:
    session.connect()
    session.upload(bytes(IMAGE_BYTES))
    session.run()
    ask(session)


@pytest.mark.parametrize(("message", "field", "value", "ask"), CASES)
def test_values_outside_the_protocol(
    message: str, field: str, value: int, ask: Callable[[Session], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_that_hears(monkeypatch, message, field, value)
    with pytest.raises(PicobnnError) as caught:
        use(session, ask)
    assert caught.value.error_id is ErrorId.PROTOCOL
    assert str(value) in caught.value.what
    assert caught.value.remedy


def test_the_least_payload_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_that_hears(monkeypatch, "hello_reply", "max_payload", MINIMUM_PAYLOAD)
    session.connect()
    assert len(session.layers_requests()) == 2


class _BrokenAnswer:
    """A server's answer that ends in an error when it is read."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __enter__(self) -> _BrokenAnswer:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def read(self) -> bytes:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        http.client.IncompleteRead(b"half"),
        http.client.RemoteDisconnected("gone"),
        ConnectionResetError(104, "reset"),
        TimeoutError(),
        urllib.error.URLError("no network"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_download_that_breaks_off_leaves_nothing(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fmnist.urllib.request, "urlopen", lambda *_, **__: _BrokenAnswer(error))
    with pytest.raises(PicobnnError) as caught:
        fetch_dataset("fmnist", tmp_path / "data")
    assert caught.value.error_id is ErrorId.DATA_MISSING
    assert "failed: ." not in caught.value.what
    assert list((tmp_path / "data").iterdir()) == []


def test_data_cannot_go_below_a_file(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    for folder in (blocker, blocker / "data"):
        with pytest.raises(PicobnnError) as caught:
            fetch_dataset("fmnist", folder)
        assert caught.value.error_id is ErrorId.FILE_UNWRITABLE
    assert list(tmp_path.iterdir()) == [blocker]
