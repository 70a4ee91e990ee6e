# SPDX-License-Identifier: Apache-2.0
"""Finds and runs the tools that are not Python: the Arm compiler, make, the emulator, the host compiler.

A tool that is absent, fails or hangs ends in one error with the command to get it or the last lines it said; no
caller meets ``FileNotFoundError`` or ``CalledProcessError``. ``build_firmware`` compiles a generated project and
reads back what the linker made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from picobnn.errors import ErrorId, PicobnnError

APT_PACKAGES: Mapping[str, str] = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "arm-none-eabi-objcopy": "binutils-arm-none-eabi",
    "arm-none-eabi-objdump": "binutils-arm-none-eabi",
    "arm-none-eabi-size": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "gcc": "gcc",
    "cc": "gcc",
    "make": "make",
}
"""The Debian and Ubuntu package of each tool."""

_OVERFLOW = re.compile(r"region `(?P<region>\w+)' overflowed by (?P<bytes>\d+) bytes")
_SAID_LINES = 12


@dataclass(frozen=True, slots=True)
class BuiltFirmware:
    """The files of one build and the 20-byte GNU build id that names the image."""

    elf: Path
    bin: Path
    hex: Path
    map: Path
    build_id: bytes


def find_tool(name: str) -> Path:
    """The path of ``name`` on PATH. Raises E_TOOL_MISSING with the package that brings it."""
    found = shutil.which(name)
    if found is None:
        package = APT_PACKAGES.get(name, name)
        raise PicobnnError(
            ErrorId.TOOL_MISSING,
            f"{name} is not installed.",
            where="PATH",
            remedy=f"Install it: sudo apt-get install {package}",
        )
    return Path(found)


def last_lines(text: str, count: int = _SAID_LINES) -> str:
    """The last ``count`` lines of what a tool said, without trailing blanks."""
    return "\n".join(text.strip().splitlines()[-count:])


def run_tool(
    args: Sequence[str | Path],
    *,
    where: str,
    timeout_s: float = 300.0,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Runs ``args[0]`` (a name on PATH or a path) to its end and returns its text output.

    ``environment`` adds to the process's own. Raises E_TOOL_MISSING, and E_TOOL_FAILED with the last lines of stderr
    when the tool exits with another code than 0 (unless ``check`` is off) or runs longer than ``timeout_s``.
    """
    name = str(args[0])
    tool = Path(name) if os.sep in name else find_tool(name)
    try:
        result = subprocess.run(
            [str(tool), *(str(arg) for arg in args[1:])],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PicobnnError(
            ErrorId.TOOL_FAILED,
            f"{tool.name} did not end within {timeout_s:g} s.",
            where=where,
            remedy="Run it by hand to see what it waits for.",
        ) from error
    except OSError as error:
        raise PicobnnError(
            ErrorId.TOOL_MISSING,
            f"{tool} cannot be started: {error.strerror}.",
            where=where,
            remedy=f"Install it: sudo apt-get install {APT_PACKAGES.get(tool.name, tool.name)}",
        ) from error
    if check and result.returncode != 0:
        said = last_lines(result.stderr) or last_lines(result.stdout) or "(it said nothing)"
        raise PicobnnError(
            ErrorId.TOOL_FAILED,
            f"{tool.name} ended with code {result.returncode}:\n{said}\n",
            where=where,
            remedy="Correct what it complains about and run again.",
        )
    return result


def compiler_version(name: str = "arm-none-eabi-gcc") -> str:
    """The first line that ``name --version`` prints. Raises E_TOOL_MISSING, E_TOOL_FAILED."""
    return run_tool([name, "--version"], where=name, timeout_s=20.0).stdout.partition("\n")[0].strip()


def read_build_id(elf: Path) -> bytes:
    """The GNU build id (20 bytes) of an ELF file. Raises E_FILE_MISSING, or E_FLASH_FAILED if it is no such image."""
    try:
        with elf.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".note.gnu.build-id")
            notes = list(section.iter_notes()) if isinstance(section, NoteSection) else []
    except FileNotFoundError as error:
        raise PicobnnError(
            ErrorId.FILE_MISSING, "the image is not there.", where=str(elf), remedy="Build it: picobnn build"
        ) from error
    except (ELFError, OSError) as error:
        raise PicobnnError(
            ErrorId.FLASH_FAILED, f"not an ELF file: {error}.", where=str(elf), remedy="Give the .elf of a build."
        ) from error
    for note in notes:
        if note["n_type"] == "NT_GNU_BUILD_ID":
            return bytes.fromhex(note["n_desc"])
    raise PicobnnError(
        ErrorId.FLASH_FAILED,
        "the image has no build id, so nobody could tell whether a board runs it.",
        where=str(elf),
        remedy="Link with -Wl,--build-id=sha1, as the generated Makefile does.",
    )


def _check_fit(output: str, where: str) -> None:
    overflows = {match["region"]: int(match["bytes"]) for match in _OVERFLOW.finditer(output)}
    if overflows:
        parts = " and ".join(f"{region} by {count:,} bytes" for region, count in sorted(overflows.items()))
        raise PicobnnError(
            ErrorId.DOES_NOT_FIT,
            f"the firmware overflows {parts}.",
            where=where,
            remedy="Prune more, or choose a board with more memory.",
        )


def build_firmware(source_dir: Path, *, timeout_s: float = 600.0, jobs: int = 2) -> BuiltFirmware:
    """Runs make in a generated project and returns what it made.

    Raises E_FILE_MISSING (no Makefile there), E_TOOL_MISSING, E_DOES_NOT_FIT with the memory and the bytes it lacks,
    E_TOOL_FAILED with the compiler's last lines.
    """
    where = str(source_dir)
    if not (source_dir / "Makefile").is_file():
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            "there is no Makefile.",
            where=where,
            remedy="Generate the project: picobnn generate --format make",
        )
    for tool in ("make", "arm-none-eabi-gcc", "arm-none-eabi-objcopy"):
        find_tool(tool)
    result = run_tool(
        ["make", f"-j{jobs}", "all"],
        where=where,
        timeout_s=timeout_s,
        cwd=source_dir,
        environment={"LC_ALL": "C"},
        check=False,
    )
    if result.returncode != 0:
        _check_fit(result.stderr, where)
        raise PicobnnError(
            ErrorId.TOOL_FAILED,
            f"make ended with code {result.returncode}:\n{last_lines(result.stderr)}\n",
            where=where,
            remedy="Correct what it complains about and run again.",
        )
    images = sorted((source_dir / "build").glob("*.elf"))
    if len(images) != 1:
        raise PicobnnError(
            ErrorId.TOOL_FAILED,
            f"the build folder holds {len(images)} ELF files instead of one.",
            where=where,
            remedy="Remove the build folder and build again.",
        )
    elf = images[0]
    return BuiltFirmware(
        elf=elf,
        bin=elf.with_suffix(".bin"),
        hex=elf.with_suffix(".hex"),
        map=elf.with_suffix(".map"),
        build_id=read_build_id(elf),
    )
