/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel from packed weights, for v7-M and v8-M Mainline: bits to entries. The contract
 * stands in picobnn_planes_lists.h.
 *
 * Registers: r0 bits, r1 words left, r2 offset of the word, r3 first entry; r4 next entry; r5 the top
 * bit; r6 bits left, lowest bit on top. CLZ finds the next set bit, from the lowest on.
 *
 * Cycles on Cortex-M4 (modelled): 7 per set bit, 9 per word.
 */
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2

    .syntax unified
    .thumb

    .section .text.picobnn_hot.planes_expand, "ax", %progbits
    .global picobnn_planes_expand
    .type   picobnn_planes_expand, %function
    .balign 4
    .thumb_func
picobnn_planes_expand:
    push    {r4-r7}
    mov     r4, r3
    mov     r5, #0x80000000
70:
    ldr     r6, [r0], #4
    rbit    r6, r6
    cbz     r6, 72f
    .balign 4
71:
    clz     r7, r6
    lsr     r12, r5, r7
    bics    r6, r6, r12
    add     r7, r2, r7, lsl #2
    strh    r7, [r4], #2
    bne     71b
72:
    add     r2, r2, #128
    subs    r1, r1, #1
    bne     70b
    subs    r0, r4, r3
    lsrs    r0, r0, #1
    pop     {r4-r7}
    bx      lr
    .size   picobnn_planes_expand, . - picobnn_planes_expand

#endif
