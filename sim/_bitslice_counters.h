/* SPDX-License-Identifier: Apache-2.0 */
/* Bit-sliced counters for one vector width: carry-save sums, the threshold compare, and back to
 * integers. Included by _bitslice_lanes.h, whose macros it uses. A counter is an array of bit
 * planes, least significant first.
 */

#define WORD(i) (*(const VECTOR *)(words + offsets[i]))

/* sum + a + b -> sum, carry: five operations. */
#define FULL_ADD(carry, sum, a, b)                                                                 \
    do {                                                                                           \
        const VECTOR half_ = (a) ^ (b);                                                            \
        const VECTOR both_ = (a) & (b);                                                            \
        (carry) = both_ | (half_ & (sum));                                                         \
        (sum) ^= half_;                                                                            \
    } while (0)

INLINE VECTOR LANES_NAME(add4)(const char *words, const uint32_t *offsets, VECTOR *sums)
{
    VECTOR low, high, carry;
    const VECTOR a = WORD(0), b = WORD(1), c = WORD(2), d = WORD(3);
    FULL_ADD(low, sums[0], a, b);
    FULL_ADD(high, sums[0], c, d);
    FULL_ADD(carry, sums[1], low, high);
    return carry;
}

INLINE VECTOR LANES_NAME(add8)(const char *words, const uint32_t *offsets, VECTOR *sums)
{
    VECTOR carry;
    const VECTOR low = LANES_NAME(add4)(words, offsets, sums);
    const VECTOR high = LANES_NAME(add4)(words, offsets + 4, sums);
    FULL_ADD(carry, sums[2], low, high);
    return carry;
}

INLINE VECTOR LANES_NAME(add16)(const char *words, const uint32_t *offsets, VECTOR *sums)
{
    VECTOR carry;
    const VECTOR low = LANES_NAME(add8)(words, offsets, sums);
    const VECTOR high = LANES_NAME(add8)(words, offsets + 8, sums);
    FULL_ADD(carry, sums[3], low, high);
    return carry;
}

INLINE void LANES_NAME(ripple)(VECTOR *counter, int from, int bits, VECTOR carry)
{
    for (int i = from; i < bits; i++) {
        const VECTOR next = counter[i] & carry;
        counter[i] ^= carry;
        carry = next;
    }
}

/* counter = initial + the sum of count selected words (count a multiple of 4); bits >= 5. */
LANES_TARGET static void LANES_NAME(count_words)(const char *words, const uint32_t *offsets,
                                                 uint32_t count, const uint64_t *initial, int bits,
                                                 VECTOR *counter)
{
    VECTOR sums[5];
    for (int i = 0; i < 5; i++)
        sums[i] = SPLAT(initial[i]);
    for (int i = 5; i < bits; i++)
        counter[i] = SPLAT(initial[i]);
    for (; count >= 32; count -= 32, offsets += 32) {
        VECTOR carry;
        const VECTOR low = LANES_NAME(add16)(words, offsets, sums);
        const VECTOR high = LANES_NAME(add16)(words, offsets + 16, sums);
        FULL_ADD(carry, sums[4], low, high);
        LANES_NAME(ripple)(counter, 5, bits, carry);
    }
    for (int i = 0; i < 5; i++)
        counter[i] = sums[i];
    if (count & 16) {
        LANES_NAME(ripple)(counter, 4, bits, LANES_NAME(add16)(words, offsets, counter));
        offsets += 16;
    }
    if (count & 8) {
        LANES_NAME(ripple)(counter, 3, bits, LANES_NAME(add8)(words, offsets, counter));
        offsets += 8;
    }
    if (count & 4)
        LANES_NAME(ripple)(counter, 2, bits, LANES_NAME(add4)(words, offsets, counter));
}

/* counter = initial + the sum of count table entries; bits >= BITSLICE_ENTRY_BITS. */
LANES_TARGET static void LANES_NAME(count_entries)(const char *words, const uint32_t *offsets,
                                                   uint32_t count, const uint64_t *initial,
                                                   int bits, VECTOR *counter)
{
    VECTOR sums[BITSLICE_ENTRY_BITS];
    for (int i = 0; i < BITSLICE_ENTRY_BITS; i++)
        sums[i] = SPLAT(initial[i]);
    for (int i = BITSLICE_ENTRY_BITS; i < bits; i++)
        counter[i] = SPLAT(initial[i]);
    for (uint32_t n = 0; n < count; n++) {
        const VECTOR *entry = (const VECTOR *)(words + offsets[n]);
        VECTOR carry = sums[0] & entry[0];
        sums[0] ^= entry[0];
        for (int i = 1; i < BITSLICE_ENTRY_BITS;
             i++) { /* a full adder whose carry is two operations late, not three */
            const VECTOR half = sums[i] ^ entry[i];
            const VECTOR both = sums[i] & entry[i];
            sums[i] = half ^ carry;
            carry = both | (half & carry);
        }
        LANES_NAME(ripple)(counter, BITSLICE_ENTRY_BITS, bits, carry);
    }
    for (int i = 0; i < BITSLICE_ENTRY_BITS; i++)
        counter[i] = sums[i];
}

/* total = bias + |r| * sum, or bias + |r| * (2^sum_bits - 1 - sum) where complemented, as the step
 * says; bits planes hold it. */
LANES_TARGET static void LANES_NAME(multiply)(const bitslice_step *step, const VECTOR *sum,
                                              int bits, VECTOR *total)
{
    const VECTOR inverted = SPLAT((uint64_t)0 - (uint64_t)(step->complemented != 0));
    const uint32_t ratio = step->ratio_size;
    for (int i = 0; i < bits; i++)
        total[i] = SPLAT(step->initial_total[i]);
    for (int place = 0; ratio >> place != 0; place++) {
        VECTOR carry = SPLAT((uint64_t)0);
        if ((ratio >> place & 1u) == 0)
            continue;
        for (int i = 0; place + i < bits; i++) {
            VECTOR next;
            const VECTOR value = i < step->sum_bits ? sum[i] ^ inverted : SPLAT((uint64_t)0);
            FULL_ADD(next, total[place + i], value, carry);
            carry = next;
        }
    }
}

/* Lanes where 2^shift * counter + low >= total; low has shift planes, total has bits + shift. */
INLINE VECTOR LANES_NAME(at_least)(const uint64_t *low, int shift, const VECTOR *counter,
                                   const VECTOR *total, int bits)
{
    VECTOR result = ~SPLAT((uint64_t)0);
    for (int i = 0; i < shift; i++) {
        const VECTOR mine = SPLAT(low[i]);
        result = (mine & ~total[i]) | (result & ~(mine ^ total[i]));
    }
    for (int i = 0; i < bits; i++) {
        const VECTOR differs = counter[i] ^ total[shift + i];
        result = (counter[i] & ~total[shift + i]) | (result & ~differs);
    }
    return result;
}

/* The bit planes of a counter as one int64 per lane. */
LANES_TARGET static void LANES_NAME(to_integers)(const VECTOR *counter, int bits, int64_t *values)
{
    for (int64_t lane = 0; lane < LANES; lane++)
        values[lane] = 0;
    for (int i = 0; i < bits; i++) {
        const uint8_t *bytes = (const uint8_t *)&counter[i];
        for (int64_t lane = 0; lane < LANES; lane++)
            values[lane] |= (int64_t)((bytes[lane >> 3] >> (lane & 7)) & 1) << i;
    }
}

#undef WORD
