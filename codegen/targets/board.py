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


class Place(Enum):
    """Where code or tables lie when they are used."""

    FLASH = "flash"
    RAM = "ram"


class Known(Enum):
    """Whether a memory has something."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


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
class FlashTiming:
    """How slow the flash is at the board's clock: a read of a line of ``line_bytes`` (a power of two) that is not at
    hand costs ``wait_states`` core cycles. ``cache`` and ``prefetch``: what the part has to hide them; no figure of
    ours relies on either. ``source``: the manual and the place in it."""

    wait_states: int
    line_bytes: int
    cache: Known
    prefetch: Known
    source: str


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
    the top of RAM: a linker error tells when data leaves less. ``hot_code`` and ``rows_weights``: where the inner loops
    and the weights of ``rows`` lie unless the configuration says otherwise; code needs RAM that the core fetches from.
    """

    id: str
    name: str
    target: Target
    tier: Tier
    clock_hz: int
    stack_bytes: int
    flash: MemoryRegion
    ram: MemoryRegion
    flash_timing: FlashTiming
    hot_code: Place
    rows_weights: Place
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
_MEMORY_KEYS: dict[str, type] = {
    "flash": dict,
    "ram": dict,
    "flash_timing": dict,
    "hot_code": str,
    "rows_weights": str,
}
_REGION_KEYS: dict[str, type] = {"origin": int, "size_bytes": int}
_TIMING_KEYS: dict[str, type] = {
    "wait_states": int,
    "line_bytes": int,
    "cache": str,
    "prefetch": str,
    "source": str,
}
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
_OPTIONAL = frozenset({"emulator", "enable_register", "enable_mask", "hot_code", "rows_weights"})


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


def _flash_timing(table: dict[str, Any], where: str) -> FlashTiming:
    where = f"{where} [memory.flash_timing]"
    _check_table(table, _TIMING_KEYS, where)
    line_bytes = table["line_bytes"]
    if not 2 <= line_bytes <= 256 or line_bytes & (line_bytes - 1) or table["wait_states"] > 255:
        raise PicobnnError(
            ErrorId.CONFIG_VALUE,
            f"line_bytes = {line_bytes} with {table['wait_states']} wait states is out of range.",
            where=where,
            remedy="Write a power of two from 2 to 256, and at most 255 wait states.",
        )
    return FlashTiming(
        wait_states=table["wait_states"],
        line_bytes=line_bytes,
        cache=_enum(Known, table["cache"], "cache", where),
        prefetch=_enum(Known, table["prefetch"], "prefetch", where),
        source=table["source"],
    )


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
    memory = table["memory"]
    _check_table(memory, _MEMORY_KEYS, f"{where} [memory]")
    board = Board(
        id=board_id,
        name=table["name"],
        target=find_core(table["core"]),
        tier=_enum(Tier, table["tier"], "tier", where),
        clock_hz=table["clock_hz"],
        stack_bytes=table["stack_bytes"],
        flash=_region("flash", memory["flash"], where),
        ram=_region("ram", memory["ram"], where),
        flash_timing=_flash_timing(memory["flash_timing"], where),
        hot_code=_enum(Place, memory.get("hot_code", "flash"), "hot_code", f"{where} [memory]"),
        rows_weights=_enum(Place, memory.get("rows_weights", "flash"), "rows_weights", f"{where} [memory]"),
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
