# SPDX-License-Identifier: Apache-2.0
"""Board records, read from ``boards/<id>.toml``.

A board is a core plus what surrounds it: clock, memory map, serial port, flash back ends and, where one exists, the
emulated machine that plays it. The file is strict: an unknown or missing key, a value of the wrong type or an
unknown enum value is an error, so that a record in memory is always complete. ``project.py`` renders firmware from
it, ``sim/qemu.py`` starts its emulator, ``harness`` flashes it.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from picobnn.codegen.targets.cores import Target, find_core
from picobnn.errors import ErrorId, PicobnnError


class Tier(Enum):
    """How far a board is exercised: compiled only, run on an emulated machine, or run on the real board."""

    BUILT = "built"
    EMULATED = "emulated"
    HARDWARE = "hardware"


class UartDriver(Enum):
    """The polled serial drivers of ``firmware_templates/board/uart_<value>.c``."""

    CMSDK = "cmsdk"
    NRF51 = "nrf51"
    STM32_USART = "stm32_usart"


class FlashBackend(Enum):
    """Ways to put an image onto a board. ``EMULATOR`` starts the emulated machine with the ELF."""

    EMULATOR = "emulator"


@dataclass(frozen=True, slots=True)
class MemoryRegion:
    """A contiguous memory: first address and size in bytes."""

    name: str
    origin: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Uart:
    """The serial port of the harness. ``enable_register`` and ``enable_mask`` switch its clock on, where there is a
    switch (both 0 otherwise). ``flow_control`` says that no byte is lost while the firmware is busy, so that the host
    may send ahead. ``max_payload_bytes`` bounds one frame; the firmware keeps two buffers of that size in RAM."""

    driver: UartDriver
    base: int
    baud: int
    enable_register: int
    enable_mask: int
    flow_control: bool
    max_payload_bytes: int


@dataclass(frozen=True, slots=True)
class Emulator:
    """A QEMU machine. ``faithful`` is False where its core is not the board's core (then it only runs the image)."""

    machine: str
    faithful: bool
    notes: str


@dataclass(frozen=True, slots=True)
class Board:
    """One board. ``clock_hz`` is the core clock as the firmware finds it after reset. ``stack_bytes`` is reserved at
    the top of RAM: a linker error tells when data leaves less."""

    id: str
    name: str
    target: Target
    tier: Tier
    clock_hz: int
    stack_bytes: int
    flash: MemoryRegion
    ram: MemoryRegion
    uart: Uart
    emulator: Emulator | None
    flash_backends: tuple[FlashBackend, ...]


_E = TypeVar("_E", bound=Enum)

_BOARD_KEYS: dict[str, type] = {
    "name": str,
    "core": str,
    "tier": str,
    "clock_hz": int,
    "stack_bytes": int,
    "flash_backends": list,
    "memory": dict,
    "uart": dict,
    "emulator": dict,
}
_MEMORY_KEYS: dict[str, type] = {"flash": dict, "ram": dict}
_REGION_KEYS: dict[str, type] = {"origin": int, "size_bytes": int}
_UART_KEYS: dict[str, type] = {
    "driver": str,
    "base": int,
    "baud": int,
    "enable_register": int,
    "enable_mask": int,
    "flow_control": bool,
    "max_payload_bytes": int,
}
_EMULATOR_KEYS: dict[str, type] = {"machine": str, "faithful": bool, "notes": str}
_OPTIONAL = frozenset({"emulator", "enable_register", "enable_mask"})


def _check_table(table: dict[str, Any], schema: dict[str, type], where: str) -> None:
    for key, value in table.items():
        if key not in schema:
            close = difflib.get_close_matches(key, schema, n=1, cutoff=0.0)
            raise PicobnnError(
                ErrorId.CONFIG_UNKNOWN_KEY, f"unknown key '{key}'.", where=where, remedy=f"Did you mean '{close[0]}'?"
            )
        if type(value) is not schema[key]:
            raise PicobnnError(
                ErrorId.CONFIG_VALUE,
                f"'{key}' is a {type(value).__name__}.",
                where=where,
                remedy=f"Write a {schema[key].__name__}.",
            )
        if isinstance(value, int) and value < 0:
            raise PicobnnError(ErrorId.CONFIG_VALUE, f"'{key}' is negative.", where=where, remedy="Write 0 or more.")
    for key in schema:
        if key not in table and key not in _OPTIONAL:
            raise PicobnnError(ErrorId.CONFIG_VALUE, f"key '{key}' is missing.", where=where, remedy="Add it.")


