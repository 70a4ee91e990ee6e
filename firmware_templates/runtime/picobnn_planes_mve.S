/* SPDX-License-Identifier: MIT-0
 * picobnn planes adders for cores with vectors (v8.1-M, MVE). Contracts and formats stand in
 * picobnn_planes_mve.h.
 *
 * Registers in the list loop: as picobnn_mve_adders.S says; r8 list; r9 words of the block; r10 pass;
 * r11 limits; lr groups left. The counters lie in the frame in the end, where the compare finds them.
 *
 * Cycles on Cortex-M55, modelled without a band: per group of 8 words 76 for one filter, 102 for two
 * (of 64 lanes each); 73 and 6 per counter from weight 64 on per 8 carries; 10 per bit and class of
 * the compare; about 90 per unit. 328 bytes of stack.
 */
#if defined(__ARM_FEATURE_MVE)

#include "picobnn_mve_adders.S"

    .syntax unified
    .thumb

/* The pass. */
    .equ EVEN, 192
    .equ LISTS, 208
    .equ LIMITS, 216
    .equ LIMIT_STEP, 220
    .equ CLASSES, 224
    .equ OUTPUT, 232
    .equ OUTPUT_STEP, 236
    .equ COUNT, 240
    .equ BITS, 244
    .equ OUTPUT_WORDS, 248
    .equ CARRIES, 252

/* The frame: the counters, what moves on, and a result. */
    .equ NEXT_LIST, 192
    .equ NEXT_OUTPUT, 196
    .equ LEFT, 200
    .equ RESULT, 208
    .equ FRAME_BYTES, 224

/* Addresses from the offsets in r1, r3, r5, r7. 8 cycles. */
    .macro find_words
    uxtah   r0, r9, r1
    add     r1, r9, r1, lsr #16
    uxtah   r2, r9, r3
    add     r3, r9, r3, lsr #16
    uxtah   r4, r9, r5
    add     r5, r9, r5, lsr #16
    uxtah   r6, r9, r7
    add     r7, r9, r7, lsr #16
    .endm

