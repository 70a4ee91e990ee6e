/* SPDX-License-Identifier: MIT-0
 * picobnn direct kernel. Contracts stand in the header.
 *
 * All filters see the same patch, so the 16 signed sums of every four taps are formed once per
 * position; a filter then adds one table entry per four weights.
 */
#include "picobnn_direct.h"

/* Adds one tap to a table of `entries` sums: clear bit subtracts, set bit adds. */
PICOBNN_INLINE void double_table(int32_t *table, uint32_t entries, int32_t value)
{
    for (uint32_t i = 0u; i < entries; ++i) {
        const int32_t sum = table[i];

        table[i + entries] = sum + value;
        table[i] = sum - value;
    }
}

/* Tables of all taps of the window at (top, left). */
PICOBNN_INLINE void gather(const void *context, const void *input, int32_t top, int32_t left,
                           void *scratch)
{
    const picobnn_direct_conv2d_layer *layer = (const picobnn_direct_conv2d_layer *)context;
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint8_t *image = (const uint8_t *)input;
    const uint32_t channels = shape->in_channels;
    int32_t *table = (int32_t *)scratch;
    uint32_t entries = 1u;

    table[0] = 0;
    for (uint32_t ky = 0u; ky < shape->kernel_height; ++ky) {
        const uint32_t y = (uint32_t)top + ky; /* rows above the image wrap to large values */
        const uint32_t row_is_inside = y < shape->in_height;
        const uint8_t *row = image + (row_is_inside ? y * shape->in_width * channels : 0u);

        for (uint32_t kx = 0u; kx < shape->kernel_width; ++kx) {
            const uint32_t x = (uint32_t)left + kx;
            const uint32_t is_inside = row_is_inside && x < shape->in_width;

            for (uint32_t channel = 0u; channel < channels; ++channel) {
                const int32_t value =
                    is_inside ? (int32_t)row[x * channels + channel] - (int32_t)layer->zero_point
                              : 0;

                if (entries == 16u) {
                    table += 16;
                    table[0] = 0;
                    entries = 1u;
                }
                double_table(table, entries, value);
                entries *= 2u;
            }
        }
    }
}

/* Accumulator of one filter. Bits beyond the last tap are 0 and their tables are never read. */
PICOBNN_INLINE int32_t sum_filter(const uint32_t *weights, const int32_t *table, uint32_t taps)
{
    int32_t sum = 0;

    for (;;) {
        uint32_t word = *weights++;
        uint32_t left = taps < 32u ? taps : 32u;

        taps -= left;
        for (; left >= 4u; left -= 4u) {
            sum += table[word & 15u];
            word >>= 4;
            table += 16;
        }
        if (left != 0u) {
            sum += table[word];
        }
        if (taps == 0u) {
            return sum;
        }
    }
}

static PICOBNN_NOINLINE void filters_on_patch(const void *context, const void *scratch,
                                              uint32_t *pixel, uint32_t is_first)
{
    const picobnn_direct_conv2d_layer *layer = (const picobnn_direct_conv2d_layer *)context;
    const int32_t *tables = (const int32_t *)scratch;
    const uint32_t words = (layer->taps + 31u) / 32u;
    const uint32_t *weights = layer->weights;
    const int32_t *threshold = layer->thresholds;
    const uint32_t *flip = layer->flips;

    for (uint32_t left = layer->count; left != 0u;) {
        const uint32_t lanes = left < 32u ? left : 32u;
        uint32_t word = 0u;

        for (uint32_t lane = lanes; lane != 0u; --lane) {
            const int32_t sum = sum_filter(weights, tables, layer->taps);

            weights += words;
            if (threshold != NULL) {
                /* acc >= T is T - acc - 1 < 0. */
                word = picobnn_shift_in_sign(word, (uint32_t)(*threshold++ - sum - 1));
            } else {
                picobnn_merge_sum((int32_t *)pixel++, sum, is_first);
            }
        }
        left -= lanes;
        if (threshold != NULL) {
            word >>= 32u - lanes;
            if (flip != NULL) {
                word ^= *flip++;
            }
            picobnn_merge_bits(pixel++, word, is_first);
        }
    }
}

PICOBNN_INLINE void finish_bits(const void *context, uint32_t *pixel)
{
    const picobnn_direct_conv2d_layer *layer = (const picobnn_direct_conv2d_layer *)context;

    if (layer->final_flips != NULL) {
        picobnn_flip_words(pixel, layer->final_flips, (layer->count + 31u) / 32u);
    }
}

PICOBNN_INLINE void finish_sums(const void *context, uint32_t *pixel)
{
    const picobnn_direct_conv2d_layer *layer = (const picobnn_direct_conv2d_layer *)context;

    picobnn_scale_sums((int32_t *)pixel, layer->multipliers, layer->biases, layer->count);
}

void picobnn_direct_conv2d_bits(const picobnn_direct_conv2d_layer *layer, const uint8_t *input,
                                uint32_t *output, uint32_t *scratch)
{
    picobnn_conv2d_walk(&layer->shape, layer, input, output, (layer->count + 31u) / 32u, scratch,
                        gather, filters_on_patch, finish_bits);
}

void picobnn_direct_conv2d_scale(const picobnn_direct_conv2d_layer *layer, const uint8_t *input,
                                 int32_t *output, uint32_t *scratch)
{
    picobnn_conv2d_walk(&layer->shape, layer, input, (uint32_t *)output, layer->count, scratch,
                        gather, filters_on_patch, finish_sums);
}
