# SPDX-License-Identifier: Apache-2.0
"""Hand counts of the kernels in tests/c/cycles/kernels_v6m.S.

Every figure was counted by hand from the manuals' tables and the rules in docs/cycle-models.md; the comment beside it
shows how, in the order of the instructions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kernel:
    """``cycles`` of one call, by core; a core that is missing was not counted. M0+ as M0 with its own branch costs."""

    name: str
    instructions: int
    cycles: dict[str, int]


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
