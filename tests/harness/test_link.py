# SPDX-License-Identifier: Apache-2.0
"""Ports that are absent, busy, forbidden or go away: each is a named error, whatever pyserial raised."""

from __future__ import annotations

import errno
import os
import pty
import socket
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from picobnn.errors import ErrorId, PicobnnError
from picobnn.harness.fake import FakeDevice, FakeModel
from picobnn.harness.link import Link
from picobnn.harness.session import Session
from picobnn.harness.vectors import run_images
from tests.support.stub_model import IMAGE_BYTES, MODEL_HASH, stub_images, stub_steps


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A pseudo terminal: the device's end and the name that the host opens."""
    device, host = pty.openpty()
    tty.setraw(host)
    try:
        yield device, os.ttyname(host)
    finally:
        os.close(host)
        os.close(device)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def url_of(listener: socket.socket) -> str:
    return f"socket://127.0.0.1:{listener.getsockname()[1]}"


def test_an_absent_port_lists_what_is_there() -> None:
    with pytest.raises(PicobnnError, match=r"Ports that are there|No serial port is there") as error:
        Link("/dev/ttyACM99")
    assert error.value.error_id is ErrorId.PORT_MISSING
    assert error.value.exit_code == 3


def test_a_file_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PicobnnError) as error:
        Link(str(tmp_path / "file"))
    assert error.value.error_id is ErrorId.PORT_MISSING


def test_an_address_where_nothing_listens(server: socket.socket) -> None:
    url = url_of(server)
    server.close()
    with pytest.raises(PicobnnError, match="nothing answers") as error:
        Link(url)
    assert error.value.error_id is ErrorId.PORT_MISSING


def test_an_unknown_kind_of_url() -> None:
    with pytest.raises(PicobnnError, match="not a serial port") as error:
        Link("carrier://pigeon")
    assert error.value.error_id is ErrorId.USAGE


def test_a_busy_port(terminal: tuple[int, str]) -> None:
    link = Link(terminal[1])
    try:
        with pytest.raises(PicobnnError) as error:
            Link(terminal[1])
        assert error.value.error_id is ErrorId.PORT_BUSY
        assert error.value.exit_code == 5
    finally:
        link.close()


@pytest.mark.parametrize(
    ("number", "error_id"), [(errno.EACCES, ErrorId.PORT_PERMISSION), (errno.EBUSY, ErrorId.PORT_BUSY)]
)
def test_errors_of_the_system_are_told_apart(number: int, error_id: ErrorId, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(number, os.strerror(number))

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(PicobnnError) as error:
        Link("/dev/ttyUSB0")
    assert error.value.error_id is error_id


def test_bytes_go_both_ways(terminal: tuple[int, str]) -> None:
    link = Link(terminal[1])
    try:
        assert link.read(0.01) == b""
        os.write(terminal[0], b"\x00\x01\xffhello")
        assert link.read(1.0) == b"\x00\x01\xffhello"
        link.write(b"\x00back\x11\x13")
        assert os.read(terminal[0], 100) == b"\x00back\x11\x13"
    finally:
        link.close()


def test_a_connection_that_ends_is_told(server: socket.socket) -> None:
    link = Link(url_of(server))
    connection, _ = server.accept()
    assert connection is not None
    connection.close()
    with pytest.raises(PicobnnError) as error:
        link.read(1.0)
    assert error.value.error_id is ErrorId.DISCONNECTED
    assert error.value.exit_code == 14
    link.close()


def test_an_unplugged_terminal_is_told() -> None:
    device, host = pty.openpty()
    tty.setraw(host)
    link = Link(os.ttyname(host))
    os.close(host)
    os.close(device)
    with pytest.raises(PicobnnError) as error:
        link.read(1.0)
    assert error.value.error_id is ErrorId.DISCONNECTED
    link.close()


def test_delay_is_switched_off(server: socket.socket) -> None:
    link = Link(url_of(server))
    connection, _ = server.accept()
    with socket.socket(fileno=os.dup(link._port.fileno())) as mine:
        assert mine.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    link.close()
    connection.close()


def test_a_port_without_descriptor_is_polled() -> None:
    link = Link("loop://")
    assert link.read(0.01) == b""
    link.write(b"abc")
    assert link.read(1.0) == b"abc"
    link.close()


def serve(device: FakeDevice, descriptor: int) -> None:
    """Plays the fake device on a terminal until the host closes it."""
    try:
        while data := os.read(descriptor, 4096):
            device.write(data)
            os.write(descriptor, device.read(0.0))
    except OSError:
        return


def test_a_session_over_a_terminal() -> None:
    device, host = pty.openpty()
    tty.setraw(host)
    fake = FakeDevice(FakeModel(IMAGE_BYTES, (256, 16), stub_steps, MODEL_HASH))
    thread = threading.Thread(target=serve, args=(fake, device), daemon=True)
    thread.start()
    images = stub_images(3)
    with Session.open(os.ttyname(host)) as session:
        rows = run_images(session, images)
    assert [row.astype("<i4").tobytes() for row in rows] == [stub_steps(image.tobytes())[1] for image in images]
    os.close(host)
    thread.join(2.0)
    os.close(device)
    assert not thread.is_alive()


def test_a_dead_terminal_does_not_answer(terminal: tuple[int, str]) -> None:
    with pytest.raises(PicobnnError, match="nothing at all") as error:
        Session.open(terminal[1], patience=0.1)
    assert error.value.error_id is ErrorId.NO_ANSWER
    assert error.value.exit_code == 7
