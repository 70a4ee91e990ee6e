/* SPDX-License-Identifier: MIT-0
 * Parts of the planes cores whose lists are bytes, of one and of two filters at a time, for v7-M and
 * v8-M Mainline: assembler macros only, without code of its own. Formats stand in picobnn_planes.h.
 *
 * Registers: r4-r7 counters of weight 1, 2, 4, 8; r8 list; r9 window; lr filter word 0, whose top byte
 * counts the groups down. The including file names its frame: EVEN, LIMITS, LIMIT_STEP, CLASSES and
 * CLASSES_END of the pass, and the core's own LOW_COUNTERS, CARRY and CONSTANT. Cycles are those of
 * Cortex-M4, modelled.
 *
 * The order suits two instructions a cycle and costs none where there is one: 57 cycles per group of
 * 16 words on Cortex-M7 (modelled; 109 instructions). One of four indices is taken out by AND, as the
 * M7 has one unit for UXTB; independent instructions stand side by side; the group counter is counted
 * down in the last adder, which leaves its flags alone. Loads stay together, or the M3 and M4 lose.
 */
#include "picobnn_planes_adders_v7m.S"

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

/* The first 8 words of a group of `entries`, 16 or 8: r8 moves behind the group, the carry of weight 8 is
 * in r0. Of 16 entries the four that follow are in r12. Loses r1-r3, r10 and r11. 53 cycles, of 16
 * entries 54. */
    .macro add_eight entries
    ldr     r3, [r8], #\entries
    load_four r0, r1, r2, r3, r3
    ldr     r11, [r8, #(4 - \entries)]
    add_words r0, r1, r2, r3
    load_four r2, r3, r10, r11, r11
    .if \entries > 8
    ldr     r12, [r8, #(8 - \entries)]
    .endif
    add_words r2, r3, r10, r11
    double_adder r5, r1, r0, r3, r2
    pair_adder r6, r0, r1
    .endm

/* The words of 16 list entries; the word of weight 16 is in r0. Loses r1-r3 and r10-r12. 110 cycles;
 * with `steps` 112: moves the window, counts the groups down in lr and leaves the flags of that. */
    .macro add_entries steps=0
    add_eight 16
    load_four r1, r2, r3, r10, r12
    ldr     r12, [r8, #-4]
    add_words r1, r2, r3, r10
    load_four r3, r10, r11, r12, r12
    add_words r3, r10, r11, r12
    double_adder r5, r2, r1, r10, r3
    pair_adder r6, r1, r2
    .if \steps
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
    .else
    full_adder r7, r0, r1
    .endif
    .endm

/* The words of 8 list entries; the word of weight 16 goes onto the stack. Loses r0-r3, r10 and r11.
 * 56 cycles. */
    .macro add_half_group
    add_eight 8
    and     r1, r7, r0
    eors    r7, r7, r0
    str     r1, [sp, #-4]!
    .endm

/* The low four bits of a compare with a filter's constant, whose lowest bit says whether r1, EVEN, is
 * the first carry or ones are. r1 becomes the carry, `bits` what is left of the constant. 15 cycles. */
    .macro compare_low bits, constant
    lsrs    \bits, \constant, #1
    it      cc
    mvncc   r1, #0
    compare_bit \bits, r4
    compare_bit \bits, r5
    compare_bit \bits, r6
    compare_bit \bits, r7
    .endm

/* The bits from weight 16 on, `counters`, of a compare whose low ones are compared: CARRY, CONSTANT.
 * With classes the whole compare, for each class of pixels, and LIMITS moves on. r1 becomes the
 * result. */
    .macro compare_high bits, has_classes, counters:vararg
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
    compare_class \counters
    bne     50b
    ldr     r0, [sp, #LIMIT_STEP]
    mov     r1, lr
    add     r10, r10, r0
    str     r10, [sp, #LIMITS]
    .else
    ldr     r0, [sp, #CONSTANT]
    ldr     r1, [sp, #CARRY]
    ubfx    r0, r0, #0, #(\bits - 4)
    compare_bits r0, \counters
    .endif
    .endm