/* 8 words of one filter. The pair (q2, q3) is the one of the group before. */
    .macro add_group_1
    ldrd    r1, r3, [r8], #16
    ldrd    r5, r7, [r8, #-8]
    find_words
    add_eight
    .endm

/* 8 words of each of two filters. */
    .macro add_group_2
    ldrd    r1, r3, [r8], #32
    ldrd    r5, r7, [r8, #-24]
    find_words
    vldr    d4, [r0]
    vldr    d5, [r4]
    vldr    d6, [r1]
    vldr    d7, [r5]
    vldr    d8, [r2]
    vldr    d9, [r6]
    vldr    d10, [r3]
    vldr    d11, [r7]
    add_words q2, q3, q4, q5
    ldrd    r1, r3, [r8, #-16]
    ldrd    r5, r7, [r8, #-8]
    find_words
    vldr    d8, [r0]
    vldr    d9, [r4]
    vldr    d10, [r1]
    vldr    d11, [r5]
    vldr    d12, [r2]
    vldr    d13, [r6]
    vldr    d14, [r3]
    vldr    d15, [r7]
    add_words q4, q5, q6, q7
    double_adder q1, q3, q2, q5, q4
    vldrw.u32 q4, [sp, #WEIGHT_4]
    veor    q2, q2, q4
    vorr    q2, q2, q3
    veor    q4, q4, q3
    vstrw.32 q4, [sp, #WEIGHT_4]
    veor    q2, q2, q4
    vstrw.32 q2, [r12], #16
    .endm

    .macro end_groups_1
    end_eights
    .endm

    .macro end_groups_2
    .endm

/* The next two words of a vector to one plane. */
    .macro store_half at
    ldrd    r2, r3, [sp, #\at]
    cmp     r1, #1
    str     r2, [r0]
    it      ne
    strne   r3, [r0, #4]
    add     r0, r0, r4
    .endm

    .macro core name, filters
    .section .text.picobnn_hot.\name, "ax", %progbits
    .global \name
    .type   \name, %function
    .balign 4
    .thumb_func
\name:
    push    {r4-r12, lr}
    vpush   {d8-d15}
    sub     sp, sp, #FRAME_BYTES
    mov     r10, r0
    ldrd    r8, r9, [r10, #LISTS]
    ldr     r11, [r10, #LIMITS]
    ldr     r0, [r10, #OUTPUT]
    ldr     r1, [r10, #COUNT]
    str     r0, [sp, #NEXT_OUTPUT]
    str     r1, [sp, #LEFT]

10: /* next unit; the first carry is none */
    ldr     r3, [r8], #4
    ldr     r2, [r10, #BITS]
    ldr     r12, [r10, #CARRIES]
    .if \filters == 2
    adds    r12, r12, #16
    .endif
    subs    r2, r2, #6
    start_counters r10
    dls     lr, r3
    .balign 4
20:
    add_group_\filters
    le      lr, 20b
    end_groups_\filters
    str     r8, [sp, #NEXT_LIST]

    ldr     r8, [r10, #CARRIES]
    ldr     r6, [r10, #BITS]
    adds    r8, r8, #16
    subs    r6, r6, #6
    add_carries r10

    ldrd    r4, r5, [r10, #CLASSES]
    adds    r6, r6, #5
    vmov.i8 q3, #0xff
    vmov.i32 q6, #0
50: /* one class of pixels */
    ldr     r0, [r4], #4
    add     r0, r0, r11
    ldrh    r1, [r0], #2
    mov     r2, sp
    vmsr    p0, r1
    dls     lr, r6
    vldrw.u32 q7, [r10, #EVEN]
    vpsel   q7, q7, q3
51: /* one bit: the carry with a constant */
    ldrh    r1, [r0], #2
    vmsr    p0, r1
    vldrw.u32 q4, [r2], #16
    vorr    q5, q7, q4
    vand    q7, q7, q4
    vpsel   q7, q5, q7
    le      lr, 51b
    ldrh    r1, [r0]
    vmsr    p0, r1
    vldrw.u32 q4, [r2]
    veor    q7, q7, q4
    vldrw.u32 q4, [r4], #16
    vmvn    q5, q7
    vpsel   q7, q5, q7
    vand    q7, q7, q4
    vorr    q6, q6, q7
    cmp     r4, r5
    bne     50b

    ldr     r2, [r10, #LIMIT_STEP]
    ldr     r0, [sp, #NEXT_OUTPUT]
    ldr     r1, [r10, #OUTPUT_WORDS]
    add     r11, r11, r2
    ldr     r4, [r10, #OUTPUT_STEP]
    ldr     r5, [sp, #LEFT]
    ldr     r8, [sp, #NEXT_LIST]
    .if \filters == 1
    vctp.32 r1
    vpst
    vstrwt.32 q6, [r0]
    add     r0, r0, r4
    .else
    vstrw.32 q6, [sp, #RESULT]
    store_half RESULT
    subs    r5, r5, #1
    beq     60f
    store_half RESULT + 8
    .endif
    subs    r5, r5, #1
    str     r0, [sp, #NEXT_OUTPUT]
    str     r5, [sp, #LEFT]
    bne     10b
60:
    add     sp, sp, #FRAME_BYTES
    vpop    {d8-d15}
    pop     {r4-r12, pc}
    .size   \name, . - \name
    .endm

    core picobnn_planes_mve_128, 1
    core picobnn_planes_mve_64, 2

    .macro begin name
    .section .text.picobnn_hot.\name, "ax", %progbits
    .global \name
    .type   \name, %function
    .balign 4
    .thumb_func
\name:
    .endm

/* r0 vectors, r1 groups, r2 sums, r3 carries. 69 cycles per group. */
    begin   picobnn_planes_mve_count
    push    {r8, lr}
    vpush   {d8-d15}
    mov     r8, r0
    vmov.i32 q0, #0
    dls     lr, r1
    vmov.i32 q1, #0
    vstrw.32 q0, [r2, #32]
70:
    add_next_eight "[r2, #32]"
    vstrw.32 q2, [r3], #16
    le      lr, 70b
    vstrw.32 q0, [r2]
    vstrw.32 q1, [r2, #16]
    vpop    {d8-d15}
    pop     {r8, pc}
    .size   picobnn_planes_mve_count, . - picobnn_planes_mve_count

/* r0 low, r1 vectors, r2 count, r3 run. A shift by 32 gives 0. 12 cycles per vector. */
    begin   picobnn_planes_mve_gather_128
    push    {r4, r5, r6, lr}
    ldrd    r4, r5, [r3], #8
    rsb     r6, r5, #32
    rsbs    r5, r5, #0
    vldrw.u32 q2, [r3]
    dls     lr, r2
80:
    vldrw.u32 q0, [r0]
    vshl.u32 q0, r5
    vldrw.u32 q1, [r0, #4]
    vshl.u32 q1, r6
    vorr    q0, q0, q1
    vand    q0, q0, q2
    vstrw.32 q0, [r1], #16
    add     r0, r0, r4
    le      lr, 80b
    pop     {r4, r5, r6, pc}
    .size   picobnn_planes_mve_gather_128, . - picobnn_planes_mve_gather_128

/* The same with two planes side by side. 16 cycles per vector. */
    begin   picobnn_planes_mve_gather_64
    push    {r4, r5, r6, lr}
    ldrd    r4, r5, [r3], #8
    rsb     r6, r5, #32
    rsbs    r5, r5, #0
    vldrw.u32 q2, [r3]
    dls     lr, r2
90:
    vldr    d0, [r0]
    vldr    d2, [r0, #4]
    add     r0, r0, r4
    vldr    d1, [r0]
    vldr    d3, [r0, #4]
    add     r0, r0, r4
    vshl.u32 q0, r5
    vshl.u32 q1, r6
    vorr    q0, q0, q1
    vand    q0, q0, q2
    vstrw.32 q0, [r1], #16
    le      lr, 90b
    pop     {r4, r5, r6, pc}
    .size   picobnn_planes_mve_gather_64, . - picobnn_planes_mve_gather_64

#endif
