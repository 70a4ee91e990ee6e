/* SPDX-License-Identifier: MIT-0
 * picobnn rows adder for cores with vectors (v8.1-M, MVE).
 *
 *     void picobnn_rows_mve_vectors(const picobnn_rows_job *job);
 *
 * Contract as in picobnn_rows_mve.h. 360 bytes of stack.
 *
 * Registers in the list loop: as picobnn_mve_adders.S says; r8 list; r9 rows of the segment; r10 job;
 * r11 next segment; lr eights left. Rows weigh 2 (see picobnn_rows.h), so that the counters in the
 * frame are those of the count without its lowest plane.
 *
 * Cycles on Cortex-M55, modelled without a band: 79 per 8 rows of 128 channels; 73 and 6 per counter
 * from weight 128 on per 64 rows; 11 per plane; about 110 per vector of channels.
 */
#if defined(__ARM_FEATURE_MVE)

#include "picobnn_mve_adders.S"

    .syntax unified
    .thumb

/* Fields of picobnn_rows_job. */
    .equ JOB_MEMORY, 0
    .equ JOB_WEIGHTS, 4
    .equ JOB_CARRIES, 12
    .equ JOB_WORDS, 16
    .equ JOB_ADDEND, 20
    .equ JOB_PLANES, 24
    .equ JOB_GROUPS, 28
    .equ JOB_GROUP_BYTES, 32
    .equ JOB_INVERT, 36

/* The frame: 15 counters, then what moves on. */
    .equ WEIGHTS, 240
    .equ STARTS, 244
    .equ WORDS, 248
    .equ LEFT, 252
    .equ FRAME_BYTES, 256

    .section .text.picobnn_hot.rows_mve_vectors, "ax", %progbits
    .balign 4
    .global picobnn_rows_mve_vectors
    .type picobnn_rows_mve_vectors, %function
    .thumb_func
picobnn_rows_mve_vectors:
    push    {r4-r12, lr}
    vpush   {d8-d15}
    sub     sp, sp, #FRAME_BYTES
    mov     r10, r0
    ldrd    r1, r4, [r10, #JOB_WEIGHTS]
    ldr     r2, [r10, #JOB_WORDS]
    ldr     r3, [r10, #JOB_GROUPS]
    str     r2, [sp, #WORDS]
    lsrs    r3, r3, #2
    str     r3, [sp, #LEFT]

10: /* r1 rows, r4 starts of four groups */
    strd    r1, r4, [sp, #WEIGHTS]
    ldr     r2, [r10, #JOB_PLANES]
    adds    r4, r4, #16
    subs    r2, r2, #7
    start_counters r4
    ldr     r12, [r10, #JOB_CARRIES]
    ldr     r11, [r10, #JOB_MEMORY]
    b       22f

20: /* r0 list, r2 its end less 64, r3 base of its rows */
    ldr     r8, [r10, #JOB_MEMORY]
    ldr     r9, [sp, #WEIGHTS]
    subs    r2, r2, r0
    adds    r2, r2, #64
    lsrs    r2, r2, #5
    beq     22f
    add     r8, r8, r0
    add     r9, r9, r3, lsl #2
    dls     lr, r2
    .balign 4
21:
    ldm     r8!, {r0-r7}
    add     r0, r9, r0, lsl #2
    add     r1, r9, r1, lsl #2
    add     r2, r9, r2, lsl #2
    add     r3, r9, r3, lsl #2
    add     r4, r9, r4, lsl #2
    add     r5, r9, r5, lsl #2
    add     r6, r9, r6, lsl #2
    add     r7, r9, r7, lsl #2
    add_eight
    le      lr, 21b
22:
    ldm     r11!, {r0, r2, r3}
    cmp     r0, #0
    bne     20b
    end_eights

    ldr     r4, [sp, #STARTS]
    ldr     r8, [r10, #JOB_CARRIES]
    ldr     r6, [r10, #JOB_PLANES]
    adds    r5, r4, #16
    adds    r8, r8, #16
    subs    r6, r6, #7
    add_carries r5

    /* The sign of the count plus the addend: the carry of each plane, then the last one. */
    adds    r6, r6, #5
    ldr     r1, [r10, #JOB_ADDEND]
    mov     r2, sp
    sbfx    r0, r1, #0, #1
    dls     lr, r6
    vdup.32 q7, r0
    vldrw.u32 q4, [r4]
    vand    q7, q7, q4
    lsrs    r1, r1, #1
30:
    lsrs    r1, r1, #1
    sbc     r0, r0, r0              /* ones where the addend's bit is clear */
    vmsr    p0, r0
    vldrw.u32 q4, [r2], #16
    vorr    q5, q7, q4
    vand    q7, q7, q4
    vpsel   q7, q7, q5
    le      lr, 30b
    ldr     r3, [r10, #JOB_INVERT]
    sbfx    r0, r1, #0, #1
    eors    r0, r0, r3
    vdup.32 q5, r0
    vldrw.u32 q4, [r2]
    veor    q7, q7, q5
    ldr     r0, [sp, #WORDS]
    veor    q7, q7, q4
    vstrw.32 q7, [r0], #16

    ldr     r2, [sp, #LEFT]
    str     r0, [sp, #WORDS]
    subs    r2, r2, #1
    str     r2, [sp, #LEFT]
    beq     40f
    ldr     r0, [r10, #JOB_GROUP_BYTES]
    ldr     r1, [sp, #WEIGHTS]
    ldr     r3, [r10, #JOB_PLANES]
    add     r1, r1, r0, lsl #2
    add     r4, r4, r3, lsl #4
    b       10b
40:
    add     sp, sp, #FRAME_BYTES
    vpop    {d8-d15}
    pop     {r4-r12, pc}
    .size picobnn_rows_mve_vectors, . - picobnn_rows_mve_vectors

#endif
