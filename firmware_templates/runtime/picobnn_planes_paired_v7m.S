/* SPDX-License-Identifier: MIT-0
 * picobnn planes cores for two filters at a time, v7-M and v8-M Mainline. Contracts and formats stand
 * in picobnn_planes_paired.h, the adders' identities in picobnn_adders_v7m.h, the order of the list
 * loop in picobnn_planes_bytes_v7m.S.
 *
 * Each couple is three lists: the words that both filters add, which bring the counters into a state
 * that is kept, and from there those that only the first adds, then those that only the second adds.
 *
 * Registers in the list loop: r4-r7 counters of weight 1, 2, 4, 8; r0-r3, r10-r12 words; r8 list; r9
 * window; lr list word 0, whose top byte counts the groups down. One word of weight 16 per group
 * goes onto the stack. Then the low four bits are kept or compared, and r4-r9, r11, r12 become the
 * counters of weight 16 and above, to which the stacked words are added.
 *
 * Cycles on Cortex-M4 (modelled): 115 per group of 16 words, 56 per group of 8, about 6.5 per
 * stacked word, 3 per bit of the compare, about 110 per filter beside that; the small core: 221 per
 * filter. 57 per group of 16 words on Cortex-M7. 196 bytes of stack and 4 per group of a list,
 * the small core 140.
 */
#include "picobnn_planes_bytes_v7m.S"

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2

    .syntax unified
    .thumb

/* The state behind the common list; then the pass, copied to the stack; and fields of the cores. */
    .equ COMMON, 0
    .equ COMMON_HIGH, 16
    .equ START, 48
    .equ START_HIGH, 64
    .equ EVEN, 96
    .equ FILTERS, 100
    .equ LISTS, 104
    .equ WORDS, 108
    .equ OUTPUT, 112
    .equ COUNT, 120
    .equ LIMITS, 124
    .equ LIMIT_STEP, 128
    .equ CLASSES, 132
    .equ CLASSES_END, 136
    .equ CARRY, 140
    .equ LOW_COUNTERS, 144
    .equ CONSTANT, 144
    .equ FRAME_BYTES, 160

    .macro core name, bits, has_classes, high, s5, s6, s7:vararg
    .section .text.picobnn_hot.\name, "ax", %progbits
    .global \name
    .type   \name, %function
    .balign 4
    .thumb_func
