# SPDX-License-Identifier: Apache-2.0
"""Reads the map file of GNU ld: which object brought which section, where it lies and how large it became.

Invariant: figures are linked sizes. What the linker discarded is not in here, a merged string section has its size
after merging, and a table counts only if it is in the image. Called by ``picobnn build``, reports and benchmarks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from picobnn.errors import ErrorId, PicobnnError

_CONTENTS = "Linker script and memory map"
_SECTION = re.compile(
    r"^(?P<input> ?)(?P<name>[^\s*]\S*)\s+0x(?P<address>[0-9a-f]+)\s+0x(?P<size>[0-9a-f]+)(?:\s+(?P<rest>.*))?$"
)
_LOAD_ADDRESS = re.compile(r"load address 0x([0-9a-f]+)")
_NAME_ALONE = re.compile(r"^ ?[^\s*]\S*$")
_NOT_LOADED = (".debug", ".comment", ".ARM.attributes", ".stab", ".gnu.", "/DISCARD/")
_ZEROED = (".bss", ".sbss", ".noinit", "COMMON")

# Objects of a firmware project that serve the board or the serial harness, not the model.
_OTHER_STEMS = ("picobnn_harness", "picobnn_protocol", "picobnn_board", "picobnn_startup", "picobnn_memory")
_OTHER_FOLDERS = ("board", "harness")
_NOT_WEIGHTS = ("model_hash", "self_test")
_HOT_PREFIX = ".text.picobnn_hot."
_STUB_OBJECT, _STUB_SUFFIX = "linker stubs", ".__stub"


class Memory(Enum):
    """Where the bytes of a section go."""

    FLASH = "flash"
    """Code and constants."""
    DATA = "data"
    """Initialised variables: flash holds the values, RAM the variables."""
    BSS = "bss"
    """RAM that no image fills."""


@dataclass(frozen=True, slots=True)
class InputSection:
    """A section of one object as it was linked. ``size`` in bytes. ``obj`` is the object's path as the linker names it,
    with the archive in front of a member: ``libgcc.a(_udivsi3.o)``."""

    name: str
    output: str
    obj: str
    address: int
    size: int
    memory: Memory

    @property
    def stem(self) -> str:
        """Name of the source: ``build/runtime/picobnn_xnor.c.obj`` -> ``picobnn_xnor``."""
        member = self.obj.rpartition("(")[2].rstrip(")")
        return PurePosixPath(member.replace("\\", "/")).name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class LinkMap:
    """The linked, loaded sections of one image, in the order of the map; sections of size 0 are left out."""

    path: Path
    sections: tuple[InputSection, ...]

    def flash_bytes(self, belongs: Callable[[InputSection], bool]) -> int:
        """Flash of the chosen sections: code, constants and the initial values of .data."""
        return sum(part.size for part in self.sections if part.memory is not Memory.BSS and belongs(part))

    def ram_bytes(self, belongs: Callable[[InputSection], bool]) -> int:
        """RAM of the chosen sections: .data and .bss. Stack and arena lie where somebody declared them."""
        return sum(part.size for part in self.sections if part.memory is not Memory.FLASH and belongs(part))

    def flash_by_object(self) -> dict[str, int]:
        """Flash bytes of every object, largest first."""
        return self._by_object((Memory.FLASH, Memory.DATA))

    def ram_by_object(self) -> dict[str, int]:
        """RAM bytes of every object, largest first."""
        return self._by_object((Memory.DATA, Memory.BSS))

    def by_section(self, prefix: str) -> dict[str, int]:
        """Bytes of the sections whose name starts with ``prefix``, by the rest of the name, in map order."""
        found: dict[str, int] = {}
        for part in self.sections:
            if part.name.startswith(prefix):
                rest = part.name.removeprefix(prefix)
                found[rest] = found.get(rest, 0) + part.size
        return found

    def _by_object(self, kinds: Iterable[Memory]) -> dict[str, int]:
        wanted = frozenset(kinds)
        found: dict[str, int] = {}
        for part in self.sections:
            if part.memory in wanted:
                found[part.obj] = found.get(part.obj, 0) + part.size
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """What one model takes of an image, in bytes.

    ``weight_bytes``: the tables of weights, thresholds and scales. ``flash_bytes``: all sections of the model's sources
    and of the runtime objects linked for it, ``weight_bytes`` and the initial values of .data included.
    ``data_bss_bytes``: their .data and .bss; with the arena (from the manifest) this is the model's RAM. What start-up
    copies to RAM is in both: ``hot_code_bytes`` of inner loops, ``ram_table_bytes`` of tables.
    ``per_table``: every named table, also those that are no weights (model hash, self-test vector).
    """

    weight_bytes: int
    flash_bytes: int
    data_bss_bytes: int
    hot_code_bytes: int
    ram_table_bytes: int
    per_table: Mapping[str, int]


def read_map(path: Path) -> LinkMap:
    """Reads a map file. Raises E_FILE_MISSING, or E_BAD_INPUT where it is none of GNU ld's."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            f"cannot be read ({error.strerror}).",
            where=str(path),
            remedy="Build the firmware; link with -Wl,-Map=FILE.",
        ) from error
    lines = text.splitlines()
    if _CONTENTS not in lines:
        raise PicobnnError(
            ErrorId.BAD_INPUT,
            f"has no part '{_CONTENTS}'.",
            where=str(path),
            remedy="Give the map that GNU ld wrote (-Wl,-Map=FILE).",
        )
    return LinkMap(path, tuple(_sections(_unwrapped(lines[lines.index(_CONTENTS) + 1 :]))))


