# SPDX-License-Identifier: Apache-2.0
"""Put an image onto a board and believe it only when the firmware answers with the build id that was sent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from picobnn.errors import ErrorId, PicobnnError
from picobnn.flow.image import Image


@dataclass(frozen=True, slots=True)
class FlashOutcome:
    """What the firmware said of itself over its serial port."""

    board: str
    build_id: str
    model_hash: str
    core_clock_hz: int
    cpuid: int
    timer: str
    steps: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def flash(image: Image) -> FlashOutcome:
    """Flash an emulated board: start its emulator with the ELF and ask the firmware who it is.

    Raises E_UNSUPPORTED_FEATURE for a board without an emulator, E_EMULATOR_FAILED, E_FLASH_VERIFY, E_MODEL_MISMATCH.
    """
    from picobnn.harness.emulated import flash_emulated

    board = image.board
    if board.emulator is None:
        raise PicobnnError(
            ErrorId.UNSUPPORTED_FEATURE,
            "only emulated boards can be flashed by this version.",
            where=board.id,
            remedy="Program the .bin or .hex of the build folder with your probe's own tool.",
        )
    expected = bytes.fromhex(image.manifest.model_hash)
    with flash_emulated(board, image.built.elf, model_hash=expected) as session:
        hello = session.hello
    return FlashOutcome(
        board=board.id,
        build_id=hello.build_id.hex(),
        model_hash=hello.model_hash.hex(),
        core_clock_hz=hello.clock_hz,
        cpuid=hello.cpuid,
        timer=hello.timer_kind.name.lower(),
        steps=hello.step_count,
    )
