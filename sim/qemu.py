# SPDX-License-Identifier: Apache-2.0
"""Plays a board: the real ELF on an emulated Cortex-M, reachable as a pyserial URL.

The listening socket of the serial port is made here and handed to QEMU, so that the port is known, taken and
listening before QEMU starts: no race for it, and a client may connect at once. QEMU holds the core until the client
is there, so no byte is lost. The process ends with the context manager, with the interpreter, or at its deadline,
whatever comes first.

The kernel ends it with the interpreter. To the kernel that means: with the thread that started it, so all emulators
are started by one thread that lives as long as the interpreter.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO

from picobnn.codegen.targets import Board, Emulator, board_ids, load_board
from picobnn.errors import ErrorId, PicobnnError
from picobnn.toolchain import find_tool, last_lines

_START_S = 10.0
_WAITING = b"waiting for connection"


@cache
def _starter(process_id: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """The thread that starts emulators, one per process: a forked child has none of its parent's threads."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="picobnn-emulators")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5.0)


class EmulatedBoard:
    """Runs ``elf`` on the emulator of ``board``. Use it as a context manager and connect to :attr:`url`.

    ``plugin`` is QEMU's ``-plugin`` argument. ``icount`` makes 1 instruction 1024 ns of virtual time, so that ticks
    of the emulated timer count instructions and repeat exactly. ``lifetime_s`` bounds the process in any case.
    """

    def __init__(
        self, board: Board, elf: Path, *, plugin: str | None = None, icount: bool = False, lifetime_s: float = 600.0
    ) -> None:
        self.board = board
        self.elf = elf
        self._plugin = plugin
        self._icount = icount
        self._lifetime_s = lifetime_s
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._finalizer: weakref.finalize[[subprocess.Popen[bytes]], EmulatedBoard] | None = None
        self._deadline: threading.Timer | None = None

    @property
    def url(self) -> str:
        """The serial port as a pyserial URL. Valid inside the context."""
        return f"socket://127.0.0.1:{self._port}"

    @property
    def process_id(self) -> int:
        """The emulator's process. Valid inside the context."""
        return self._process.pid if self._process is not None else 0

    @property
    def stderr(self) -> str:
        """What the emulator has said so far."""
        if self._stderr is None:
            return ""
        self._stderr.flush()
        return Path(self._stderr.name).read_text(encoding="utf-8", errors="replace")

    def _emulator(self) -> Emulator:
        if self.board.emulator is None:
            emulated = [name for name in board_ids() if load_board(name).emulator is not None]
            raise PicobnnError(
                ErrorId.EMULATOR_FAILED,
                "no emulator plays this board.",
                where=self.board.id,
                remedy=f"Choose one that is emulated: {', '.join(emulated)}.",
            )
        return self.board.emulator

    def _arguments(self, listener: socket.socket) -> list[str]:
        emulator = self._emulator()
        arguments = [str(find_tool("qemu-system-arm")), "-M", emulator.machine, "-nographic", "-monitor", "none"]
        arguments += ["-chardev", f"socket,id=serial,fd={listener.fileno()},server=on,wait=on,nodelay=on"]
        arguments += ["-serial", "chardev:serial", "-kernel", str(self.elf)]
        if self._icount:
            arguments += ["-icount", "shift=10"]
        if self._plugin is not None:
            arguments += ["-plugin", self._plugin]
        guard = shutil.which("setpriv")
        return [guard, "--pdeathsig", "KILL", "--", *arguments] if guard is not None else arguments

    def __enter__(self) -> EmulatedBoard:
        if not self.elf.is_file():
            raise PicobnnError(
                ErrorId.FILE_MISSING, "the image is not there.", where=str(self.elf), remedy="Build it: picobnn build"
            )
        self._stderr = tempfile.NamedTemporaryFile(prefix="picobnn-qemu-", suffix=".log")
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
            self._process = (
                _starter(os.getpid())
                .submit(
                    subprocess.Popen[bytes],
                    self._arguments(listener),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._stderr,
                    pass_fds=(listener.fileno(),),
                    start_new_session=True,
                )
                .result()
            )
        self._finalizer = weakref.finalize(self, _kill, self._process)
        self._deadline = threading.Timer(self._lifetime_s, _kill, (self._process,))
        self._deadline.daemon = True
        self._deadline.start()
        give_up = time.monotonic() + _START_S
        while _WAITING not in self.stderr.encode():
            self.check()
            if time.monotonic() > give_up:
                raise self._failure(f"QEMU did not open its serial port within {_START_S:g} s")
            time.sleep(0.005)

    def _failure(self, what: str) -> PicobnnError:
        said = "\n".join(line for line in self.stderr.splitlines() if _WAITING.decode() not in line)
        return PicobnnError(
            ErrorId.EMULATOR_FAILED,
            f"{what}:\n{last_lines(said) or '(it said nothing)'}\n",
            where=f"{self.board.id}, {self.elf}",
            remedy="Check that the image was built for this board.",
        )

    def check(self, grace_s: float = 0.0) -> None:
        """Raises E_EMULATOR_FAILED with what QEMU said if its process has ended, or ends within ``grace_s``."""
        if self._process is None:
            raise self._failure("the emulator was not started")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=grace_s)
        code = self._process.returncode
        if code is not None:
            raise self._failure(f"QEMU ended with code {code}")

    def close(self) -> None:
        """Ends the emulator. Does nothing the second time."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._finalizer is not None:
            self._finalizer()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None
        self._process = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
