/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernels: gather and count for v7-M and v8-M Mainline. Contracts stand in
 * picobnn_planes.h.
 */
#include "picobnn_planes_adders_v7m.S"

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2

    .syntax unified
    .thumb

    .section .text.picobnn_hot.planes_count, "ax", %progbits
    .global picobnn_planes_count
    .type   picobnn_planes_count, %function
    .balign 4
    .thumb_func
/* r0 words, r1 end, r2 counters, r3 carries. 99 cycles per 16 words. */
picobnn_planes_count:
    push    {r4-r11, lr}
    mov     r8, r0
    mov     lr, r1
    mov     r9, r2
    mov     r12, r3
    movs    r4, #0
    movs    r5, #0
    movs    r6, #0
    movs    r7, #0
    .balign 4
60:
    ldm     r8!, {r0-r3}
    add_four r4, r5, r0, r1, r2, r3
    ldm     r8!, {r1, r2, r3, r10}
    add_four r4, r5, r1, r2, r3, r10
    full_adder r6, r0, r1
    ldm     r8!, {r1, r2, r3, r10}
    add_four r4, r5, r1, r2, r3, r10
    ldm     r8!, {r2, r3, r10, r11}
    add_four r4, r5, r2, r3, r10, r11
    full_adder r6, r1, r2
    full_adder r7, r0, r1
    str     r0, [r12], #4
    cmp     r8, lr
    bne     60b
    stm     r9, {r4-r7}
    pop     {r4-r11, pc}
    .size   picobnn_planes_count, . - picobnn_planes_count

    .section .text.picobnn_hot.planes_gather, "ax", %progbits
    .global picobnn_planes_gather
    .type   picobnn_planes_gather, %function
    .balign 4
    .thumb_func
/* r0 low, r1 words, r2 count, r3 run. 20 cycles per 2 words; a shift by 32 gives 0. */
picobnn_planes_gather:
    push    {r4-r11, lr}
    ldm     r3, {r4-r7}
    rsb     r8, r6, #32
    lsrs    r2, r2, #1
    bcc     70f
    ldr     r3, [r0]
    ldr     r9, [r0, r4]
    add     r0, r0, r5
    lsrs    r3, r3, r6
    lsl     r9, r9, r8
    orr     r3, r3, r9
    ands    r3, r3, r7
    str     r3, [r1], #4
70:
    cbz     r2, 72f
    add     r11, r4, r5
    .balign 4
71:
    ldr     r3, [r0]
    ldr     r9, [r0, r4]
    ldr     r10, [r0, r5]
    ldr     r12, [r0, r11]
    add     r0, r0, r5, lsl #1
    lsrs    r3, r3, r6
    lsl     r9, r9, r8
    orr     r3, r3, r9
    ands    r3, r3, r7
    lsr     r10, r10, r6
    lsl     r12, r12, r8
    orr     r10, r10, r12
    and     r10, r10, r7
    strd    r3, r10, [r1], #8
    subs    r2, r2, #1
    bne     71b
72:
    pop     {r4-r11, pc}
    .size   picobnn_planes_gather, . - picobnn_planes_gather

#endif
