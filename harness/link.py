# SPDX-License-Identifier: Apache-2.0
"""A serial port, by device name or any pyserial URL, as bytes in and bytes out.

The one place that knows pyserial's four families of exceptions: whatever the port does, callers meet a PicobnnError.
Nothing here knows frames.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Protocol

import serial
from serial.tools import list_ports

from picobnn.errors import ErrorId, PicobnnError

try:
    from termios import error as _termios_error
except ImportError:  # not a POSIX system
    _termios_error = OSError  # type: ignore[misc,assignment]

_READ_BYTES = 65536
_POLL_S = 0.001
_WRITE_TIMEOUT_S = 20.0


class Transport(Protocol):
    """What a session needs of a link. ``read`` returns at once when bytes are there, b"" after ``timeout_s``."""

    def read(self, timeout_s: float) -> bytes: ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


def _open_error(url: str, error: Exception) -> PicobnnError:
    number = getattr(error, "errno", None)
    text = str(error)
    if number == errno.EACCES or "Permission denied" in text:
        remedy = f"Join the group that owns it (often: sudo usermod -aG dialout $USER), log in again, or ls -l {url}."
        return PicobnnError(ErrorId.PORT_PERMISSION, "no permission to open the port.", where=url, remedy=remedy)
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        remedy = "Close the program that holds it (a terminal, ModemManager, another picobnn)."
        return PicobnnError(ErrorId.PORT_BUSY, "the port is in use.", where=url, remedy=remedy)
    if isinstance(error, ValueError):
        remedy = "Give a device such as /dev/ttyACM0 or a URL such as socket://127.0.0.1:7000."
        return PicobnnError(ErrorId.USAGE, f"not a serial port: {text}.", where=url, remedy=remedy)
    if "://" in url:
        remedy = "Start what listens there, or correct the address."
        return PicobnnError(
            ErrorId.PORT_MISSING, f"nothing answers at this address ({text}).", where=url, remedy=remedy
        )
    present = [port.device for port in list_ports.comports()]
    close = difflib.get_close_matches(url, present, n=len(present) or 1, cutoff=0.0)
    remedy = f"Ports that are there: {', '.join(close)}." if close else "No serial port is there: plug the board in."
    return PicobnnError(ErrorId.PORT_MISSING, f"the port cannot be opened ({text}).", where=url, remedy=remedy)


class Link:
    """An open port. Raises E_PORT_MISSING, E_PORT_BUSY, E_PORT_PERMISSION or E_USAGE (no such kind of URL) when it
    cannot be opened, E_DISCONNECTED when it goes away."""

    def __init__(self, url: str, *, baud: int = 115200) -> None:
        self.url = url
        try:
            self._port = serial.serial_for_url(
                url, baudrate=baud, timeout=0, write_timeout=_WRITE_TIMEOUT_S, exclusive=True
            )
        except (serial.SerialException, OSError, ValueError, _termios_error) as error:
            raise _open_error(url, error) from error
        self._descriptor = self._find_descriptor()
        self._send_at_once()

    def _find_descriptor(self) -> int | None:
        """What select waits on; None for ports without one (rfc2217, Windows)."""
        try:
            return int(self._port.fileno())
        except (AttributeError, OSError, TypeError, ValueError):
            return None

    def _send_at_once(self) -> None:
        """Switches Nagle's delay off where the port is a TCP connection: it costs 44 ms per request."""
        if self.url.startswith("socket://") and self._descriptor is not None:
            with socket.socket(fileno=os.dup(self._descriptor)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (serial.SerialException, OSError, _termios_error) as error:
            raise PicobnnError(
                ErrorId.DISCONNECTED,
                f"the connection was lost ({error}).",
                where=self.url,
                remedy="Check cable, power and whether the emulator still runs, then run again.",
            ) from error

    def read(self, timeout_s: float) -> bytes:
        """What has arrived; waits up to ``timeout_s`` for the first byte, then returns b""."""
        with self._guarded():
            if self._descriptor is not None:
                select.select([self._descriptor], [], [], max(0.0, timeout_s))
                return bytes(self._port.read(_READ_BYTES))
            give_up = time.monotonic() + timeout_s
            while not (data := bytes(self._port.read(_READ_BYTES))) and time.monotonic() < give_up:
                time.sleep(_POLL_S)
            return data

    def write(self, data: bytes) -> None:
        """Sends all of ``data``."""
        with self._guarded():
            self._port.write(data)

    def close(self) -> None:
        """Closes the port; never raises."""
        # pyserial forgets the socket of a lost connection without closing it.
        connection = getattr(self._port, "_socket", None)
        with contextlib.suppress(serial.SerialException, OSError, _termios_error):
            self._port.close()
        if isinstance(connection, socket.socket):
            connection.close()
