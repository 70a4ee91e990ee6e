/* SPDX-License-Identifier: MIT-0
 * picobnn planes cores for lists of offsets, for v7-M and v8-M Mainline. Contracts and formats stand
 * in picobnn_planes_lists.h, the adders' identities in picobnn_adders_v7m.h.
 *
 * Registers in the list loop: r4-r7 counters of weight 1, 2, 4, 8; r0-r3, r10-r12 words; r8 list; r9
 * word 0 of the block; lr the list's head, whose top byte counts the groups down. Entries are loaded
 * as half-words four at a time, so that eight loads follow each other and overlap. One word of weight
 * 16 per group goes onto the stack. Then the low four bits are compared, and r4-r9, r11, r12 become
 * the counters of weight 16 and above, to which the stacked words are added.
 *
 * Cycles on Cortex-M4 (modelled): 110 per group of 16 words, 54 per group of 8, about 6.5 per
 * stacked word, 3 per bit of the compare, about 65 per block and filter beside that.
 * 112 bytes of stack and 4 per group of a list.
 */
#include "picobnn_planes_adders_v7m.S"

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2

    .syntax unified
    .thumb

/* The pass, copied to the stack, and what the core keeps beside it. */
    .equ LIST, 0
    .equ WORDS, 4
    .equ WORDS_END, 8
    .equ WORDS_STEP, 12
    .equ OUTPUT, 16
    .equ OUTPUT_STEP, 20
    .equ COUNT, 24
    .equ LIMITS, 28
    .equ LIMIT_STEP, 32
    .equ SHIFT, 36
    .equ MASK, 40
    .equ CLASSES_BACK, 44
    .equ NEXT_LIST, 48
    .equ FIRST_WORDS, 52
    .equ CARRY, 56
    .equ CONSTANT, 60
    .equ LOW_COUNTERS, 56
    .equ CLASSES_END, 72
    .equ FRAME_BYTES, 76

/* The words of four entries. 9 cycles. */
    .macro load_four a, b, c, d, at
    ldrh    \a, [r8, #\at]
    ldrh    \b, [r8, #\at + 2]
    ldrh    \c, [r8, #\at + 4]
    ldrh    \d, [r8, #\at + 6]
    ldr     \a, [r9, \a]
    ldr     \b, [r9, \b]
    ldr     \c, [r9, \c]
    ldr     \d, [r9, \d]
    .endm

/* The words of 8 entries from entry \first at r8, which stays; the carry of weight 8 is in \p. Loses \q to \u.
 * 50 cycles. */
    .macro add_eight p, q, r, s, t, u, first
    load_four \p, \q, \r, \s, \first
    add_words \p, \q, \r, \s
    load_four \r, \s, \t, \u, \first + 8
    add_words \r, \s, \t, \u
    double_adder r5, \q, \p, \s, \r
    pair_adder r6, \p, \q
    .endm

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
    ldm     r0, {r4-r7}
    stm     r1, {r4-r7}
    mov     r8, r2
    mov     r9, r3
    str     r9, [sp, #FIRST_WORDS]

10: /* next list, or next block of a list */
    ldr     lr, [r8], #4
    sub     r0, r9, #48
    ldm     r0, {r4-r7}
    subs    lr, lr, #0x01000000
    bcc     25f

    .balign 4
20: /* 16 entries */
    add_eight r0, r1, r2, r3, r10, r11, 0
    add_eight r1, r2, r3, r10, r11, r12, 16
    full_adder r7, r0, r1
    str     r0, [sp, #-4]!
    add     r8, r8, #32
    subs    lr, lr, #0x01000000
    bcs     20b

25:
    ubfx    r12, lr, #16, #8
    add     r12, sp, r12, lsl #2
    tst     lr, #0x8000
    beq     30f
    add_eight r0, r1, r2, r3, r10, r11, 0
    and     r1, r7, r0
    eors    r7, r7, r0
    str     r1, [sp, #-4]!
    add     r8, r8, #16

30: /* low bits; r12: the frame above the stacked words */
    .if \has_classes
    add     r8, r8, #4
    str     r8, [r12, #NEXT_LIST]
    add     r1, r12, #LOW_COUNTERS
    stm     r1, {r4-r7}
    .else
    ldr     r2, [r8], #4
    and     r0, r2, #0xFC
    ldr     r1, [r9, r0]
    str     r8, [r12, #NEXT_LIST]
    lsrs    r2, r2, #9
    compare_shifted r4
    compare_bit r2, r5
    compare_bit r2, r6
    compare_bit r2, r7
    strd    r1, r2, [r12, #CARRY]
    .endif
    add_stacked r9, -32, "\high", "\s5", "\s6", \s7
    .if \has_classes
    ldr     r3, [sp, #WORDS]
    ldr     r0, [sp, #CLASSES_BACK]
    ldr     r10, [sp, #LIMITS]
    sub     r3, r3, r0
    ldr     r2, [r3], #4
    mov     lr, #0
    add     r2, r3, r2, lsl #3
    str     r2, [sp, #CLASSES_END]
50: /* one class of pixels */
    ldr     r2, [r3], #4
    ldrh    r0, [r10, r2]
    ldr     r1, [sp, #MASK]
    ldr     r2, [sp, #WORDS]
    ands    r1, r1, r0
    ldr     r1, [r2, r1, lsl #2]
    ldr     r2, [sp, #SHIFT]
    lsrs    r0, r0, r2
    compare_class r4, \s5
    bne     50b
    mov     r1, lr
    .else
    ldrd    r1, r0, [sp, #CARRY]
    compare_bits r0, r4, \s5
    .endif

    ldr     r2, [sp, #OUTPUT]
    ldr     r9, [sp, #WORDS]
    ldr     r0, [sp, #WORDS_STEP]
    ldr     r3, [sp, #WORDS_END]
    str     r1, [r2], #4
    add     r9, r9, r0
    cmp     r9, r3
    beq     60f
    ldr     r8, [sp, #LIST]
    str     r2, [sp, #OUTPUT]
    str     r9, [sp, #WORDS]
    b       10b

60: /* behind the last block */
    ldr     r0, [sp, #OUTPUT_STEP]
    ldr     r3, [sp, #COUNT]
    ldr     r8, [sp, #NEXT_LIST]
    ldr     r9, [sp, #FIRST_WORDS]
    add     r2, r2, r0
    str     r2, [sp, #OUTPUT]
    str     r8, [sp, #LIST]
    str     r9, [sp, #WORDS]
    .if \has_classes
    ldr     r0, [sp, #LIMITS]
    ldr     r1, [sp, #LIMIT_STEP]
    add     r0, r0, r1
    str     r0, [sp, #LIMITS]
    .endif
    subs    r3, r3, #1
    str     r3, [sp, #COUNT]
    bne     10b

    add     sp, sp, #FRAME_BYTES
    pop     {r4-r11, pc}
    .size   \name, . - \name
    .endm

    .macro cores kind, has_classes
    .irp bits, 8, 10, 12
    core_of_bits \bits, picobnn_planes_lists_\kind\()_\bits, \has_classes
    .endr
    .endm

    cores core, 0
    cores classes, 1

#endif
