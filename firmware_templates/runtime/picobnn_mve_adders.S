/* SPDX-License-Identifier: MIT-0
 * picobnn adders of 128 lanes for cores with vectors (v8.1-M, MVE): macros that the
 * adders of the kernels include; without code of its own.
 *
 * Identity: two pairs (x, x ^ y) are added to a counter in 8 operations, with one pair as carry
 * (Demenkov, Kojevnikov, Kulikov and Yaroslavtsev, 2010), one pair in 4 with one word as carry: 32
 * operations for 8 words, where full adders take 35.
 *
 * An operation takes two beats of a cycle; a load or store between two operations is free, so the
 * words of an addition are loaded, and the counter of weight 4 is kept in memory, between
 * operations; and the last adder of 8 words runs under the loads of the next 8.
 *
 * Registers: q0, q1 counters of weight 1 and 2; q2, q3 the pair for the counter of weight 4; q4-q7
 * words; r0-r7 addresses of words; r12 carries of weight 8, the first of which is none. The counters
 * from weight 4 on lie at sp, 16 bytes each, that of weight 1 first. Then q0 and q1 count what weighs
 * 8 and 16, to which the carries are added; in the end all counters are in memory.
 *
 * Cycles on Cortex-M55, modelled without a band: 65 per 8 words; per 8 carries 73 and 6 per counter
 * from weight 64 on.
 */
#if defined(__ARM_FEATURE_MVE)

    .equ WEIGHT_4, 32
    .equ WEIGHT_32, 80
    .equ WEIGHT_64, 96

/* Two pairs at once: sum += x1 + y1 + x2 + y2 with p = x ^ y; the pair of carries is in (p1, x1); x2
 * and p2 are lost. 8 operations. */
    .macro double_adder sum, x1, p1, x2, p2
    veor    \x1, \x1, \sum
    vorr    \x1, \x1, \p1
    veor    \p1, \p1, \sum
    veor    \x2, \x2, \p1
    veor    \sum, \p1, \p2
    vbic    \x2, \x2, \p2
    veor    \p1, \p1, \x1
    veor    \x1, \x1, \x2
    .endm

/* Four words to the counter of weight 1; the pair of carries is in (b, a). 10 operations. */
    .macro add_words a, b, c, d
    veor    \b, \b, \a
    veor    \d, \d, \c
    double_adder q0, \a, \b, \c, \d
    .endm

/* 8 words. The pair (q2, q3) before is the one of the 8 words before, 0 at first. */
    .macro add_eight
    vldrw.u32 q4, [sp, #WEIGHT_4]
    veor    q2, q2, q4
    vldrw.u32 q5, [r0]
    vorr    q2, q2, q3
    vldrw.u32 q6, [r1]
    veor    q4, q4, q3
    vldrw.u32 q7, [r2]
    veor    q2, q2, q4
    vstrw.32 q4, [sp, #WEIGHT_4]
    veor    q6, q6, q5
    vstrw.32 q2, [r12], #16
    veor    q5, q5, q0
    vldrw.u32 q4, [r3]
    vorr    q5, q5, q6
    vldrw.u32 q2, [r4]
    veor    q4, q4, q7
    vldrw.u32 q3, [r5]
    veor    q6, q6, q0
    veor    q7, q7, q6
    veor    q0, q6, q4
    vbic    q7, q7, q4
    vldrw.u32 q4, [r7]
    veor    q6, q6, q5
    veor    q5, q5, q7
    vldrw.u32 q7, [r6]
    add_words q2, q3, q7, q4
    double_adder q1, q3, q2, q6, q5
    .endm

/* The last pair. */
    .macro end_eights
    vldrw.u32 q4, [sp, #WEIGHT_4]
    veor    q2, q2, q4
    vorr    q2, q2, q3
    veor    q4, q4, q3
    vstrw.32 q4, [sp, #WEIGHT_4]
    veor    q2, q2, q4
    vstrw.32 q2, [r12], #16
    .endm

/* Takes the counters from memory at `from`, r2 of them from weight 64 on. Loses r0, r1 and lr. */
    .macro start_counters from
    add     r0, \from, #WEIGHT_64
    add     r1, sp, #WEIGHT_64
    dls     lr, r2
.Lcopy\@:
    vldrw.u32 q0, [r0], #16
    vstrw.32 q0, [r1], #16
    le      lr, .Lcopy\@
    vldrw.u32 q0, [\from, #WEIGHT_4]
    vldrw.u32 q1, [\from, #WEIGHT_32]
    vstrw.32 q0, [sp, #WEIGHT_4]
    vstrw.32 q1, [sp, #WEIGHT_32]
    vldrw.u32 q0, [\from]
    vmov.i32 q2, #0
    vldrw.u32 q1, [\from, #16]
    vmov.i32 q3, #0
    .endm

/* The next 8 words at r8 to q0, q1 and the counter at `third`; the carry is in q2. 67 cycles. */
    .macro add_next_eight third
    vldrw.u32 q2, [r8], #16
    vldrw.u32 q3, [r8], #16
    veor    q3, q3, q2
    vldrw.u32 q4, [r8], #16
    veor    q2, q2, q0
    vldrw.u32 q5, [r8], #16
    vorr    q2, q2, q3
    vldrw.u32 q6, [r8], #16
    veor    q5, q5, q4
    vldrw.u32 q7, [r8], #16
    veor    q3, q3, q0
    veor    q4, q4, q3
    veor    q0, q3, q5
    vbic    q4, q4, q5
    vldrw.u32 q5, [r8], #16
    veor    q3, q3, q2
    veor    q2, q2, q4
    vldrw.u32 q4, [r8], #16
    add_words q6, q7, q5, q4
    vldrw.u32 q4, \third
    double_adder q1, q3, q2, q7, q6
    veor    q2, q2, q4
    vorr    q2, q2, q3
    veor    q4, q4, q3
    vstrw.32 q4, \third
    veor    q2, q2, q4
    .endm

/* Adds the carries from r8 to r12, filling them up with zeros to a multiple of 8. `from` as above; r6
 * counters from weight 64 on. Loses r0, r2, r7, r8, r12, lr and all vectors. */
    .macro add_carries from
    vstrw.32 q0, [sp]
    vstrw.32 q1, [sp, #16]
    vldrw.u32 q0, [\from, #48]
    sub     r2, r12, r8
    vmov.i32 q3, #0
    vldrw.u32 q1, [\from, #64]
    b       .Lfilled\@
.Lfill\@:
    vstrw.32 q3, [r12], #16
    adds    r2, r2, #16
.Lfilled\@:
    tst     r2, #112
    bne     .Lfill\@
    lsrs    r7, r2, #7
    beq     .Ladded\@
    .balign 4
.Leight\@:
    add_next_eight "[sp, #WEIGHT_32]"
    add     r0, sp, #WEIGHT_64
    dls     lr, r6
.Lripple\@:
    vldrw.u32 q4, [r0]
    veor    q5, q4, q2
    vstrw.32 q5, [r0], #16
    vand    q2, q4, q2
    le      lr, .Lripple\@
    subs    r7, r7, #1
    bne     .Leight\@
.Ladded\@:
    vstrw.32 q0, [sp, #48]
    vstrw.32 q1, [sp, #64]
    .endm

#endif
