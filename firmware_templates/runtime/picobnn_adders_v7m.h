/* SPDX-License-Identifier: MIT-0
 * Bit-sliced adders for v7-M and v8-M Mainline: assembler macros only. Bit i of every operand
 * belongs to lane i. The adders change the flags, but not the carry flag.
 *
 * Identity: a full adder of 5 operations without a temporary. For one bit, with h = a ^ b:
 *     b ^= a        h
 *     a &= ~b       a & ~(a ^ b) = a & b
 *     s ^= b        s ^ h, the sum
 *     b &= ~s       h & ~(s ^ h) = h & s (h = 0: both 0; h = 1: ~(s ^ 1) = s)
 *     a |= b        (a & b) | (h & s), the carry
 * Two words x and y as the pair (x, x ^ y): two pairs take 8 operations together instead of 10 and
 * leave their carries as a pair again, one pair takes 4 (Demenkov, Kojevnikov, Kulikov and
 * Yaroslavtsev, 2010).
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

/* Four words to the counter of weight 1, r4; the pair of carries is in (b, a). 10 cycles. */
    .macro add_words a, b, c, d
    eors    \b, \b, \a
    eors    \d, \d, \c
    double_adder r4, \a, \b, \c, \d
    .endm

/* One bit of a compare, from the lowest counter up: r1, the carry so far, becomes that of r1 + counter +
 * the constant's bit, which is the carry flag. 2 cycles behind a 16-bit instruction, else 3. */
    .macro compare_shifted counter
    ite     cs
    orrcs   r1, r1, \counter
    andcc   r1, r1, \counter
    .endm

/* The same with the constant's bit at the low end of `bits`, which moves on. 3 cycles. */
    .macro compare_bit bits, counter
    lsrs    \bits, \bits, #1
    compare_shifted \counter
    .endm

#endif
