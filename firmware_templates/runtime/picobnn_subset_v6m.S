/* SPDX-License-Identifier: MIT-0
 * picobnn subset kernel, inner loops for v6-M and v8-M Baseline. Contracts and formats stand
 * in picobnn_subset_cores.h and picobnn_subset.h; the identity in picobnn_subset_v7m.S.
 *
 * Registers: r8-r11 tables of image rows a-d, two of them at a time in r4 and r5; r2 next filter;
 * r0 indices; r6, r7 sums of the upper and the lower map row; r12, lr their compares, shifted in
 * from the top of both lanes; r1, r3 fields and entries. r12 starts with a mark below the compares
 * of its low lane: it falls into the carry after the last filter of a block. Stack: filters left,
 * where to write.
 *
 * Cycles per filter, that is 4 compares, Cortex-M0+, zero wait states: wide 75, wide_halved 71,
 * thin 47, thin_halved 43; per block about 40 more.
 */
#include "picobnn_subset_cores.h"

#if PICOBNN_SUBSET_V6M

    .syntax unified
    .thumb

/* Adds the entries at r3, in bytes, of two tables. */
    .macro add_entries upper, lower
    ldr     r1, [\upper, r3]
    ldr     r3, [\lower, r3]
    adds    r6, r6, r1
    adds    r7, r7, r3
    .endm

/* A field of \bits bits from bit \from. */
    .macro add_field upper, lower, from, bits
    .if \from >= 2
    lsrs    r1, r0, #\from - 2
    .else
    lsls    r1, r0, #2 - \from
    .endif
    movs    r3, #((1 << \bits) - 1) << 2
    ands    r3, r3, r1
    add_entries \upper, \lower
    .endm

/* The field above which there is none. */
    .macro add_last_field upper, lower, from
    lsrs    r3, r0, #\from
    lsls    r3, r3, #2
    add_entries \upper, \lower
    .endm

    .macro add_wide
    add_field r4, r5, 0, 4
    add_field r4, r5, 4, 6
    mov     r4, r10
    add_field r5, r4, 10, 4
    add_field r5, r4, 14, 6
    mov     r5, r11
    add_field r4, r5, 20, 4
    add_last_field r4, r5, 24
    .endm

    .macro add_thin
    add_field r4, r5, 0, 5
    mov     r4, r10
    add_field r5, r4, 5, 5
    mov     r5, r11
    add_last_field r4, r5, 10
    .endm

/* The compares in \register take those of the sums \sums; the carry is the bit that leaves. */
    .macro take_compares register, sums
    mov     r1, \register
    lsrs    r1, r1, #1
    orrs    r1, r1, \sums
    mov     \register, r1
    .endm

/* void name(tables, rows, filters, count, bits) */
    .macro core name, add_fields, halved
    .section .text.picobnn_hot.\name, "ax", %progbits
    .p2align 2
    .global \name
    .type   \name, %function
    .thumb_func
\name:
    push    {r3-r7, lr}             /* r3: filters left */
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r4-r7}
    ldm     r1!, {r4-r7}
    lsls    r4, r4, #2
    lsls    r5, r5, #2
    lsls    r6, r6, #2
    lsls    r7, r7, #2
    add     r4, r4, r0
    add     r5, r5, r0
    add     r6, r6, r0
    add     r7, r7, r0
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
.Lblock_\name:
    ldr     r4, [sp, #16]
    cmp     r4, #16
    bls     .Lcounted_\name
    movs    r4, #16
.Lcounted_\name:
    subs    r4, r4, #1              /* filters of this block - 1 */
    movs    r3, #1
    lsls    r3, r3, r4              /* the mark */
    mov     r12, r3
    .if \halved == 0
    movs    r3, #0
    mov     lr, r3
    .endif
.Lfilter_\name:
    ldm     r2!, {r0, r6}
    mov     r4, r8
    mov     r5, r9
    mov     r7, r6
    \add_fields
    ldr     r3, =0x80008000
    .if \halved
    orrs    r6, r6, r7
    .else
    ands    r7, r7, r3
    take_compares lr, r7
    .endif
    ands    r6, r6, r3
    take_compares r12, r6
    bcc     .Lfilter_\name
    ldr     r4, [sp, #16]
    ldr     r5, [sp, #40]           /* bits */
    mov     r6, r12
    mov     r7, lr
    subs    r4, r4, #16
    bhs     .Lwhole_\name
    rsbs    r4, r4, #0              /* an incomplete block ends below the top of its lanes */
    lsrs    r6, r6, r4
    .if \halved == 0
    lsrs    r7, r7, r4
    .endif
    movs    r4, #0
.Lwhole_\name:
    .if \halved
    stm     r5!, {r6}
    .else
    stm     r5!, {r6, r7}
    .endif
    str     r5, [sp, #40]
    str     r4, [sp, #16]
    cmp     r4, #0
    bne     .Lblock_\name
    pop     {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r3-r7, pc}
    .ltorg
    .size   \name, . - \name
    .endm

    core    picobnn_subset_wide, add_wide, 0
    core    picobnn_subset_wide_halved, add_wide, 1
    core    picobnn_subset_thin, add_thin, 0
    core    picobnn_subset_thin_halved, add_thin, 1

#endif
