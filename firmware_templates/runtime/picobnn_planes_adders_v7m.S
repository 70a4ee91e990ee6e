/* SPDX-License-Identifier: MIT-0
 * What the planes cores for v7-M and v8-M Mainline share beyond the adders of
 * picobnn_adders_v7m.h: assembler macros only, without code of its own.
 */
#include "picobnn_adders_v7m.h"

/* Four words to the counters ones and twos; the carry is in a. 15 cycles. */
    .macro add_four ones, twos, a, b, c, d
    eors    \b, \b, \a
    eors    \d, \d, \c
    bics    \a, \a, \b
    eors    \ones, \ones, \b
    bics    \c, \c, \d
    bics    \b, \b, \ones
    eors    \ones, \ones, \d
    orrs    \a, \a, \b
    bics    \d, \d, \ones
    orrs    \c, \c, \d
    full_adder \twos, \a, \c
    .endm

/* Adds a word to the counters in the order of the arguments. Loses r0 and r1. */
    .macro ripple word, other, first, rest:vararg
    .ifb \rest
    .ifnb \first
    eors    \first, \first, \word
    .endif
    .else
    and     \other, \first, \word
    eors    \first, \first, \word
    ripple  \other, \word, \rest
    .endif
    .endm

/* All bits of a compare from `counter` on, the last one the sign: r1 becomes the result. */
    .macro compare_bits bits, counter, rest:vararg
    .ifb \rest
    rsbs    \bits, \bits, #0
    eors    r1, r1, \bits
    eors    r1, r1, \counter
    .else
    compare_bit \bits, \counter
    compare_bits \bits, \rest
    .endif
    .endm

/* The whole compare of one class of pixels: r0 its constant from weight 1 on, r1 the first carry, r3 at
 * its mask. The counters of weight 1, 2, 4, 8 stand at LOW_COUNTERS of the including file's frame,
 * `counters` are those from weight 16 on. The result under the mask is joined to lr; r3 moves behind
 * the mask, and the flags compare it with CLASSES_END of the frame. Loses r0-r2. 26 cycles and 3 for
 * each of `counters`. */
    .macro compare_class counters:vararg
    .irp    offset, 0, 4, 8, 12
    ldr     r2, [sp, #LOW_COUNTERS + \offset]
    compare_bit r0, r2
    .endr
    compare_bits r0, \counters
    ldr     r2, [r3], #4
    ldr     r0, [sp, #CLASSES_END]
    ands    r1, r1, r2
    orr     lr, lr, r1
    cmp     r3, r0
    .endm

/* Takes all words of weight 16 below the frame, r12, off the stack and adds them to the counters from
 * weight 16 on, `high`, which stand `offset` bytes from `base`. s5 and s6: the counters from weight 32
 * and 64 on, s7 from 128 on. Loses r0-r3, r10 and lr. About 6.5 cycles per word. */
    .macro add_stacked base, offset, high, s5, s6, s7:vararg
    mov     r0, sp
    sub     lr, r12, r0
    lsl     lr, lr, #22
    add     r0, \base, #\offset
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
    .endm

/* The core of `bits` per counter, by the including file's macro `core name, bits, has_classes, high, s5,
 * s6, s7`; high, s5, s6 and s7 as in add_stacked. */
    .macro core_of_bits bits, name, has_classes
    .if \bits == 7
    core \name, 7, \has_classes, "r4-r6", "r5, r6", "r6"
    .elseif \bits == 8
    core \name, 8, \has_classes, "r4-r7", "r5, r6, r7", "r6, r7", r7
    .elseif \bits == 9
    core \name, 9, \has_classes, "r4-r8", "r5, r6, r7, r8", "r6, r7, r8", r7, r8
    .elseif \bits == 10
    core \name, 10, \has_classes, "r4-r9", "r5, r6, r7, r8, r9", "r6, r7, r8, r9", r7, r8, r9
    .elseif \bits == 11
    core \name, 11, \has_classes, "r4-r9, r11", "r5, r6, r7, r8, r9, r11", \
        "r6, r7, r8, r9, r11", r7, r8, r9, r11
    .elseif \bits == 12
    core \name, 12, \has_classes, "r4-r9, r11-r12", "r5, r6, r7, r8, r9, r11, r12", \
        "r6, r7, r8, r9, r11, r12", r7, r8, r9, r11, r12
    .endif
    .endm
