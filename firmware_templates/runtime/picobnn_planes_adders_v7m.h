/* SPDX-License-Identifier: MIT-0
 * Adders and compares of the planes cores for v7-M and v8-M mainline, beyond those of
 * picobnn_adders_v7m.h: assembler macros only.
 */
#if defined(__ASSEMBLER__)
/* clang-format off */
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
