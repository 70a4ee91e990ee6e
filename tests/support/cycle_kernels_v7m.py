# SPDX-License-Identifier: Apache-2.0
"""Hand counts of the kernels in tests/c/cycles/kernels_v7m.S and kernels_mve.S.

Every figure was counted by hand from the manuals' tables and the rules in docs/cycle-models.md; the comment beside it
shows how, in the order of the instructions.
"""

from __future__ import annotations

from tests.support.cycle_kernels import Kernel

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
