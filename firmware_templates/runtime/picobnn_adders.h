/* SPDX-License-Identifier: MIT-0
 * Bit-sliced adders in portable C: bit i of every operand belongs to lane i.
 */
#ifndef PICOBNN_ADDERS_H
#define PICOBNN_ADDERS_H

#include "picobnn_runtime.h"

/* sum += a + b in every lane; returns the carries. */
PICOBNN_INLINE uint32_t picobnn_full_adder(uint32_t *sum, uint32_t a, uint32_t b)
{
    const uint32_t half = a ^ b;
    const uint32_t carry = (a & b) | (*sum & half);

    *sum ^= half;
    return carry;
}

/* Adds a word to the counters from `weight` up to `bits`; a carry beyond them is lost. */
PICOBNN_INLINE void picobnn_add_carry(uint32_t *counters, uint32_t bits, uint32_t weight,
                                      uint32_t word)
{
    for (; weight < bits; ++weight) {
        const uint32_t carry = counters[weight] & word;

        counters[weight] ^= word;
        word = carry;
    }
}

#endif
