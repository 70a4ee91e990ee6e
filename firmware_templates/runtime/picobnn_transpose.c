/* SPDX-License-Identifier: MIT-0
 * picobnn transpose. The contract stands in the header.
 *
 * 32 x 32 blocks are transposed in place by five rounds of masked swaps: round s (16, 8, 4, 2, 1)
 * exchanges, in every pair of rows r and r + s with (r & s) == 0, the high half-blocks of s bits of
 * row r with the low ones of row r + s. Two passes over the block keep the rows in registers:
 * rounds 16 and 8 on four rows at a time, rounds 4, 2 and 1 on eight.
 */
#include "picobnn_transpose.h"

#if defined(__GNUC__)
/* Keeps the compiler from calling memset for a handful of words. */
#define OPAQUE(value) __asm__("" : "+r"(value))
#else
#define OPAQUE(value) ((void)(value))
#endif

/* One masked swap: bits [s, 2s) of each group of *low against bits [0, s) of *high. */
PICOBNN_INLINE void swap(uint32_t *low, uint32_t *high, uint32_t shift, uint32_t mask)
{
    const uint32_t changed = ((*low >> shift) ^ *high) & mask;

    *high ^= changed;
    *low ^= changed << shift;
}

/* Rounds 16 and 8 on rows 0, 8, 16 and 24; `stride` is that of eight rows of the source. */
PICOBNN_INLINE void swap_far(const uint32_t *from, uint32_t stride, uint32_t *block)
{
    uint32_t a = from[0], b, c, d;

    from += stride;
    b = from[0];
    from += stride;
    c = from[0];
    d = from[stride];
    swap(&a, &c, 16u, 0x0000FFFFu);
    swap(&b, &d, 16u, 0x0000FFFFu);
    swap(&a, &b, 8u, 0x00FF00FFu);
    swap(&c, &d, 8u, 0x00FF00FFu);
    block[0] = a;
    block[8] = b;
    block[16] = c;
    block[24] = d;
}

/* Rounds 4, 2 and 1 on eight rows, which go `stride` words apart; returns where the next goes. */
PICOBNN_INLINE uint32_t *swap_near(const uint32_t *block, uint32_t *to, uint32_t stride)
{
    uint32_t a = block[0], b = block[1], c = block[2], d = block[3];
    uint32_t e = block[4], f = block[5], g = block[6], h = block[7];

    swap(&a, &e, 4u, 0x0F0F0F0Fu);
    swap(&b, &f, 4u, 0x0F0F0F0Fu);
    swap(&c, &g, 4u, 0x0F0F0F0Fu);
    swap(&d, &h, 4u, 0x0F0F0F0Fu);
    swap(&a, &c, 2u, 0x33333333u);
    swap(&b, &d, 2u, 0x33333333u);
    swap(&e, &g, 2u, 0x33333333u);
    swap(&f, &h, 2u, 0x33333333u);
    swap(&a, &b, 1u, 0x55555555u);
    swap(&c, &d, 1u, 0x55555555u);
    swap(&e, &f, 1u, 0x55555555u);
    swap(&g, &h, 1u, 0x55555555u);
    *to = a;
    to += stride;
    *to = b;
    to += stride;
    *to = c;
    to += stride;
    *to = d;
    to += stride;
    *to = e;
    to += stride;
    *to = f;
    to += stride;
    *to = g;
    to += stride;
    *to = h;
    return to + stride;
}

/* `count` words, `stride` words apart, to the first words of a block; 0 to the others. */
PICOBNN_INLINE void read_rows(const uint32_t *from, uint32_t stride, uint32_t count,
                              uint32_t *block)
{
    uint32_t zero = 0u;
    uint32_t row = 0u;

    OPAQUE(zero);
    for (; row < count; ++row) {
        block[row] = *from;
        from += stride;
    }
    for (; row < 32u; ++row) {
        block[row] = zero;
    }
}

void picobnn_transpose(const uint32_t *input, uint32_t *output, uint32_t rows, uint32_t columns)
{
    const uint32_t row_words = (columns + 31u) / 32u;
    const uint32_t column_words = (rows + 31u) / 32u;
    uint32_t block[32];

    for (uint32_t top = 0u; top < column_words; ++top) {
        for (uint32_t left = 0u; left < row_words; ++left) {
            const uint32_t height = rows - 32u * top, width = columns - 32u * left;
            const uint32_t *from = input + 32u * top * row_words + left;
            uint32_t *to = output + 32u * left * column_words + top;
            uint32_t *target = width < 32u ? block : to;
            const uint32_t target_stride = width < 32u ? 1u : column_words;
            uint32_t stride = row_words;

            if (height < 32u) {
                read_rows(from, stride, height, block);
                from = block;
                stride = 1u;
            }
            for (uint32_t row = 0u; row < 8u; ++row) {
                swap_far(from, 8u * stride, block + row);
                from += stride;
            }
            for (uint32_t row = 0u; row < 32u; row += 8u) {
                target = swap_near(block + row, target, target_stride);
            }
            for (uint32_t row = 0u; width < 32u && row < width; ++row) {
                *to = block[row];
                to += column_words;
            }
        }
    }
}