def _enum(kind: type[_E], value: str, key: str, where: str) -> _E:
    for member in kind:
        if member.value == value:
            return member
    known = ", ".join(str(member.value) for member in kind)
    raise PicobnnError(ErrorId.CONFIG_VALUE, f"{key} = '{value}' is not known.", where=where, remedy=f"Known: {known}.")


def _region(name: str, table: dict[str, Any], where: str) -> MemoryRegion:
    _check_table(table, _REGION_KEYS, f"{where} [memory.{name}]")
    return MemoryRegion(name, table["origin"], table["size_bytes"])


def _uart(table: dict[str, Any], where: str) -> Uart:
    where = f"{where} [uart]"
    _check_table(table, _UART_KEYS, where)
    if not 32 <= table["max_payload_bytes"] <= 4096 or table["max_payload_bytes"] % 4:
        raise PicobnnError(
            ErrorId.CONFIG_VALUE,
            f"max_payload_bytes = {table['max_payload_bytes']} is out of range.",
            where=where,
            remedy="Write a multiple of 4 from 32 to 4096.",
        )
    return Uart(
        driver=_enum(UartDriver, table["driver"], "driver", where),
        base=table["base"],
        baud=table["baud"],
        enable_register=table.get("enable_register", 0),
        enable_mask=table.get("enable_mask", 0),
        flow_control=table["flow_control"],
        max_payload_bytes=table["max_payload_bytes"],
    )


def _emulator(table: dict[str, Any] | None, where: str) -> Emulator | None:
    if table is None:
        return None
    _check_table(table, _EMULATOR_KEYS, f"{where} [emulator]")
    return Emulator(table["machine"], table["faithful"], table["notes"])


def parse_board(board_id: str, text: str, where: str) -> Board:
    """The record in TOML ``text``. ``where`` names the file in errors. Raises E_CONFIG_FILE (no TOML),
    E_CONFIG_UNKNOWN_KEY, E_CONFIG_VALUE, E_UNKNOWN_CORE."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PicobnnError(
            ErrorId.CONFIG_FILE, f"not a TOML file: {error}.", where=where, remedy="Correct the file."
        ) from error
    _check_table(table, _BOARD_KEYS, where)
    _check_table(table["memory"], _MEMORY_KEYS, f"{where} [memory]")
    board = Board(
        id=board_id,
        name=table["name"],
        target=find_core(table["core"]),
        tier=_enum(Tier, table["tier"], "tier", where),
        clock_hz=table["clock_hz"],
        stack_bytes=table["stack_bytes"],
        flash=_region("flash", table["memory"]["flash"], where),
        ram=_region("ram", table["memory"]["ram"], where),
        uart=_uart(table["uart"], where),
        emulator=_emulator(table.get("emulator"), where),
        flash_backends=tuple(_enum(FlashBackend, name, "flash_backends", where) for name in table["flash_backends"]),
    )
    if board.emulator is None and (board.tier is Tier.EMULATED or FlashBackend.EMULATOR in board.flash_backends):
        raise PicobnnError(
            ErrorId.CONFIG_VALUE,
            "the board is emulated but has no [emulator].",
            where=where,
            remedy="Add the table, or change tier and flash_backends.",
        )
    return board


@cache
def board_ids() -> tuple[str, ...]:
    """The ids of all boards that picobnn knows, sorted."""
    folder = resources.files("picobnn.codegen.targets") / "boards"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


@cache
def load_board(name: str) -> Board:
    """The record of board ``name``. Raises E_UNKNOWN_BOARD, which lists the closest ids, and what parse_board does."""
    if name not in board_ids():
        close = difflib.get_close_matches(name, board_ids(), n=3, cutoff=0.5)
        remedy = f"Did you mean {' or '.join(close)}?" if close else f"Known boards: {', '.join(board_ids())}."
        raise PicobnnError(ErrorId.UNKNOWN_BOARD, f"no board is called '{name}'.", where="board", remedy=remedy)
    entry = resources.files("picobnn.codegen.targets") / "boards" / f"{name}.toml"
    return parse_board(name, entry.read_text(encoding="utf-8"), f"boards/{name}.toml")
