# SPDX-License-Identifier: Apache-2.0
"""The image that runs the kernels of tests/c/cycles, machine by machine, and the counts of a run."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from picobnn.sim.cycles import FlashLines, Segment, build_plugin, plugin_argument, read_counts
from tests.support.cycle_kernels import V6M_KERNELS, Kernel
from tests.support.cycle_kernels_v7m import MVE_KERNELS, V7M_KERNELS

SOURCES = Path(__file__).parents[1] / "c" / "cycles"
HAVE_EMULATOR = bool(shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc") and shutil.which("gcc"))


@dataclass(frozen=True, slots=True)
class Machine:
    """An emulated machine, the cores whose code it runs, and where its memory lies."""

    name: str
    cpu: str
    cores: tuple[str, ...]
    rom: int
    ram: int


MACHINES = (
    Machine("microbit", "cortex-m0", ("cortex-m0", "cortex-m0plus"), 0, 0x20000000),
    Machine("mps2-an385", "cortex-m3", ("cortex-m3",), 0, 0x20000000),
    Machine("mps2-an386", "cortex-m4+nofp", ("cortex-m4",), 0, 0x20000000),
    Machine("mps2-an500", "cortex-m7+nofp", ("cortex-m7",), 0, 0x20000000),
    Machine("mps2-an505", "cortex-m33+nofp", ("cortex-m33",), 0x10000000, 0x38000000),
    Machine("mps3-an547", "cortex-m55", ("cortex-m55",), 0x10000000, 0x30000000),
)


def kernels(machine: Machine) -> tuple[Kernel, ...]:
    """The kernels in the order of the steps of the image for this machine."""
    if machine.cpu == "cortex-m0":
        return V6M_KERNELS
    return V6M_KERNELS + V7M_KERNELS + (MVE_KERNELS if machine.cpu == "cortex-m55" else ())


def build_image(machine: Machine, folder: Path) -> Path:
    """Links the image for a machine."""
    elf = folder / f"{machine.name}.elf"
    command = ["arm-none-eabi-gcc", f"-mcpu={machine.cpu}", "-mthumb", "-nostdlib", "-static", "-o", str(elf)]
    command += ["-mfloat-abi=hard"] if machine.cpu == "cortex-m55" else []  # without it gcc leaves the vectors out
    command += [str(SOURCES / name) for name in ("image.S", "kernels_v6m.S", "kernels_v7m.S", "kernels_mve.S")]
    command += ["-T", str(SOURCES / "image.ld")]
    command += [f"-Wl,--defsym=ROM_ORIGIN={machine.rom:#x},--defsym=RAM_ORIGIN={machine.ram:#x}"]
    subprocess.run(command, check=True, timeout=60)
    return elf


def count_image(
    machine: Machine, elf: Path, folder: Path, flash: FlashLines | None = None
) -> tuple[Path, list[Segment]]:
    """Runs an image to its end with the counting plugin; the file of counts and what it says."""
    out = folder / f"{machine.name}.counts"
    command = ["qemu-system-arm", "-M", machine.name, "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
    command += ["-plugin", plugin_argument(build_plugin(folder), out, flash=flash)]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    return out, read_counts(out)
