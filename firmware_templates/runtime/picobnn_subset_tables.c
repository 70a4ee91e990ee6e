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

/* The signed sums of the patterns of `count` (1 to 5) taps; at least 8 entries are written. Quads
 * follow a Gray code, so that each is one addition away from the one before. */
static PICOBNN_NOINLINE void write_group(uint32_t *table, const uint8_t *left, const uint8_t *right,
                                         uint32_t count)
{
    uint32_t a, b = 0u, c = 0u, d = 0u, e = 0u;
    quad sums;

    switch (count) {
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
    if (count <= 3u) {
        return;
    }
    add_and_write(&sums, d, table + 12);
    add_and_write(&sums, 0u - c, table + 8);
    if (count == 4u) {
        return;
    }
    add_and_write(&sums, e, table + 24);
    add_and_write(&sums, c, table + 28);
    add_and_write(&sums, 0u - d, table + 20);
    add_and_write(&sums, 0u - c, table + 16);
}

void picobnn_subset_tables_any(uint32_t *table, const uint8_t *bytes, uint32_t lane, uint32_t taps)
{
    for (; taps > 5u; taps -= 5u) {
        write_group(table, bytes, bytes + lane, 5u);
        table += 32;
        bytes += 5;
    }
    write_group(table, bytes, bytes + lane, taps);
}

void picobnn_subset_tables_wide(uint32_t *table, const uint8_t *bytes, uint32_t lane, uint32_t taps)
{
    write_group(table, bytes, bytes + lane, taps - 5u);
    bytes += taps - 5u;
    write_group(table + 16, bytes, bytes + lane, 5u);
}
#endif
