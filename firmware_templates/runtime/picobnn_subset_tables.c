/* SPDX-License-Identifier: MIT-0
 * picobnn subset kernel, the tables of an image row in C, for cores without their assembly.
 * Contracts stand in picobnn_subset_cores.h.
 */
#include "picobnn_subset_cores.h"

#if !PICOBNN_SUBSET_V7M
/* Signed sums of the patterns of two taps. */
typedef struct {
    uint32_t none, first, second, both;
} quad;

PICOBNN_INLINE void add_and_write(quad *sums, uint32_t change, uint32_t *table)
{
    sums->none += change;
    sums->first += change;
    sums->second += change;
    sums->both += change;
    table[0] = sums->none;
    table[1] = sums->first;
    table[2] = sums->second;
    table[3] = sums->both;
}

/* One tap in both lanes, doubled: what changes when its weight goes from -1 to +1. */
PICOBNN_INLINE uint32_t twice(const uint8_t *left, const uint8_t *right)
{
    return 2u * ((uint32_t)*left | (uint32_t)*right << 16);
}

/* Quads follow a Gray code, so that each is one addition away from the one before. */
void picobnn_subset_tables_thin(uint32_t *table, const uint8_t *bytes, uint32_t lane, uint32_t taps)
{
    uint32_t a, b = 0u, c = 0u, d = 0u, e = 0u;
    const uint8_t *left = bytes, *right = bytes + lane;
    quad sums;

    switch (taps) {
    case 5u:
        e = twice(left + 4, right + 4);
        /* fall through */
    case 4u:
        d = twice(left + 3, right + 3);
        /* fall through */
    case 3u:
        c = twice(left + 2, right + 2);
        /* fall through */
    case 2u:
        b = twice(left + 1, right + 1);
        /* fall through */
    default:
        a = twice(left, right);
    }
    /* Bit 0 of the sum is 0, and halving it as one word undoes the doubling of both lanes. */
    sums.none = 0u - (a + b + c + d + e) / 2u;
    sums.first = sums.none + a;
    sums.second = sums.none + b;
    sums.both = sums.first + b;
    add_and_write(&sums, 0u, table);
    add_and_write(&sums, c, table + 4);
    if (taps <= 3u) {
        return;
    }
    add_and_write(&sums, d, table + 12);
    add_and_write(&sums, 0u - c, table + 8);
    if (taps == 4u) {
        return;
    }
    add_and_write(&sums, e, table + 24);
    add_and_write(&sums, c, table + 28);
    add_and_write(&sums, 0u - d, table + 20);
    add_and_write(&sums, 0u - c, table + 16);
}
#endif
