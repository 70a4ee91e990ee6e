/* SPDX-License-Identifier: MIT-0
 * picobnn subset kernel, inner loops for v7-M and v8-M Mainline. Contracts and formats stand
 * in picobnn_subset_cores.h and picobnn_subset.h.
 *
 * Identity. A table entry holds the signed sum of some taps of one image row, in two 16-bit lanes
 * for two neighbouring positions. Per filter and map row:
 *     sums = offset + entries of three image rows,  offset = (2^15 - T) * 65537
 * so a lane is 2^15 + acc - T, without overflow since |acc - T| < 2^15, and its top bit is the
 * compare acc >= T. The upper map row takes image rows a, b, c, the lower one b, c, d, with the
 * same indices: each is decoded once for four positions.
 *
 * Registers: r4-r7 tables of image rows a-d; r1 next filter; r2, r3 compares of the upper and the
 * lower map row, shifted in from the top of both lanes; lr (thin_halved: r3) indices; r10, r8 sums;
 * r0, r9, r11, r12 entries and fields. r2 starts with a mark below the compares of its low lane:
 * it falls into the carry after the last filter of a block. Stack: filters left, where to write.
 *
 * Cycles per pair of filters, that is 8 compares, Cortex-M4, zero wait states: wide 81, wide_halved
 * 79, thin 48, thin_halved 45; per block about 25 more.
 */
#include "picobnn_subset_cores.h"

#if PICOBNN_SUBSET_V7M

    .syntax unified
    .thumb

/* r2 (and r3) take the compares of the sums r10 and r8; \mark updates the carry. */
    .macro take_compares halved, mark
    .if \halved
    orr     r10, r10, r8
    and     r10, r10, #0x80008000
    .else
    and     r8, r8, #0x80008000
    and     r10, r10, #0x80008000
    orr     r3, r8, r3, lsr #1
    .endif
    .if \mark
    orrs    r2, r10, r2, lsr #1
    .else
    orr     r2, r10, r2, lsr #1
    .endif
    .endm

/* A filter of six fields. lr holds its indices and takes those of the next; r1 is \ahead bytes
 * behind its record. */
    .macro filter_wide halved, last, ahead
    ubfx    r8, lr, #0, #4
    ubfx    r9, lr, #4, #6
    ldr     r10, [r4, r8, lsl #2]
    ldr     r8, [r5, r8, lsl #2]
    ldr     r11, [r4, r9, lsl #2]
    ldr     r9, [r5, r9, lsl #2]
    ldr     r0, [r1, #4 - \ahead]
    add     r10, r10, r11
    add     r8, r8, r9
    ubfx    r9, lr, #10, #4
    ubfx    r11, lr, #14, #6
    add     r10, r10, r0
    add     r8, r8, r0
    ldr     r12, [r5, r9, lsl #2]
    ldr     r9, [r6, r9, lsl #2]
    ldr     r0, [r5, r11, lsl #2]
    ldr     r11, [r6, r11, lsl #2]
    add     r10, r10, r12
    add     r8, r8, r9
    ubfx    r9, lr, #20, #4
    add     r10, r10, r0
    lsr     r0, lr, #24
    add     r8, r8, r11
    ldr     r12, [r6, r9, lsl #2]
    ldr     r9, [r7, r9, lsl #2]
    ldr     r11, [r6, r0, lsl #2]
    ldr     r0, [r7, r0, lsl #2]
    .if \last == 0
    ldr     lr, [r1, #8 - \ahead]
    .endif
    add     r10, r10, r12
    add     r8, r8, r9
    add     r10, r10, r11
    add     r8, r8, r0
    take_compares \halved, \last
    .endm

/* A filter of three fields. \words holds its indices; where that is not lr, it takes those of the
 * next. */
    .macro filter_thin halved, last, ahead, words
    ubfx    r8, \words, #0, #5
    ubfx    r9, \words, #5, #5
    lsr     r12, \words, #10
    ldr     r10, [r4, r8, lsl #2]
    ldr     r8, [r5, r8, lsl #2]
    ldr     r11, [r5, r9, lsl #2]
    ldr     r9, [r6, r9, lsl #2]
    ldr     r0, [r6, r12, lsl #2]
    ldr     r12, [r7, r12, lsl #2]
    ldr     lr, [r1, #4 - \ahead]
    .if \halved && \last == 0
    ldr     \words, [r1, #8 - \ahead]
    .endif
    add     r10, r10, r11
    add     r8, r8, r9
    add     r10, r10, r0
    add     r8, r8, r12
    add     r10, r10, lr
    add     r8, r8, lr
    .if \halved == 0 && \last == 0
    ldr     \words, [r1, #8 - \ahead]
    .endif
    take_compares \halved, \last
    .endm

/* void name(tables, rows, filters, count, bits) */
    .macro core name, filter, halved, words
    .section .text.picobnn_hot.\name, "ax", %progbits
    .p2align 2
    .global \name
    .type   \name, %function
    .thumb_func
\name:
    push    {r3-r11, lr}            /* r3: filters left */
    ldm     r1, {r4-r7}
    mov     r1, r2
    add     r4, r0, r4, lsl #2
    add     r5, r0, r5, lsl #2
    add     r6, r0, r6, lsl #2
    add     r7, r0, r7, lsl #2
.Lblock_\name:
    ldr     r8, [sp]
    mov     r2, #0x8000             /* the mark */
    subs    r8, r8, #16
    itt     lo                      /* an incomplete block */
    rsblo   r9, r8, #0
    lsrlo   r2, r2, r9
    .if \halved == 0
    movs    r3, #0
    .endif
    str     r8, [sp]
    .p2align 2
.Lpair_\name:
    ldr     \words, [r1], #16
    \filter \halved, 0, 16, \words
    \filter \halved, 1, 8, \words
    bcc     .Lpair_\name
    ldr     r8, [sp]                /* filters left; of an incomplete block, less 16 */
    ldr     r9, [sp, #40]           /* bits */
    cmp     r8, #0
    .if \halved
    itt     lt                      /* an incomplete block ends below the top of its lanes */
    .else
    ittt    lt
    .endif
    rsblt   r10, r8, #0
    lsrlt   r2, r2, r10
    .if \halved == 0
    lsrlt   r3, r3, r10
    strd    r2, r3, [r9], #8
    .else
    str     r2, [r9], #4
    .endif
    str     r9, [sp, #40]
    bgt     .Lblock_\name
    pop     {r3-r11, pc}
    .size   \name, . - \name
    .endm

/* The indices of the first filter of a pair are loaded before it; wide needs no other register. */
    .macro filter_wide_lr halved, last, ahead, words
    filter_wide \halved, \last, \ahead
    .endm

    core    picobnn_subset_wide, filter_wide_lr, 0, lr
    core    picobnn_subset_wide_halved, filter_wide_lr, 1, lr
    core    picobnn_subset_thin, filter_thin, 0, lr
    core    picobnn_subset_thin_halved, filter_thin, 1, r3

#endif
