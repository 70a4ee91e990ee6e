/* SPDX-License-Identifier: MIT-0
 * picobnn convolutions: the sliding window, the max pool and the epilogues, shared by all kernels.
 *
 * A kernel supplies two functions: one gathers the patch under the window at a position of the
 * accumulator map, the other runs all filters on that patch. The walk below visits, for every
 * output pixel, the positions of its pool window. Where pool windows overlap, positions are
 * computed again: that keeps RAM at one patch; windows that do not overlap lose nothing.
 */
#ifndef PICOBNN_CONV2D_H
#define PICOBNN_CONV2D_H

#include "picobnn_runtime.h"

/* Sizes of one convolution with its pool; without pool the pool is 1x1, stride 1, no padding. */
typedef struct {
    uint16_t in_height, in_width, in_channels;
    uint16_t kernel_height, kernel_width, stride_y, stride_x, pad_top, pad_left;
    uint16_t map_height, map_width; /* accumulator map, before the pool */
    uint16_t pool_height, pool_width, pool_stride_y, pool_stride_x, pool_pad_top, pool_pad_left;
    uint16_t out_height, out_width;
} picobnn_conv2d_shape;

/* Half-open range of positions. */
typedef struct {
    int32_t begin, end;
} picobnn_span;

/* Where a window of `size` that starts at `origin` meets 0 .. limit - 1. */
PICOBNN_INLINE picobnn_span picobnn_clip(int32_t origin, int32_t size, int32_t limit)
{
    picobnn_span span;

    span.begin = origin < 0 ? 0 : origin;
    span.end = origin + size > limit ? limit : origin + size;
    return span;
}

/* Row `bit` is the sign of `test`, shifted in from the top: after 32 calls the first is bit 0. */
PICOBNN_INLINE uint32_t picobnn_shift_in_sign(uint32_t bits, uint32_t test)
{
    return (bits >> 1) | (test & 0x80000000u);
}

/* Puts the compare bits of one pool position into an output word. */
PICOBNN_INLINE void picobnn_merge_bits(uint32_t *word, uint32_t bits, uint32_t is_first)
{
    *word = is_first ? bits : *word | bits;
}

/* ACC pool: the flip comes after the OR of the compares. Padding bits of flips are 0. */
PICOBNN_INLINE void picobnn_flip_words(uint32_t *words, const uint32_t *flips, uint32_t count)
{
    for (uint32_t i = 0u; i < count; ++i) {
        words[i] ^= flips[i];
    }
}

/* logit = acc * multiplier + bias, in place. */
PICOBNN_INLINE void picobnn_scale_sums(int32_t *sums, const int32_t *multipliers,
                                       const int32_t *biases, uint32_t count)
{
    for (uint32_t i = 0u; i < count; ++i) {
        sums[i] = sums[i] * multipliers[i] + biases[i];
    }
}

/* Gathers the patch whose window starts at input row `top`, column `left` (negative in padding). */
typedef void picobnn_gather_function(const void *layer, const void *input, int32_t top,
                                     int32_t left, void *scratch);

/* Runs all filters on the gathered patch and merges the results into the output pixel. */
typedef void picobnn_filters_function(const void *layer, const void *scratch, uint32_t *pixel,
                                      uint32_t is_first);

/* Ends an output pixel after its last pool position. */
typedef void picobnn_finish_function(const void *layer, uint32_t *pixel);

/* Visits every output pixel (pixel_words words each) and every position of its pool window.
 * Always inlined, so that the three calls are direct ones. */
PICOBNN_INLINE void picobnn_conv2d_walk(const picobnn_conv2d_shape *shape, const void *layer,
                                        const void *input, uint32_t *output, uint32_t pixel_words,
                                        void *scratch, picobnn_gather_function *gather,
                                        picobnn_filters_function *filters,
                                        picobnn_finish_function *finish)
{
    int32_t pool_top = -(int32_t)shape->pool_pad_top;

    for (uint32_t out_y = shape->out_height; out_y != 0u; --out_y) {
        const picobnn_span rows = picobnn_clip(pool_top, shape->pool_height, shape->map_height);
        int32_t pool_left = -(int32_t)shape->pool_pad_left;

        for (uint32_t out_x = shape->out_width; out_x != 0u; --out_x) {
            const picobnn_span columns =
                picobnn_clip(pool_left, shape->pool_width, shape->map_width);
            uint32_t is_first = 1u;

            for (int32_t y = rows.begin; y < rows.end; ++y) {
                const int32_t top = y * shape->stride_y - shape->pad_top;

                for (int32_t x = columns.begin; x < columns.end; ++x) {
                    gather(layer, input, top, x * shape->stride_x - shape->pad_left, scratch);
                    filters(layer, scratch, output, is_first);
                    is_first = 0u;
                }
            }
            finish(layer, output);
            output += pixel_words;
            pool_left += shape->pool_stride_x;
        }
        pool_top += shape->pool_stride_y;
    }
}

#endif
