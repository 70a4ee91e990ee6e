# SPDX-License-Identifier: Apache-2.0
"""The code of an ELF: instructions at an address, and the function an address belongs to.

Invariant: answers come from the file alone; code that the program writes at run time is unknown here and refused.
Used by :mod:`picobnn.sim.cycles.costs`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from picobnn.codegen.targets.cores import InstructionSet, find_core
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.cycles.decode import decode_block, instruction_size
from picobnn.sim.cycles.instruction import Instruction
from picobnn.sim.cycles.objdump import disassemble

UNNAMED = "?"


@dataclass(frozen=True, slots=True)
class _Stretch:
    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Code:
    """Loadable bytes and function symbols of one ELF. Of names that share an address, the first answers.

    ``listed`` are the instructions by address where objdump decoded them, empty where capstone decodes the bytes.
    """

    path: Path
    stretches: tuple[_Stretch, ...]
    starts: tuple[int, ...]
    names: tuple[str, ...]
    ends: tuple[int, ...]
    listed: Mapping[int, Instruction]

    def block(self, start: int, end: int) -> tuple[Instruction, ...]:
        """The instructions from ``start`` up to ``end`` (exclusive). Raises E_BAD_INPUT where the ELF has no bytes."""
        found = self._listed_block(start, end) if self.listed else self._decoded_block(start, end)
        if found is not None:
            return found
        raise PicobnnError(
            ErrorId.BAD_INPUT,
            f"code ran at 0x{start:08x}, where the ELF holds nothing.",
            where=str(self.path),
            remedy="Give the ELF that the emulator ran; code written at run time has no cycle model.",
        )

    def _listed_block(self, start: int, end: int) -> tuple[Instruction, ...] | None:
        block: list[Instruction] = []
        while start < end:
            if start not in self.listed:
                return None
            block.append(self.listed[start])
            start = block[-1].end
        return tuple(block)

    def _decoded_block(self, start: int, end: int) -> tuple[Instruction, ...] | None:
        for stretch in self.stretches:
            if stretch.address <= start and end <= stretch.address + len(stretch.data):
                return decode_block(stretch.data[start - stretch.address : end - stretch.address], start)
        return None

    def first(self, address: int) -> Instruction | None:
        """The instruction at an address, None where the ELF has no bytes (an exception return value, say)."""
        if self.listed:
            return self.listed.get(address)
        for stretch in self.stretches:
            offset = address - stretch.address
            if 0 <= offset <= len(stretch.data) - 2:
                size = instruction_size(int.from_bytes(stretch.data[offset : offset + 2], "little"))
                return next(iter(decode_block(stretch.data[offset : offset + size], address)))
        return None

    def function(self, address: int) -> str:
        """Name of the function an address lies in, ``?`` where the symbol table has none."""
        at = bisect_right(self.starts, address) - 1
        return self.names[at] if at >= 0 and address < self.ends[at] else UNNAMED

    def is_entry(self, address: int) -> bool:
        """Whether a function starts at this address."""
        at = bisect_right(self.starts, address) - 1
        return at >= 0 and self.starts[at] == address


def read_code(elf: Path, core: str) -> Code:
    """Reads an ELF for a core (``cortex-m4`` or ``m4``). Code for cores with vectors is decoded by objdump.

    Raises E_FILE_MISSING, E_BAD_INPUT for another format or a stripped file, E_UNKNOWN_CORE, and what
    :func:`picobnn.sim.cycles.objdump.disassemble` raises.
    """
    has_vectors = find_core(core).isa is InstructionSet.MVE
    try:
        with elf.open("rb") as stream:
            file = ELFFile(stream)
            stretches = tuple(
                _Stretch(segment["p_vaddr"], segment.data())
                for segment in file.iter_segments("PT_LOAD")
                if segment["p_filesz"]
            )
            functions = _functions(part for part in file.iter_sections() if isinstance(part, SymbolTableSection))
    except OSError as error:
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            f"cannot be read ({error.strerror}).",
            where=str(elf),
            remedy="Build the firmware first.",
        ) from error
    except ELFError as error:
        raise PicobnnError(
            ErrorId.BAD_INPUT, f"is no ELF file ({error}).", where=str(elf), remedy="Give the linked firmware image."
        ) from error
    if not functions:
        raise PicobnnError(
            ErrorId.BAD_INPUT, "has no symbol table.", where=str(elf), remedy="Give the ELF as linked, not stripped."
        )
    starts = [start for start, _, _ in functions]
    # Assembly often leaves the size 0: such a function ends where the next one starts.
    following = [*starts[1:], 1 << 32]
    ends = [start + size if size else after for (start, size, _), after in zip(functions, following, strict=True)]
    return Code(
        path=elf,
        stretches=stretches,
        starts=tuple(starts),
        names=tuple(name for _, _, name in functions),
        ends=tuple(ends),
        listed=disassemble(elf) if has_vectors else {},
    )


def _functions(tables: Iterable[SymbolTableSection]) -> list[tuple[int, int, str]]:
    """(address, size, name) of the functions by address, one per address."""
    found: dict[int, tuple[int, str]] = {}
    for table in tables:
        for symbol in table.iter_symbols():
            if symbol["st_info"]["type"] != "STT_FUNC" or symbol["st_shndx"] == "SHN_UNDEF":
                continue
            address, entry = symbol["st_value"] & ~1, (symbol["st_size"], symbol.name)
            known = found.get(address)
            if known is None or entry[1] < known[1]:
                found[address] = entry
    return [(address, size, name) for address, (size, name) in sorted(found.items())]
