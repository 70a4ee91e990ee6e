/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel from Rice codes, for v7-M and v8-M Mainline: codes to entries. The contract and
 * the format stand in picobnn_planes_lists.h.
 *
 * Registers: r0 half-words behind those ahead, r1 entries left, r2 next entry, r3 codes ahead, lr the
 * record; r7 offset, r8 = k + 1, r9 = 31 - k, r10 = 4 << k, r11 = 4 - r10, which takes the code's one
 * away again; r4-r6 a code.
 *
 * Cycles on Cortex-M4 (modelled): 13.5 per code and 10.5 more per half-word.
 */
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2

    .syntax unified
    .thumb

/* A code: q zeros (r4 = q, from clz), a one, k bits. r3 codes ahead, left-aligned; r12: how many of
 * them beyond 16. Goes to `rare` where fewer than 16 would be left, otherwise stores the entry. */
    .macro common_code rare
    clz     r4, r3
    add     r5, r4, r8
    subs    r12, r12, r5
    bmi     \rare
    store_entry
    .endm

    .macro store_entry
    lsl     r6, r3, r4
    lsr     r6, r6, r9
    mla     r7, r4, r10, r7
    lsl     r3, r3, r5
    add     r7, r7, r6, lsl #2
    add     r7, r7, r11
    strh    r7, [r2], #2
    .endm

/* 16 more bits behind the 16 + r12 that are left. */
    .macro refill
    ldrh    r6, [r0], #2
    rsb     r4, r12, #0
    lsls    r6, r6, r4
    orrs    r3, r3, r6
    adds    r12, r12, #16
    .endm

    .section .text.picobnn_hot.planes_decode, "ax", %progbits
    .global picobnn_planes_decode
    .type   picobnn_planes_decode, %function
    .balign 4
    .thumb_func
picobnn_planes_decode:
    push    {r4-r11, lr}
    mov     lr, r0
    ldm     lr, {r0, r3, r8}
    ldr     r7, [lr, #12]
    movs    r6, #4
    lsl     r10, r6, r8
    sub     r11, r6, r10
    rsb     r9, r8, #31
    add     r8, r8, #1
    lsrs    r4, r3, #4
    add     r0, r0, r4, lsl #1
    and     r5, r3, #15
    ldrh    r3, [r0], #2
    ldrh    r4, [r0], #2
    rsb     r12, r5, #16
    orr     r3, r4, r3, lsl #16
    lsl     r3, r3, r5
    b       81f

    .balign 4
80:
    common_code 83f
    subs    r1, r1, #1
    beq     84f
81:
    common_code 83f
    subs    r1, r1, #1
    bne     80b
    b       84f

83: /* 16 bits at most are left behind this code, or it is a skip of 17 - r8 zeros */
    cmp     r5, #16
    bhi     85f
    store_entry
    refill
    subs    r1, r1, #1
    bne     80b
84: /* where the next code begins: behind all but the 16 + r12 bits ahead */
    ldr     r3, [lr]
    subs    r0, r0, r3
    lsls    r0, r0, #3
    subs    r0, r0, #16
    sub     r0, r0, r12
    str     r0, [lr, #4]
    pop     {r4-r11, pc}

85:
    add     r12, r12, r5
    rsb     r4, r8, #17
    mla     r7, r4, r10, r7
    lsls    r3, r3, r4
    subs    r12, r12, r4
    bpl     81b
    refill
    b       81b
    .size   picobnn_planes_decode, . - picobnn_planes_decode

#endif
