/* SPDX-License-Identifier: MIT-0
 * picobnn planes cores for v7-M and v8-M mainline. Contracts and formats stand in picobnn_planes.h.
 *
 * The adders' identities stand in picobnn_planes_adders_v7m.h.
 *
 * Registers in the list loop: r4-r7 counters of weight 1, 2, 4, 8; r0-r3, r10-r12 words; r8 list; r9
 * window; lr filter word 0, whose top byte counts the groups down. One word of weight 16 per group
 * goes onto the stack. Then the low four bits are compared, and r4-r9, r11, r12 become the counters
 * of weight 16 and above, to which the stacked words are added.
 *
 * Cycles on Cortex-M4 (modelled): 115 per group of 16 words, 58 per group of 8, about 6.5 per
 * stacked word, 3 per bit of the compare, about 65 per filter.
 *
 * The order suits two instructions a cycle and costs none where there is one: 57 cycles per group of
 * 16 words on Cortex-M7 (modelled; 109 instructions). One of four indices is taken out by AND, as the
 * M7 has one unit for UXTB; independent instructions stand side by side; the group counter is counted
 * down in the last adder, which leaves its flags alone. Loads stay together, or the M3 and M4 lose.
 */
#include "picobnn_planes_adders_v7m.h"

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

/* The words of four list entries. d may be entries. 9 cycles. */
    .macro load_four a, b, c, d, entries
    uxtb    \b, \entries, ror #8
    and     \a, \entries, #0xff
    uxtb    \c, \entries, ror #16
    lsr     \d, \entries, #24
    ldr     \b, [r9, \b, lsl #2]
    ldr     \a, [r9, \a, lsl #2]
    ldr     \c, [r9, \c, lsl #2]
    ldr     \d, [r9, \d, lsl #2]
    .endm

/* high: the counters of weight 16 and above; s5 and s6: those from weight 32 and 64 on, s7 from 128 on. */
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
    ldr     r3, [r8], #16
    load_four r0, r1, r2, r3, r3
    ldr     r11, [r8, #-12]
    add_words r0, r1, r2, r3
    load_four r2, r3, r10, r11, r11
    ldr     r12, [r8, #-8]
    add_words r2, r3, r10, r11
    double_adder r5, r1, r0, r3, r2
    pair_adder r6, r0, r1
    load_four r1, r2, r3, r10, r12
    ldr     r12, [r8, #-4]
    add_words r1, r2, r3, r10
    load_four r3, r10, r11, r12, r12
    add_words r3, r10, r11, r12
    double_adder r5, r2, r1, r10, r3
    pair_adder r6, r1, r2
#if defined(__ARM_FEATURE_DSP)
    uxtah   r9, r9, lr
#else
    uxth    r2, lr
    add     r9, r9, r2
#endif
    eors    r1, r1, r0
    subs    lr, lr, #0x01000000
    bic     r0, r0, r1
    eor     r7, r7, r1
    bic     r1, r1, r7
    orr     r0, r0, r1
    str     r0, [sp, #-4]!
    bcs     20b

    ubfx    r12, lr, #16, #8
    add     r12, sp, r12, lsl #2
    ldr     r0, [r12, #FILTERS]
    ldr     lr, [r0, #-4]
    tst     lr, #0x8000
    beq     30f
    ldr     r3, [r8], #8
    load_four r0, r1, r2, r3, r3
    ldr     r11, [r8, #-4]
    add_words r0, r1, r2, r3
    load_four r2, r3, r10, r11, r11
    add_words r2, r3, r10, r11
    double_adder r5, r1, r0, r3, r2
    pair_adder r6, r0, r1
    and     r1, r7, r0
    eors    r7, r7, r0
    str     r1, [sp, #-4]!

30: /* low bits; r12: the frame above the stacked words */
    .if \has_classes
    str     r8, [r12, #LISTS]
    add     r1, r12, #LOW_COUNTERS
    stm     r1, {r4-r7}
    .else
    ldr     r1, [r12, #EVEN]
    str     r8, [r12, #LISTS]
    lsrs    r2, lr, #1
    it      cc
    mvncc   r1, #0
    compare_bit r2, r4
    compare_bit r2, r5
    compare_bit r2, r6
    compare_bit r2, r7
    str     r1, [r12, #CARRY]
    str     r2, [r12, #CONSTANT]
    .endif
    mov     r0, sp
    sub     lr, r12, r0
    lsl     lr, lr, #22
    add     r0, r12, #16
    ldm     r0, {\high}
    b       41f

    .balign 4
40: /* 8 stacked words */
    pop     {r0-r3}
    add_four r4, r5, r0, r1, r2, r3
    ldm     sp!, {r1, r2, r3, r10}
    add_four r4, r5, r1, r2, r3, r10
    full_adder r6, r0, r1
    ripple  r0, r1, \s7
41:
    subs    lr, lr, #0x08000000
    bcs     40b

    tst     lr, #0x04000000
    beq     42f
    pop     {r0-r3}
    add_four r4, r5, r0, r1, r2, r3
    ripple  r0, r1, \s6
42:
    tst     lr, #0x02000000
    beq     43f
    pop     {r0, r1}
    full_adder r4, r0, r1
    ripple  r0, r1, \s5
43:
    tst     lr, #0x01000000
    beq     44f
    pop     {r0}
    ripple  r0, r1, r4, \s5
44:
    .if \has_classes
    ldr     r3, [sp, #CLASSES]
    ldr     r10, [sp, #LIMITS]
    mov     lr, #0
50: /* one class of pixels */
    ldr     r2, [r3], #4
    ldr     r1, [sp, #EVEN]
    ldrh    r0, [r10, r2]
    lsrs    r0, r0, #1
    it      cc
    mvncc   r1, #0
    ldr     r2, [sp, #LOW_COUNTERS]
    compare_bit r0, r2
    ldr     r2, [sp, #LOW_COUNTERS + 4]
    compare_bit r0, r2
    ldr     r2, [sp, #LOW_COUNTERS + 8]
    compare_bit r0, r2
    ldr     r2, [sp, #LOW_COUNTERS + 12]
    compare_bit r0, r2
    compare_bits r0, r4, \s5
    ldr     r2, [r3], #4
    ldr     r0, [sp, #CLASSES_END]
    ands    r1, r1, r2
    orr     lr, lr, r1
    cmp     r3, r0
    bne     50b
    ldr     r0, [sp, #LIMIT_STEP]
    mov     r1, lr
    add     r10, r10, r0
    str     r10, [sp, #LIMITS]
    .else
    ldr     r0, [sp, #CONSTANT]
    ldr     r1, [sp, #CARRY]
    ubfx    r0, r0, #0, #(\bits - 4)
    compare_bits r0, r4, \s5
    .endif

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
    core picobnn_planes_\kind\()_7, 7, \has_classes, "r4-r6", "r5, r6", "r6"
    core picobnn_planes_\kind\()_8, 8, \has_classes, "r4-r7", "r5, r6, r7", "r6, r7", r7
    core picobnn_planes_\kind\()_9, 9, \has_classes, "r4-r8", "r5, r6, r7, r8", "r6, r7, r8", r7, r8
    core picobnn_planes_\kind\()_10, 10, \has_classes, "r4-r9", "r5, r6, r7, r8, r9", \
        "r6, r7, r8, r9", r7, r8, r9
    core picobnn_planes_\kind\()_11, 11, \has_classes, "r4-r9, r11", "r5, r6, r7, r8, r9, r11", \
        "r6, r7, r8, r9, r11", r7, r8, r9, r11
    core picobnn_planes_\kind\()_12, 12, \has_classes, "r4-r9, r11-r12", \
        "r5, r6, r7, r8, r9, r11, r12", "r6, r7, r8, r9, r11, r12", r7, r8, r9, r11, r12
    .endm

    cores core, 0
    cores classes, 1

#endif
