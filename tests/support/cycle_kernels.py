# SPDX-License-Identifier: Apache-2.0
"""Hand counts of the kernels in tests/c/cycles, and the image that runs them.

Every figure below was counted by hand from the manuals' tables and the rules in docs/cycle-models.md; the comment
beside it shows how, in the order of the instructions.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from picobnn.sim.cycles import FlashLines, Segment, build_plugin, plugin_argument, read_counts

SOURCES = Path(__file__).parents[1] / "c" / "cycles"
HAVE_EMULATOR = bool(shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc") and shutil.which("gcc"))


@dataclass(frozen=True, slots=True)
class Kernel:
    """``cycles`` of one call, by core; a core that is missing was not counted. M0+ as M0 with its own branch costs."""

    name: str
    instructions: int
    cycles: dict[str, int]


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

V6M_KERNELS = (
    Kernel(
        "kernel_alu",
        6,
        {
            "cortex-m0": 8,  # 5 + BX 3
            "cortex-m0plus": 7,  # 5 + BX 2
            "cortex-m3": 7,  # 5 + BX 1+P
            "cortex-m4": 7,
            "cortex-m33": 7,  # 5 + BX 2
            "cortex-m7": 5,  # a chain of 5; BX beside UXTB
            "cortex-m55": 8,  # 5 + BX 3
        },
    ),
    Kernel(
        "kernel_load",
        5,
        {
            "cortex-m0": 10,  # 3 x 2, 1, 3
            "cortex-m0plus": 9,
            "cortex-m3": 7,  # 2, then 1 each behind a load; 1, 2
            "cortex-m4": 7,
            "cortex-m33": 6,  # 1, 1, 1, ADDS needs the loads of cycles 1 and 2: no wait; 1, 2
            "cortex-m7": 3,  # LDR LDR | LDR ADDS | BX
            "cortex-m55": 7,  # 3, 1, 3
        },
    ),
    Kernel(
        "kernel_load_use",
        3,
        {
            "cortex-m0": 6,  # 2, 1, 3
            "cortex-m0plus": 5,
            "cortex-m3": 5,  # 2, 1, 2
            "cortex-m4": 5,
            "cortex-m33": 5,  # 1, wait 1, 1, 2
            "cortex-m7": 2,  # LDR | ADDS BX
            "cortex-m55": 5,  # 1, 1, 3
        },
    ),
    Kernel(
        "kernel_chase",
        3,
        {
            "cortex-m0": 7,  # 2, 2, 3
            "cortex-m0plus": 6,
            "cortex-m3": 6,  # 2, 2 (its address is loaded: no overlap), 2
            "cortex-m4": 6,
            "cortex-m33": 5,  # 1, wait 1, 1, 2
            "cortex-m7": 3,  # LDR | address wait | LDR BX
            "cortex-m55": 5,  # 1, 1, 3
        },
    ),
    Kernel(
        "kernel_store",
        5,
        {
            "cortex-m0": 11,  # 4 x 2, 3
            "cortex-m0plus": 10,
            "cortex-m3": 7,  # 1, 1+1 in front of a load, 2, 0 under the load, 2
            "cortex-m4": 7,
            "cortex-m33": 6,  # 4 x 1 (a store's data may come late), 2
            "cortex-m7": 3,  # STR | STR LDR | STR BX
            "cortex-m55": 7,  # 4, 3
        },
    ),
    Kernel(
        "kernel_store_offset",
        3,
        {
            "cortex-m0": 6,  # 1, 2, 3
            "cortex-m0plus": 5,
            "cortex-m3": 6,  # 1, 2 with a register offset + 1 for an offset just computed, 2
            "cortex-m4": 6,
            "cortex-m33": 4,  # 1, 1, 2
            "cortex-m7": 2,  # MOVS | STR BX
            "cortex-m55": 5,  # 1, 1, 3
        },
    ),
    Kernel(
        "kernel_multiple",
        3,
        {
            "cortex-m0": 15,  # 1+3, 1+3, 4+3
            "cortex-m0plus": 14,  # 1+3, 1+3, 3+3
            "cortex-m3": 13,  # 1+3, 1+3, 1+3+P
            "cortex-m4": 13,
            "cortex-m33": 10,  # 3, 3, 3+1
            "cortex-m7": 6,  # 3 x ceil(3/2)
            "cortex-m55": 11,  # 1 + 2, 1 + 2, 1 + 2 and 2 for the pc: two words a cycle
        },
    ),
    Kernel(
        "kernel_branches",
        4,
        {
            "cortex-m0": 8,  # 1, 1 not taken, 3 taken, 3
            "cortex-m0plus": 6,  # 1, 1, 2, 2
            "cortex-m3": 6,  # 1, 1, 1+P, 2
            "cortex-m4": 6,
            "cortex-m33": 5,  # CMP with BNE beside it 1, 2, 2
            "cortex-m7": 3,  # CMP BNE | BEQ | BX
            "cortex-m55": 8,  # 1, 1, 1 + 2, 3
        },
    ),
    Kernel(
        "kernel_loop",
        22,
        {
            "cortex-m0": 42,  # 1, 10 x 1, 9 x 3 + 1, 3
            "cortex-m0plus": 32,  # 1, 10 x 1, 9 x 2 + 1, 2
            "cortex-m3": 32,  # 1, 10 x 1, 9 x 2 + 1, 2
            "cortex-m4": 32,
            "cortex-m33": 31,  # 1, 10 x 1, 9 x 2 (behind the flags) + 0, 2
            "cortex-m7": 12,  # MOVS | 10 x (SUBS BNE) | BX
            "cortex-m55": 42,  # 1, 10 x 2, 9 x 2 taken, 3
        },
    ),
    Kernel(
        "kernel_multiply",
        4,
        {
            "cortex-m0": 6,  # 1, 1, 1, 3
            "cortex-m0plus": 5,
            "cortex-m3": 5,  # 1, 1, 1, 2
            "cortex-m4": 5,
            "cortex-m33": 6,  # 1, 1, wait 1, 1, 2
            "cortex-m7": 4,  # MOVS | MULS | wait | MULS BX
            "cortex-m55": 6,  # 3, 3
        },
    ),
    Kernel(
        "kernel_page",
        3,
        {
            "cortex-m0": 7,  # 2, 2, 3
            "cortex-m0plus": 6,
            "cortex-m3": 5,  # 2, 1 although the emulator cuts the block between the loads, 2
            "cortex-m4": 5,
            "cortex-m33": 4,  # 1, 1, 2
            "cortex-m7": 2,  # LDR LDR | BX
            "cortex-m55": 5,  # 1, 1, 3
        },
    ),
    Kernel(
        "kernel_lines",  # 2 + 5 + 3 x 3 + 1
        17,
        {
            "cortex-m0": 24,  # 1, 2, 5, 3 x 2, 2 x 3 + 1, 3
            "cortex-m0plus": 21,  # 1, 2, 5, 3 x 2, 2 x 2 + 1, 2
            "cortex-m3": 21,  # 1, 2, 5, 3 x 2, 2 x (1+P) + 1, 2
            "cortex-m4": 21,
            # MOVS, LDR NOP, NOP NOP, NOP NOP, NOP, SUBS BNE: 6; 2 x (NOP, SUBS BNE) 4; 2 x 2 taken behind the flags; 2
            "cortex-m33": 16,
            "cortex-m7": 10,  # MOVS LDR | 3 x (NOP NOP) | SUBS BNE; 2 x (NOP SUBS | BNE); BX
            "cortex-m55": 23,  # 2, 5, 3 x 3, 2 x 2 taken, 3
        },
    ),
    Kernel(
        "kernel_interrupted",  # 1 + 8 x 3 + 1; what its eight interrupts cost is not its own
        26,
        {
            "cortex-m0": 50,  # 1, 8 x (2 + 1), 7 x 3 + 1, 3
            "cortex-m0plus": 42,  # 1, 8 x (2 + 1), 7 x 2 + 1, 2
            "cortex-m3": 34,  # 1, 8 x 2, 7 x (1+P) + 1, 2
            "cortex-m4": 34,
            "cortex-m33": 33,  # 1, 8 x (STR, SUBS with BNE beside it), 7 x 2 behind the flags, 2
            "cortex-m7": 18,  # LSLS | 8 x (STR SUBS | BNE); BX
            "cortex-m55": 42,  # 1, 8 x 3, 7 x 2 taken, 3
        },
    ),
)

V7M_KERNELS = (
    Kernel(
        "kernel_multiply_add",
        5,
        {
            "cortex-m3": 8,  # 1, 2, 2, 1, 2
            "cortex-m4": 6,  # 1, 1, 1, 1, 2
            "cortex-m33": 7,  # 1, 1, 1 (accumulators need not wait), wait 1, 1, 2
            "cortex-m7": 7,  # MUL . | MLA . | MLA . | ADDS BX
            "cortex-m55": 7,  # 4, 3
        },
    ),
    Kernel(
        "kernel_multiply_long",
        3,
        {
            "cortex-m3": 11,  # 4, 5, 2
            "cortex-m4": 4,  # 1, 1, 2
            "cortex-m33": 4,  # 1, 1, 2
            "cortex-m7": 3,  # UMULL . | UMLAL BX
            "cortex-m55": 5,  # 1, 1, 3
        },
    ),
    Kernel(
        "kernel_if_then",
        5,
        {
            "cortex-m3": 5,  # 1, 0 folded, 1 skipped, 1, 2
            "cortex-m4": 5,
            "cortex-m33": 5,  # CMP with ITE beside it 1, 1, 1, 2
            "cortex-m7": 3,  # CMP ITE | MOV MOV cannot: BX is third | BX
            "cortex-m55": 7,  # 4, 3
        },
    ),
    Kernel(
        "kernel_if_then_wide",
        4,
        {
            "cortex-m3": 5,  # 1, 1 not folded behind 32 bits, 1, 2
            "cortex-m4": 5,
            "cortex-m33": 4,  # CMP with IT beside it 1, 1, 2
            "cortex-m7": 2,  # CMP IT | MOV BX
            "cortex-m55": 6,  # 3, 3
        },
    ),
    Kernel(
        "kernel_wide_target",
        3,
        {
            "cortex-m3": 6,  # 1+P + 1 for the target in two words, 1, 2
            "cortex-m4": 6,
            "cortex-m33": 5,  # 2, 1, 2
            "cortex-m7": 2,  # B | ADD BX
            "cortex-m55": 7,  # 1 + 2, 1, 3
        },
    ),
    Kernel(
        "kernel_base_update",
        4,
        {
            "cortex-m3": 8,  # 2, 2, 2 (updates of a base do not overlap), 2
            "cortex-m4": 7,  # 2, 1 (another base), 2 (the same base), 2
            "cortex-m33": 5,  # 1, 1, 1, 2
            "cortex-m7": 3,  # LDR LDR | base wait | LDR BX
            "cortex-m55": 6,  # 3, 3
        },
    ),
    Kernel(
        "kernel_word_loop",  # 2 + 32 x 7 + 2
        228,
        {
            "cortex-m3": 292,  # 2, 32 x (2 + 5 + 1), 31 x P, 1, 2
            "cortex-m4": 292,
            "cortex-m33": 290,  # MOVS NOP 1, 32 x (1, wait 1, 5), 31 x 2 behind the flags, 1, 2
            "cortex-m7": 162,  # MOVS NOP 1, 32 x (LDR | EOR | AND LSRS | ADD SUBS | BNE), MOV BX 1
            "cortex-m55": 292,  # 2, 32 x 7, 31 x 2, 1, 3
        },
    ),
    Kernel(
        "kernel_popcount",  # 7 + 8 x 18 + 3
        154,
        {
            "cortex-m3": 182,  # 9, 8 x (4 + 15 + 1) + 7 x P, 2, 4: its loads update their bases, so no overlap
            "cortex-m4": 174,  # PUSH 3 and 6, 8 x (3 + 15 + 1) + 7 x P, 2 and POP 4
            # PUSH 2, 1 with BLE beside it, 4; 8 x (18, waits: load 1, shifted results 2), 7 x 1; 2 and POP 3
            "cortex-m33": 187,
            "cortex-m55": 172,  # PUSH 2 and 6, 8 x 18 + 7 x 2, 2 and POP 2 + 2
        },
    ),
    Kernel(
        "kernel_wide_page",
        3,
        {
            "cortex-m3": 4,  # 1, 1, 2
            "cortex-m4": 4,
            "cortex-m33": 4,
            "cortex-m7": 2,  # ADD | ADD BX
            "cortex-m55": 5,  # 1, 1, 3
        },
    ),
    Kernel(
        "kernel_divide",
        4,
        {
            "cortex-m3": 11,  # 1, 7, 1, 2
            "cortex-m4": 11,
            "cortex-m33": 10,  # 1, 6, 1, 2
            "cortex-m7": 11,  # MOVS | UDIV 9 | ADDS BX
        },
    ),
    Kernel(
        "kernel_pairs",
        7,
        {
            "cortex-m3": 8,  # 1, 1, 1, 2, 1, 0 under the load, 2
            "cortex-m4": 8,
            "cortex-m33": 9,  # 1, 1, wait 1 for the shifted result, 1, 1, 1, 1 (data comes late), 2
            "cortex-m7": 5,  # UXTB EOR | wait: shifted operand | EOR LDR | LDR STR | BX
            "cortex-m55": 9,  # 6, 3
        },
    ),
)

MVE_KERNELS = (
    Kernel("kernel_vector_alternate", 6, {"cortex-m55": 9}),  # 2, then 1 each under the one before; 3
    Kernel("kernel_vector_operations", 5, {"cortex-m55": 11}),  # 4 x 2, 3
    Kernel("kernel_vector_scalar", 5, {"cortex-m55": 9}),  # 2, 1, 2 behind a scalar one, 1, 3
    Kernel("kernel_vector_stack", 3, {"cortex-m55": 21}),  # 1 + 8, 1 + 8, 3
    Kernel("kernel_low_overhead", 27, {"cortex-m55": 37}),  # 1, 1, 8 x (2 + 1 + 1), 3
    Kernel("kernel_skipped_loop", 4, {"cortex-m55": 8}),  # 1, 1, 1 + 2, 3
    Kernel("kernel_tail_predicated", 10, {"cortex-m55": 14}),  # 1, 1, 1, two turns of 2 + 1 + 1 for 7 words, 3
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
