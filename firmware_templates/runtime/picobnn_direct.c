/* SPDX-License-Identifier: MIT-0
 * picobnn direct kernel. Contracts stand in the header.
 *
 * All filters see the same patch, so the 16 signed sums of every four taps are formed once per
 * position; a filter then adds one table entry per four weights.
 */
#include "picobnn_direct.h"

/* The 16 sums of four taps, each added where its bit of the index is set, else subtracted. */
PICOBNN_INLINE void fill_table(int32_t *table, const int32_t *taps)
{
    const int32_t low[4] = {-taps[0] - taps[1], taps[0] - taps[1], taps[1] - taps[0],
                            taps[0] + taps[1]};
    const int32_t high[4] = {-taps[2] - taps[3], taps[2] - taps[3], taps[3] - taps[2],
                             taps[2] + taps[3]};

    for (uint32_t i = 0u; i < 4u; ++i) {
        table[0] = low[0] + high[i];
        table[1] = low[1] + high[i];
        table[2] = low[2] + high[i];
        table[3] = low[3] + high[i];
        table += 4;
    }
}

/* Tables of all taps of the window at (top, left). */
static PICOBNN_NOINLINE void gather(const void *context, const void *input, int32_t top,
                                    int32_t left, void *scratch)
{
    const picobnn_direct_conv2d_layer *layer = (const picobnn_direct_conv2d_layer *)context;
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint8_t *image = (const uint8_t *)input;
    const int32_t zero_point = (int32_t)layer->zero_point;
    const uint32_t channels = shape->in_channels;
    int32_t *table = (int32_t *)scratch;
    int32_t taps[4];
    uint32_t used = 0u;

    for (uint32_t ky = 0u; ky < shape->kernel_height; ++ky) {
        const uint32_t y = (uint32_t)top + ky; /* rows above the image wrap to large values */
        const uint32_t row_is_inside = y < shape->in_height;
        const uint8_t *row = image + (row_is_inside ? y * shape->in_width * channels : 0u);

        for (uint32_t kx = 0u; kx < shape->kernel_width; ++kx) {
            const uint32_t x = (uint32_t)left + kx;
            const uint32_t is_inside = row_is_inside && x < shape->in_width;
            const uint8_t *pixel = row + (is_inside ? x * channels : 0u);

            for (uint32_t channel = channels; channel != 0u; --channel) {
                taps[used++] = is_inside ? (int32_t)*pixel++ - zero_point : 0;
                if (used == 4u) {
                    fill_table(table, taps);
                    table += 16;
                    used = 0u;
                }
            }
        }
    }
    if (used != 0u) {
        for (; used < 4u; ++used) {
            taps[used] = 0;
        }
        fill_table(table, taps);
    }
}

/* Adds the sums of `groups` (1 to 8) groups of four weights. */
PICOBNN_INLINE int32_t sum_word(uint32_t word, const int32_t *tables, uint32_t groups)
{
    int32_t sum = 0;

    switch (groups) {
    case 8u:
        sum += tables[7 * 16 + (word >> 28)];
        /* fall through */
    case 7u:
        sum += tables[6 * 16 + ((word >> 24) & 15u)];
        /* fall through */
    case 6u:
        sum += tables[5 * 16 + ((word >> 20) & 15u)];
        /* fall through */
    case 5u:
        sum += tables[4 * 16 + ((word >> 16) & 15u)];
        /* fall through */
    case 4u:
        sum += tables[3 * 16 + ((word >> 12) & 15u)];
        /* fall through */
    case 3u:
        sum += tables[2 * 16 + ((word >> 8) & 15u)];
        /* fall through */
    case 2u:
        sum += tables[1 * 16 + ((word >> 4) & 15u)];
        /* fall through */
    default:
        sum += tables[word & 15u];
    }
    return sum;
}

/* Accumulator of one filter of `words` words, the last one with last_groups groups. */
PICOBNN_INLINE int32_t sum_filter(const uint32_t *weights, const int32_t *tables, uint32_t words,
                                  uint32_t last_groups)
{
    int32_t sum = 0;

    for (; words > 1u; --words) {
        sum += sum_word(*weights++, tables, 8u);
        tables += 8 * 16;
    }
    return sum + sum_word(*weights, tables, last_groups);
}

static PICOBNN_NOINLINE void filters_on_patch(const void *context, const void *scratch,
                                              uint32_t *pixel, uint32_t is_first)
{
    const picobnn_direct_conv2d_layer *layer = (const picobnn_direct_conv2d_layer *)context;
    const int32_t *tables = (const int32_t *)scratch;
    const uint32_t words = (layer->taps + 31u) / 32u;
    const uint32_t last_groups = (layer->taps + 3u) / 4u - 8u * (words - 1u);
    const uint32_t *weights = layer->weights;
    const int32_t *threshold = layer->thresholds;
    const uint32_t *flip = layer->flips;

    for (uint32_t left = layer->count; left != 0u;) {
        const uint32_t lanes = left < 32u ? left : 32u;
        uint32_t word = 0u;

        for (uint32_t lane = lanes; lane != 0u; --lane) {
            const int32_t sum = sum_filter(weights, tables, words, last_groups);

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
