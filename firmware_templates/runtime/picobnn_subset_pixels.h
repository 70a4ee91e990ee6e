/* SPDX-License-Identifier: MIT-0
 * Internal to the subset kernel: from the compares of a step, as picobnn_subset_cores.h has them,
 * to output pixels. `words` is words per pixel.
 */
#ifndef PICOBNN_SUBSET_PIXELS_H
#define PICOBNN_SUBSET_PIXELS_H

#include "picobnn_conv2d.h"

/* Word of the low lanes of two blocks, and of the high lanes. */
PICOBNN_INLINE uint32_t low_lanes(uint32_t block, uint32_t next)
{
    return (block & 0xFFFFu) | next << 16;
}

PICOBNN_INLINE uint32_t high_lanes(uint32_t block, uint32_t next)
{
    return block >> 16 | (next & 0xFFFF0000u);
}

/* PLAIN: up to four pixels. `down` is the distance to the next output row in words. */
PICOBNN_INLINE void store_pixels(const uint32_t *bits, uint32_t words, uint32_t *pixel,
                                 uint32_t down, uint32_t has_right, uint32_t has_lower)
{
    for (uint32_t i = words; i != 0u; --i) {
        pixel[0] = low_lanes(bits[0], bits[2]);
        if (has_right) {
            pixel[words] = high_lanes(bits[0], bits[2]);
        }
        if (has_lower) {
            pixel[down] = low_lanes(bits[1], bits[3]);
            if (has_right) {
                pixel[down + words] = high_lanes(bits[1], bits[3]);
            }
        }
        ++pixel;
        bits += 4;
    }
}

/* HALVED: the one pixel of the pool window. */
PICOBNN_INLINE void store_halved(const uint32_t *bits, uint32_t words, uint32_t *pixel)
{
    for (; words != 0u; --words) {
        *pixel++ = low_lanes(bits[0], bits[1]) | high_lanes(bits[0], bits[1]);
        bits += 2;
    }
}

/* Moves on the outputs whose pool window holds a position of the map. Positions only grow. */
PICOBNN_INLINE picobnn_span next_outputs(picobnn_span span, int32_t position, int32_t pad,
                                         int32_t size, int32_t stride, int32_t outputs)
{
    while (span.end < outputs && span.end * stride - pad <= position) {
        ++span.end;
    }
    while (span.begin < span.end && span.begin * stride - pad + size <= position) {
        ++span.begin;
    }
    return span;
}

PICOBNN_INLINE picobnn_span next_columns(picobnn_span span, const picobnn_conv2d_shape *shape,
                                         int32_t x)
{
    return next_outputs(span, x, shape->pool_pad_left, shape->pool_width, shape->pool_stride_x,
                        shape->out_width);
}

/* POOLED: one position of the map into every output whose pool window holds it. */
static PICOBNN_NOINLINE void merge_position(const picobnn_conv2d_shape *shape, const uint32_t *bits,
                                            uint32_t words, picobnn_span rows, picobnn_span columns,
                                            uint32_t is_right, uint32_t *output)
{
    for (int32_t y = rows.begin; y < rows.end; ++y) {
        for (int32_t x = columns.begin; x < columns.end; ++x) {
            uint32_t *pixel = output + (uint32_t)(y * shape->out_width + x) * words;
            const uint32_t *next = bits;

            for (uint32_t i = words; i != 0u; --i) {
                *pixel++ |= is_right ? high_lanes(next[0], next[2]) : low_lanes(next[0], next[2]);
                next += 4;
            }
        }
    }
}

/* POOLED: up to four positions; `left` and `right` are the outputs of their columns. Returns the
 * outputs of the last row. */
PICOBNN_INLINE picobnn_span merge_positions(const picobnn_conv2d_shape *shape, const uint32_t *bits,
                                            uint32_t words, int32_t y, picobnn_span rows,
                                            picobnn_span left, picobnn_span right, uint32_t *output)
{
    for (int32_t row = y; row < y + 2 && row < shape->map_height; ++row) {
        rows = next_outputs(rows, row, shape->pool_pad_top, shape->pool_height,
                            shape->pool_stride_y, shape->out_height);
        merge_position(shape, bits, words, rows, left, 0u, output);
        merge_position(shape, bits, words, rows, right, 1u, output);
        ++bits;
    }
    return rows;
}

#endif