def model_memory(link_map: LinkMap, prefix: str) -> ModelMemory:
    """The memory of the model whose generated files are ``<prefix>.c`` and ``<prefix>_weights.c``.

    The model's tables are found by their sections (``.rodata.<prefix>.<table>``), its code by its objects, the runtime
    by objects called ``picobnn_*`` outside the folders ``board`` and ``harness``; the linker's stubs for calls between
    flash and RAM are its own, as nothing else of a project lies far from its callers. Helpers of the compiler's library
    and memcpy are shared with the application and not counted; ``flash_by_object`` shows them. Raises E_BAD_INPUT where
    the image holds nothing of the model.
    """
    tables_prefix = f".rodata.{prefix}."

    def is_model(part: InputSection) -> bool:
        return part.name.startswith(tables_prefix) or part.stem in (prefix, f"{prefix}_weights")

    def belongs(part: InputSection) -> bool:
        return is_model(part) or _is_runtime(part)

    if not any(is_model(part) for part in link_map.sections):
        raise PicobnnError(
            ErrorId.BAD_INPUT,
            f"the image holds nothing of a model '{prefix}'.",
            where=str(link_map.path),
            remedy="Give the prefix that the sources were generated with, and the map of the firmware that runs it.",
        )
    per_table = link_map.by_section(tables_prefix)
    return ModelMemory(
        weight_bytes=sum(size for name, size in per_table.items() if not name.startswith(_NOT_WEIGHTS)),
        flash_bytes=link_map.flash_bytes(belongs),
        data_bss_bytes=link_map.ram_bytes(belongs),
        hot_code_bytes=link_map.ram_bytes(lambda part: part.name.startswith(_HOT_PREFIX)),
        ram_table_bytes=link_map.ram_bytes(lambda part: part.name.startswith(tables_prefix)),
        per_table=per_table,
    )


def _is_runtime(part: InputSection) -> bool:
    if part.obj == _STUB_OBJECT:
        return part.name.endswith(_STUB_SUFFIX)
    folder = PurePosixPath(part.obj.replace("\\", "/")).parent.name
    return part.stem.startswith("picobnn_") and not (part.stem.startswith(_OTHER_STEMS) or folder in _OTHER_FOLDERS)


def _unwrapped(lines: Iterable[str]) -> Iterable[str]:
    """The lines with a long section name and the figures on the next line put together again."""
    name = ""
    for line in lines:
        if name and line.startswith("  "):
            yield f"{name} {line.strip()}"
            name = ""
            continue
        name = line if _NAME_ALONE.match(line) else ""
        if not name:
            yield line


def _sections(lines: Iterable[str]) -> Iterable[InputSection]:
    output, moved = "", False
    for line in lines:
        found = _SECTION.match(line)
        if found is None:
            continue
        address, rest = int(found["address"], 16), (found["rest"] or "").strip()
        if not found["input"]:
            output = found["name"]
            load = _LOAD_ADDRESS.search(rest)
            moved = load is not None and int(load[1], 16) != address
        elif int(found["size"], 16) and rest and output and not output.startswith(_NOT_LOADED):
            name = found["name"]
            yield InputSection(name, output, rest, address, int(found["size"], 16), _memory(name, output, moved))


def _memory(name: str, output: str, moved: bool) -> Memory:
    if name.startswith(_ZEROED) or output.startswith(_ZEROED):
        return Memory.BSS
    return Memory.DATA if moved or name.startswith(".data") or output.startswith(".data") else Memory.FLASH
