/* SPDX-License-Identifier: MIT-0
 * picobnn subset kernel, the filters in C: those of any window, and those of three rows for cores
 * without assembly. Contracts stand in picobnn_subset_cores.h.
 */
#include "picobnn_subset_cores.h"

#define BLOCK 16u

/* Bits 15 and 31 of two lane sums, shifted into the compares. */
PICOBNN_INLINE uint32_t shift_in_lanes(uint32_t bits, uint32_t sums)
{
    return (bits >> 1) | (sums & 0x80008000u);
}

/* The compares of one filter in two map rows. */
PICOBNN_INLINE void take_compares(uint32_t first, uint32_t second, uint32_t *upper, uint32_t *lower,
                                  uint32_t is_halved)
{
    if (is_halved) {
        *upper = shift_in_lanes(*upper, first | second);
    } else {
        *upper = shift_in_lanes(*upper, first);
        *lower = shift_in_lanes(*lower, second);
    }
}

/* Ends a block of `count` filters. */
PICOBNN_INLINE uint32_t *write_compares(uint32_t *bits, uint32_t upper, uint32_t lower,
                                        uint32_t count, uint32_t is_halved)
{
    *bits++ = upper >> (BLOCK - count);
    if (!is_halved) {
        *bits++ = lower >> (BLOCK - count);
    }
    return bits;
}

/* The entries of a field for both map rows. */
PICOBNN_INLINE void add_places(uint32_t *first, uint32_t *second, const uint32_t *tables,
                               const uint32_t *place, uint32_t field)
{
    *first += tables[place[0] + field];
    *second += tables[place[1] + field];
}

/* Filters of any window. */
PICOBNN_INLINE void run_any(const picobnn_subset_conv2d_layer *layer, const uint32_t *tables,
                            const uint32_t *places, uint32_t *bits, uint32_t is_halved)
{
    const uint32_t *next = layer->filters;

    for (uint32_t left = layer->count; left != 0u;) {
        const uint32_t count = left < BLOCK ? left : BLOCK;
        uint32_t upper = 0u, lower = 0u;

        for (uint32_t filter = count; filter != 0u; --filter) {
            const uint32_t *place = places;
            const uint32_t *offset = next + layer->index_words;
            uint32_t first = *offset, second = first;

            while (next != offset) {
                const uint32_t indices = *next++;

                add_places(&first, &second, tables, place, indices & 31u);
                add_places(&first, &second, tables, place + 2, (indices >> 5) & 31u);
                add_places(&first, &second, tables, place + 4, (indices >> 10) & 31u);
                add_places(&first, &second, tables, place + 6, (indices >> 15) & 31u);
                add_places(&first, &second, tables, place + 8, (indices >> 20) & 31u);
                add_places(&first, &second, tables, place + 10, indices >> 25);
                place += 2u * PICOBNN_SUBSET_FIELDS;
            }
            ++next;
            take_compares(first, second, &upper, &lower, is_halved);
        }
        bits = write_compares(bits, upper, lower, count, is_halved);
        left -= count;
    }
}

PICOBNN_HOT(subset_any)
void picobnn_subset_any(const picobnn_subset_conv2d_layer *layer, const uint32_t *tables,
                        const uint32_t *places, uint32_t *bits)
{
    run_any(layer, tables, places, bits, 0u);
}

PICOBNN_HOT(subset_any_halved)
void picobnn_subset_any_halved(const picobnn_subset_conv2d_layer *layer, const uint32_t *tables,
                               const uint32_t *places, uint32_t *bits)
{
    run_any(layer, tables, places, bits, 1u);
}

#if !PICOBNN_SUBSET_V7M && !PICOBNN_SUBSET_V6M
/* The entries of a field for both map rows. */
PICOBNN_INLINE void add_field(uint32_t *first, uint32_t *second, const uint32_t *one,
                              const uint32_t *other, uint32_t field)
{
    *first += one[field];
    *second += other[field];
}

/* Filters with three kernel rows. */
PICOBNN_INLINE void run_three_rows(const uint32_t *tables, const uint32_t *rows,
                                   const uint32_t *filters, uint32_t count, uint32_t *bits,
                                   uint32_t is_wide, uint32_t is_halved)
{
    const uint32_t *a = tables + rows[0], *b = tables + rows[1];
    const uint32_t *c = tables + rows[2], *d = tables + rows[3];

    while (count != 0u) {
        const uint32_t block = count < BLOCK ? count : BLOCK;
        uint32_t upper = 0u, lower = 0u;

        for (uint32_t filter = block; filter != 0u; --filter) {
            const uint32_t indices = filters[0];
            uint32_t first = filters[1], second = filters[1];

            filters += 2;
            if (is_wide) {
                add_field(&first, &second, a, b, indices & 15u);
                add_field(&first, &second, a, b, (indices >> 4) & 63u);
                add_field(&first, &second, b, c, (indices >> 10) & 15u);
                add_field(&first, &second, b, c, (indices >> 14) & 63u);
                add_field(&first, &second, c, d, (indices >> 20) & 15u);
                add_field(&first, &second, c, d, indices >> 24);
            } else {
                add_field(&first, &second, a, b, indices & 31u);
                add_field(&first, &second, b, c, (indices >> 5) & 31u);
                add_field(&first, &second, c, d, indices >> 10);
            }
            take_compares(first, second, &upper, &lower, is_halved);
        }
        bits = write_compares(bits, upper, lower, block, is_halved);
        count -= block;
    }
}

PICOBNN_HOT(subset_thin)
void picobnn_subset_thin(const uint32_t *tables, const uint32_t *rows, const uint32_t *filters,
                         uint32_t count, uint32_t *bits)
{
    run_three_rows(tables, rows, filters, count, bits, 0u, 0u);
}

PICOBNN_HOT(subset_thin_halved)
void picobnn_subset_thin_halved(const uint32_t *tables, const uint32_t *rows,
                                const uint32_t *filters, uint32_t count, uint32_t *bits)
{
    run_three_rows(tables, rows, filters, count, bits, 0u, 1u);
}

PICOBNN_HOT(subset_wide)
void picobnn_subset_wide(const uint32_t *tables, const uint32_t *rows, const uint32_t *filters,
                         uint32_t count, uint32_t *bits)
{
    run_three_rows(tables, rows, filters, count, bits, 1u, 0u);
}

PICOBNN_HOT(subset_wide_halved)
void picobnn_subset_wide_halved(const uint32_t *tables, const uint32_t *rows,
                                const uint32_t *filters, uint32_t count, uint32_t *bits)
{
    run_three_rows(tables, rows, filters, count, bits, 1u, 1u);
}
#endif
