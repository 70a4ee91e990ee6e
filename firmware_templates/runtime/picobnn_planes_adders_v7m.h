/* SPDX-License-Identifier: MIT-0
 * Adders and compares of the planes cores for v7-M and v8-M mainline: assembler macros only.
 *
 * Identity: with b' = a ^ b, a' = a & ~b' and s' = s ^ b', the carry of s + a + b is
 * a' | (b' & ~s'), so that a full adder is 5 instructions without a temporary.
 *
 * Two pairs (x, x ^ y) take 8 instructions together instead of 10 (Demenkov, Kojevnikov, Kulikov
 * and Yaroslavtsev, 2010), which is used for the counters of weight 1 and 2.
 */
#if defined(__ASSEMBLER__)
/* clang-format off */

/* s += a + b; the carry is in a; b is lost. 5 cycles. */
    .macro full_adder s, a, b
    eors    \b, \b, \a
    bics    \a, \a, \b
    eors    \s, \s, \b
    bics    \b, \b, \s
    orrs    \a, \a, \b
    .endm

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

/* Two pairs (x, x ^ y) at once: sum += x1 + y1 + x2 + y2; the two carries (u, u ^ v) are in (p1, x1);
 * x2 and p2 are lost. 8 cycles. */
    .macro double_adder sum, x1, p1, x2, p2
    eors    \x1, \x1, \sum
    orrs    \x1, \x1, \p1
    eors    \p1, \p1, \sum
    eors    \x2, \x2, \p1
    eor     \sum, \p1, \p2
    bics    \x2, \x2, \p2
    eors    \p1, \p1, \x1
    eors    \x1, \x1, \x2
    .endm

/* One pair: sum += x + y; the carry is in x; p is lost. 4 cycles. */
    .macro pair_adder sum, x, p
    eors    \x, \x, \sum
    orrs    \x, \x, \p
    eors    \sum, \sum, \p
    eors    \x, \x, \sum
    .endm

/* Four words to the counter of weight 1; the pair of carries is in (b, a). 10 cycles. */
    .macro add_words a, b, c, d
    eors    \b, \b, \a
    eors    \d, \d, \c
    double_adder r4, \a, \b, \c, \d
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

/* One bit of the compare: r1 is the carry, the flags' carry that of the constant. */
    .macro compare_shifted counter
    ite     cs
    orrcs   r1, r1, \counter
    andcc   r1, r1, \counter
    .endm

/* The same with the constant's bit at the low end of `bits`. 3 cycles. */
    .macro compare_bit bits, counter
    lsrs    \bits, \bits, #1
    compare_shifted \counter
    .endm

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

#endif
