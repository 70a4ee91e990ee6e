/* SPDX-License-Identifier: MIT-0
 * picobnn planes cores for v7-M and v8-M Mainline. Contracts and formats stand in picobnn_planes.h,
 * the adders' identities in picobnn_adders_v7m.h, the order of the list loop in
 * picobnn_planes_bytes_v7m.S.
 *
 * Registers in the list loop: r4-r7 counters of weight 1, 2, 4, 8; r0-r3, r10-r12 words; r8 list; r9
 * window; lr filter word 0, whose top byte counts the groups down. One word of weight 16 per group
 * goes onto the stack. Then the low four bits are compared, and r4-r9, r11, r12 become the counters
 * of weight 16 and above, to which the stacked words are added.
 *
 * Cycles on Cortex-M4 (modelled): 115 per group of 16 words, 56 per group of 8, about 6.5 per
 * stacked word, 3 per bit of the compare, about 70 per filter beside that. 57 per group of 16 words
 * on Cortex-M7. 148 bytes of stack and 4 per group of a list.
 */
#include "picobnn_planes_bytes_v7m.S"

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2

    .syntax unified
    .thumb

/* The pass, copied to the stack, and two fields of the cores. */
    .equ EVEN, 48
    .equ FILTERS, 52
    .equ LISTS, 56
    .equ WORDS, 60
    .equ OUTPUT, 64
    .equ OUTPUT_STEP, 68
    .equ COUNT, 72
    .equ LIMITS, 76
    .equ LIMIT_STEP, 80
    .equ CLASSES, 84
    .equ CLASSES_END, 88
    .equ CARRY, 92
    .equ LOW_COUNTERS, 96
    .equ CONSTANT, 96
    .equ FRAME_BYTES, 112

    .macro core name, bits, has_classes, high, s5, s6, s7:vararg
    .section .text.picobnn_hot.\name, "ax", %progbits
    .global \name
    .type   \name, %function
    .balign 4
    .thumb_func
\name:
    push    {r4-r11, lr}
    sub     sp, sp, #FRAME_BYTES
    mov     r1, sp
    ldm     r0!, {r2-r9}
    stm     r1!, {r2-r9}
    ldm     r0!, {r2-r9}
    stm     r1!, {r2-r9}
    ldm     r0!, {r2-r8}
    stm     r1!, {r2-r8}

10: /* next filter */
    ldr     r0, [sp, #FILTERS]
    ldr     r8, [sp, #LISTS]
    ldr     r9, [sp, #WORDS]
    ldrd    lr, r12, [r0], #8
    str     r0, [sp, #FILTERS]
    asr     r12, r12, #16
    add     r9, r9, r12, lsl #2
    ldm     sp, {r4-r7}

    .balign 4
20: /* 16 list entries */
    add_entries 1
    str     r0, [sp, #-4]!
    bcs     20b

    ubfx    r12, lr, #16, #8
    add     r12, sp, r12, lsl #2
    ldr     r0, [r12, #FILTERS]
    ldr     lr, [r0, #-4]
    tst     lr, #0x8000
    beq     30f
    add_half_group

30: /* low bits; r12: the frame above the stacked words */
    .if \has_classes
    str     r8, [r12, #LISTS]
    add     r1, r12, #LOW_COUNTERS
    stm     r1, {r4-r7}
    .else
    ldr     r1, [r12, #EVEN]
    str     r8, [r12, #LISTS]
    compare_low r2, lr
    str     r1, [r12, #CARRY]
    str     r2, [r12, #CONSTANT]
    .endif
    add_stacked r12, 16, "\high", "\s5", "\s6", \s7
    compare_high \bits, \has_classes, r4, \s5

    ldr     r2, [sp, #OUTPUT]
    ldr     r3, [sp, #OUTPUT_STEP]
    ldr     r0, [sp, #COUNT]
    str     r1, [r2]
    adds    r2, r2, r3
    subs    r0, r0, #1
    str     r2, [sp, #OUTPUT]
    str     r0, [sp, #COUNT]
    bne     10b

    add     sp, sp, #FRAME_BYTES
    pop     {r4-r11, pc}
    .size   \name, . - \name
    .endm

    .macro cores kind, has_classes
    .irp bits, 7, 8, 9, 10, 11, 12
    core_of_bits \bits, picobnn_planes_\kind\()_\bits, \has_classes
    .endr
    .endm

    cores core, 0
    cores classes, 1

#endif
