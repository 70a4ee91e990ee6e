# SPDX-License-Identifier: Apache-2.0
"""Constants and messages of the serial protocol, as Python types.

``firmware_templates/harness/protocol.toml`` is the source: message layouts are read from it, and a test holds the
enums here equal to it. ``docs/serial-protocol.md`` explains the values.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cache
from typing import Any

from picobnn.firmware_templates import FIELD_FORMATS, protocol_table

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 0
MINIMUM_PAYLOAD = 32
NO_STEP = 0xFFFF
RESYNC_ZEROS = 64


class FrameType(IntEnum):
    """What a frame is."""

    REQUEST = 0
    RESPONSE = 1
    EVENT = 2
    NAK = 3


class Command(IntEnum):
    """What a request asks."""

    HELLO = 0x01
    INFO = 0x02
    BEGIN = 0x03
    DATA = 0x04
    END = 0x05
    RUN = 0x06
    STAT = 0x07
    LAYERS = 0x08
    READ = 0x09
    CLOCKCHK = 0x0A
    BAUD = 0x0B
    PING = 0x0C
    RESET = 0x0D
    BYE = 0x0E
    FAULT = 0x0F


class Status(IntEnum):
    """How a request ended."""

    OK = 0x00
    BAD_CRC = 0x01
    BAD_LEN = 0x02
    UNSUPPORTED = 0x03
    BAD_ARG = 0x04
    OUT_OF_RANGE = 0x05
    BUSY = 0x06
    NO_TENSOR = 0x07
    SHAPE_MISMATCH = 0x08
    NOT_LOADED = 0x09
    ARENA_TOO_SMALL = 0x0A
    MODEL_FAULT = 0x0B
    TIMER_UNUSABLE = 0x0C
    WATCHDOG = 0x0D
    HARDFAULT_LAST_BOOT = 0x0E
    INTERNAL = 0x0F


class Capability(IntFlag):
    """What a device can do beyond the minimum."""

    LAYER_TRACE = 0x0001
    FLOW_CONTROL = 0x0002
    EMULATED = 0x0004


class TimerKind(IntEnum):
    """What the device's ticks are. Only DWT and SYSTICK ticks are core cycles."""

    NONE = 0
    DWT = 1
    SYSTICK = 2
    SYSTICK_EMULATED = 3


class ResetCause(IntEnum):
    """Why the core started."""

    UNKNOWN = 0
    COLD = 1
    WARM = 2
    FAULT = 3


class TensorId(IntEnum):
    """What BEGIN writes and READ reads. STEP_OUTPUT is the output of the step at which the last run stopped."""

    IMAGE = 0
    LOGITS = 1
    STEP_OUTPUT = 2


class InfoKind(IntEnum):
    """What INFO describes: a tensor (IMAGE, LOGITS) or the output of a step."""

    TENSOR = 0
    STEP = 1


class RunFlag(IntFlag):
    """Options of RUN."""

    NONE = 0
    LAYER_TRACE = 0x0001


class Element(IntEnum):
    """Element kind of a tensor, as codegen's ElementKind."""

    UINT8 = 0
    BIT = 1
    INT32 = 2


class TensorLayout(IntEnum):
    """Layout of a tensor, as codegen's Layout."""

    HWC_BYTES = 0
    CHANNEL_WORDS = 1
    HWC_INT32 = 2
    PIXEL_PLANES = 3


@dataclass(frozen=True, slots=True)
class Hello:
    """What a device says of itself. ``build_id`` is the ELF's GNU build id, ``model_hash`` the first 8 bytes."""

    nonce: int
    major: int
    minor: int
    capabilities: Capability
    max_payload: int
    rx_ring: int
    baud: int
    cpuid: int
    clock_hz: int
    timer_kind: TimerKind
    reset_cause: ResetCause
    step_count: int
    boot_count: int
    build_id: bytes
    model_hash: bytes


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor of the model in the device; ``macs`` of the step that writes it, 0 for the image."""

    name: str
    element: Element
    layout: TensorLayout
    height: int
    width: int
    channels: int
    size_bytes: int
    macs: int


@dataclass(frozen=True, slots=True)
class RunReply:
    """A finished RUN: timed repeats, steps of the last one, and whether it stopped before its end."""

    repeats: int
    steps_run: int
    stopped: bool


@dataclass(frozen=True, slots=True)
class RunTimes:
    """Ticks of the timed repeats of the last RUN. ``overhead`` is what one reading of the timer costs."""

    timer_kind: TimerKind
    count: int
    overhead: int
    minimum: int
    maximum: int
    sum: int


@dataclass(frozen=True, slots=True)
class LayerRow:
    """Ticks and CRC-32 of one step in the last traced RUN; the CRC is of the output as stored, last repeat."""

    count: int
    minimum: int
    maximum: int
    sum: int
    crc: int


@cache
def message_struct(name: str) -> struct.Struct:
    """The fixed part of message ``name``: little endian, no padding."""
    fields = protocol_table()["message"][name]
    return struct.Struct("<" + "".join(FIELD_FORMATS[kind] for _, kind in fields))


def unpack_message(name: str, payload: bytes) -> dict[str, Any]:
    """The fields of message ``name`` at the start of ``payload``, by name. Raises struct.error when it is too short."""
    fields = protocol_table()["message"][name]
    return dict(zip((field for field, _ in fields), message_struct(name).unpack_from(payload), strict=True))


def pack_message(name: str, **values: int | bytes) -> bytes:
    """The bytes of message ``name``; fields called reserved are 0."""
    fields = protocol_table()["message"][name]
    return message_struct(name).pack(*(0 if field == "reserved" else values[field] for field, _ in fields))