\name:
    push    {r4-r11, lr}
    sub     sp, sp, #FRAME_BYTES
    add     r1, sp, #START
    ldm     r0!, {r2-r9}
    stm     r1!, {r2-r9}
    ldm     r0!, {r2-r9}
    stm     r1!, {r2-r9}
    ldm     r0!, {r2-r8}
    stm     r1!, {r2-r8}
    ldr     r0, [sp, #FILTERS]
    ldr     r1, [sp, #COUNT]
    subs    r0, r0, #8
    adds    r1, r1, #1
    bic     r1, r1, #1
    str     r1, [sp, #COUNT]

10: /* the words of both filters; r0: 8 bytes in front of the couple */
    ldr     r8, [sp, #LISTS]
    ldr     r9, [sp, #WORDS]
    ldrd    lr, r12, [r0, #8]!
    str     r0, [sp, #FILTERS]
    add     r1, sp, #START
    asr     r12, r12, #16
    ldm     r1, {r4-r7}
    add     r9, r9, r12, lsl #2
    b       20f

11: /* the words of one filter; r0: 12 bytes in front of its list words */
    ldr     r8, [sp, #LISTS]
    ldr     r9, [sp, #WORDS]
    ldrd    lr, r12, [r0, #12]!
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
    ldr     lr, [r0, #4]
    tst     lr, #0x8000
    beq     30f
    add_half_group

30: /* r12: the frame above the stacked words */
    str     r8, [r12, #LISTS]
    tst     lr, #0x4000
    beq     31f
    stm     r12, {r4-r7}
    add_stacked r12, START_HIGH, "\high", "\s5", "\s6", \s7
    ldr     r0, [sp, #FILTERS]
    add     r1, sp, #COMMON_HIGH
    stm     r1, {\high}
    b       11b

31: /* low bits */
    .if \has_classes
    add     r1, r12, #LOW_COUNTERS
    stm     r1, {r4-r7}
    .else
    ldr     r1, [r12, #EVEN]
    compare_low r2, lr
    str     r1, [r12, #CARRY]
    str     r2, [r12, #CONSTANT]
    .endif
    add_stacked r12, COMMON_HIGH, "\high", "\s5", "\s6", \s7
    compare_high \bits, \has_classes, r4, \s5

    ldr     r0, [sp, #FILTERS]
    ldr     r2, [sp, #OUTPUT]
    ldr     r10, [sp, #COUNT]
    ldr     r3, [r0, #-4]
    subs    r10, r10, #1
    str     r10, [sp, #COUNT]
    str     r1, [r2, r3]
    lsls    r1, r10, #31
    bne     11b
    cmp     r10, #0
    bne     10b

    add     sp, sp, #FRAME_BYTES
    pop     {r4-r11, pc}
    .size   \name, . - \name
    .endm

    .macro cores kind, has_classes
    .irp bits, 7, 8, 9, 10, 11, 12
    core_of_bits \bits, picobnn_planes_paired_\kind\()_\bits, \has_classes
    .endr
    .endm

    cores core, 0
    cores classes, 1

/* The small core's frame: the state behind the common list, its high counters, and the pass. */
    .equ SMALL_HIGH, 16
    .equ SMALL_START, 28
    .equ SMALL_START_HIGH, 44
    .equ SMALL_EVEN, 76
    .equ SMALL_FILTERS, 80
    .equ SMALL_LISTS, 84
    .equ SMALL_WORDS, 88
    .equ SMALL_OUTPUT, 92
    .equ SMALL_END, 100
    .equ SMALL_BYTES, 104

/* One of the two filters: its list, and the compare with the constant of word `constant` of the couple,
 * lr. The result goes where word `place` says. 150 cycles. */
    .macro small_filter constant, place
    add_entries
    ldr     r2, [lr, #\constant]
    ldr     r10, [sp, #SMALL_HIGH]
    ldr     r11, [sp, #SMALL_HIGH + 4]
    ldr     r12, [sp, #SMALL_HIGH + 8]
    ldr     r1, [sp, #SMALL_EVEN]
    ripple  r0, r3, r10, r11, r12
    compare_low r2, r2
    compare_bits r2, r10, r11, r12
    ldr     r3, [lr, #\place]
    ldr     r0, [sp, #SMALL_OUTPUT]
    str     r1, [r0, r3]
    .endm

/* Lists of 16 entries, all counted from the first word, and counters of 7 bits. r8 and r9 stay what
 * they are, lr is the couple. 442 cycles per couple. */
    .section .text.picobnn_hot.picobnn_planes_paired_small, "ax", %progbits
    .global picobnn_planes_paired_small
    .type   picobnn_planes_paired_small, %function
    .balign 4
    .thumb_func
picobnn_planes_paired_small:
    push    {r4-r11, lr}
    sub     sp, sp, #SMALL_BYTES
    add     r1, sp, #SMALL_START
    ldm     r0!, {r2-r9}
    stm     r1!, {r2-r9}
    ldm     r0!, {r2-r9}
    stm     r1!, {r2-r9}
    ldm     r0, {r2-r4}
    str     r2, [r1]
    ldr     lr, [sp, #SMALL_FILTERS]
    ldr     r8, [sp, #SMALL_LISTS]
    ldr     r9, [sp, #SMALL_WORDS]
    adds    r4, r4, #1
    lsrs    r3, r4, #1
    add     r3, lr, r3, lsl #5
    str     r3, [sp, #SMALL_END]

    .balign 4
70: /* next couple */
    add     r1, sp, #SMALL_START
    ldm     r1, {r4-r7}
    add_entries
    ldr     r10, [sp, #SMALL_START_HIGH]
    ldr     r11, [sp, #SMALL_START_HIGH + 4]
    ldr     r12, [sp, #SMALL_START_HIGH + 8]
    ripple  r0, r1, r10, r11, r12
    stm     sp, {r4-r7, r10-r12}
    small_filter 16, 8
    ldm     sp, {r4-r7}
    small_filter 28, 20
    ldr     r0, [sp, #SMALL_END]
    add     lr, lr, #32
    cmp     lr, r0
    bne     70b

    add     sp, sp, #SMALL_BYTES
    pop     {r4-r11, pc}
    .size   picobnn_planes_paired_small, . - picobnn_planes_paired_small

#endif
