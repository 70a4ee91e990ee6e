# SPDX-License-Identifier: Apache-2.0
"""Flashes an emulated board: starts its emulator with the ELF and believes only what the firmware answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from picobnn.codegen.targets import Board
from picobnn.errors import ErrorId, PicobnnError
from picobnn.harness.session import Session
from picobnn.sim.qemu import EmulatedBoard
from picobnn.toolchain import read_build_id

_PATIENCE = 10.0
_START_S = 5.0
_GRACE_S = 1.0
_CONNECTION = (ErrorId.DISCONNECTED, ErrorId.NO_ANSWER, ErrorId.PORT_MISSING)


def confirm_firmware(session: Session, build_id: bytes, model_hash: bytes | None = None) -> None:
    """Raises E_FLASH_VERIFY when the device runs another image than the ELF with ``build_id``, E_MODEL_MISMATCH when
    its model is not the one with ``model_hash`` (any number of leading bytes, 8 are compared)."""
    hello = session.hello
    confirm_model(session, model_hash)
    if hello.build_id != build_id:
        raise PicobnnError(
            ErrorId.FLASH_VERIFY,
            f"the device runs image {hello.build_id.hex()[:12]}, not {build_id.hex()[:12]}.",
            where=session.where,
            remedy="Flash again: picobnn flash",
        )


def confirm_model(session: Session, model_hash: bytes | None) -> None:
    """Raises E_MODEL_MISMATCH when the firmware was built from another model. None accepts any."""
    if model_hash is not None and session.hello.model_hash != model_hash[:8]:
        raise PicobnnError(
            ErrorId.MODEL_MISMATCH,
            f"the firmware was built from model {session.hello.model_hash.hex()}, not {model_hash[:8].hex()}.",
            where=session.where,
            remedy="Generate, build and flash again from this model.",
        )


@contextlib.contextmanager
def flash_emulated(
    board: Board,
    elf: Path,
    *,
    model_hash: bytes | None = None,
    plugin: str | None = None,
    icount: bool = False,
    lifetime_s: float = 600.0,
) -> Iterator[Session]:
    """A session with ``elf`` running on the emulator of ``board``; both end with the context.

    Raises E_EMULATOR_FAILED with what the emulator said when it dies, at the start or later, and what
    :func:`confirm_firmware` and Session raise.
    """
    build_id = read_build_id(elf)
    with EmulatedBoard(board, elf, plugin=plugin, icount=icount, lifetime_s=lifetime_s) as emulator:
        try:
            with Session.open(emulator.url, baud=board.uart.baud, patience=_PATIENCE, start_wait_s=_START_S) as session:
                confirm_firmware(session, build_id, model_hash)
                yield session
        except PicobnnError as error:
            if error.error_id in _CONNECTION:
                emulator.check(grace_s=_GRACE_S)
            raise
