/* SPDX-License-Identifier: MIT-0
 * picobnn direct kernel. Contracts stand in the header.
 *
 * All filters see the same patch, so the 16 signed sums of every four taps are formed once per
 * position; a filter then adds one table entry per four weights.
 */
#include "picobnn_direct.h"

#if defined(__GNUC__)
/* Keeps the compiler from calling memset for a handful of words. */
#define OPAQUE(value) __asm__("" : "+r"(value))
#else
#define OPAQUE(value) ((void)(value))
#endif

/* `count` zeros. */
PICOBNN_INLINE int32_t *write_zeros(int32_t *taps, int32_t count)
{
    int32_t zero = 0;

    OPAQUE(zero);
    for (; count > 0; --count) {
        *taps++ = zero;
    }
    return taps;
}

/* Four sums of a table: those of the first two taps plus one of the last two. */
PICOBNN_INLINE void write_row(int32_t *row, int32_t both_off, int32_t first_on, int32_t second_on,
                              int32_t high)
{
    row[0] = both_off + high;
    row[1] = first_on + high;
    row[2] = second_on + high;
    row[3] = high - both_off;
}

/* The 16 sums of four taps: each tap is added where its bit of the index is set, else subtracted.
 * `taps` may lie inside the table. */
PICOBNN_INLINE void write_table(int32_t *table, const int32_t *taps)
{
    const int32_t a = taps[0], b = taps[1], c = taps[2], d = taps[3];

    write_row(table, -a - b, a - b, b - a, -c - d);
    write_row(table + 4, -a - b, a - b, b - a, c - d);
    write_row(table + 8, -a - b, a - b, b - a, d - c);
    write_row(table + 12, -a - b, a - b, b - a, c + d);
}

/* The taps of the window at (top, left), minus the zero point; 0 in the padding. Returns their end.
 */
PICOBNN_INLINE int32_t *read_window(const picobnn_direct_conv2d_layer *layer, const uint8_t *image,
                                    int32_t top, int32_t left, int32_t *taps)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const int32_t channels = shape->in_channels;
    const int32_t zero_point = (int32_t)layer->zero_point;
    const picobnn_span columns = picobnn_clip(left, shape->kernel_width, shape->in_width);
    const int32_t end = left + shape->kernel_width;

    for (int32_t y = top; y < top + shape->kernel_height; ++y) {
        if (y < 0 || y >= shape->in_height || columns.begin >= columns.end) {
            taps = write_zeros(taps, shape->kernel_width * channels);
        } else {
            const uint8_t *next = image + (y * shape->in_width + columns.begin) * channels;

            taps = write_zeros(taps, (columns.begin - left) * channels);
            for (int32_t n = (columns.end - columns.begin) * channels; n != 0; --n) {
                *taps++ = (int32_t)*next++ - zero_point;
            }
            taps = write_zeros(taps, (end - columns.end) * channels);
        }
    }
    return taps;
}

/* Tables of all taps of the window at (top, left). The taps first go to the last quarter of the
 * scratch: table g ends before the taps of group g + 1 begin. */
static PICOBNN_NOINLINE void gather(const void *context, const void *input, int32_t top,
                                    int32_t left, void *scratch)
{
    const picobnn_direct_conv2d_layer *layer = (const picobnn_direct_conv2d_layer *)context;
    const uint32_t groups = (layer->taps + 3u) / 4u;
    int32_t *table = (int32_t *)scratch;
    const int32_t *taps = table + 12u * groups;
    int32_t *end = read_window(layer, (const uint8_t *)input, top, left, table + 12u * groups);

    (void)write_zeros(end, (int32_t)(4u * groups - layer->taps));
    for (uint32_t group = groups; group != 0u; --group) {
        write_table(table, taps);
        table += 16;
        taps += 4;
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

/* Accumulator of the filter w .. last; the last word has last_groups groups. */
PICOBNN_INLINE int32_t sum_filter(const uint32_t *w, const uint32_t *last, const int32_t *tables,
                                  uint32_t last_groups)
{
    int32_t sum = 0;

    for (; w != last; ++w) {
        sum += sum_word(*w, tables, 8u);
        tables += 8 * 16;
    }
    return sum + sum_word(*w, tables, last_groups);
}

/* Compare bits of `lanes` (1 to 32) filters: bit i is acc >= thresholds[i]. The hot loop. */
static PICOBNN_NOINLINE PICOBNN_HOT(direct_compare_filters)
uint32_t compare_filters(const uint32_t *w, uint32_t words, const int32_t *tables,
                         uint32_t last_groups, const int32_t *thresholds, uint32_t lanes)
{
    /* A mark at bit lanes - 1 comes down as results come in from the top: it counts the lanes. */
    uint32_t result = 1u << (lanes - 1u);
    uint32_t is_last;

    do {
        const int32_t sum = sum_filter(w, w + words - 1u, tables, last_groups);

        w += words;
        is_last = result & 1u;
        /* acc >= T is T - 1 - acc < 0. */
        result = picobnn_shift_in_sign(result, (uint32_t)(*thresholds++ - 1 - sum));
    } while (!is_last);
    return result >> (32u - lanes);
}

PICOBNN_INLINE uint32_t filter_words(const picobnn_direct_conv2d_layer *layer)
{
    return (layer->taps + 31u) / 32u;
}

PICOBNN_INLINE uint32_t groups_of_last_word(const picobnn_direct_conv2d_layer *layer)
{
    return (layer->taps + 3u) / 4u - 8u * (filter_words(layer) - 1u);
}

PICOBNN_INLINE void bits_of_patch(const void *context, const void *scratch, uint32_t *pixel,
                                  uint32_t is_first)
{
    const picobnn_direct_conv2d_layer *layer = (const picobnn_direct_conv2d_layer *)context;
    const uint32_t words = filter_words(layer);

    for (uint32_t first = 0u; first < layer->count; first += 32u) {
        const uint32_t left = layer->count - first;
        uint32_t word = compare_filters(layer->weights + first * words, words,
                                        (const int32_t *)scratch, groups_of_last_word(layer),
                                        layer->thresholds + first, left < 32u ? left : 32u);

        if (layer->flips != NULL) {
            word ^= layer->flips[first / 32u];
        }
        picobnn_merge_bits(pixel++, word, is_first);
    }
}

PICOBNN_INLINE void sums_of_patch(const void *context, const void *scratch, uint32_t *pixel,
                                  uint32_t is_first)
{
    const picobnn_direct_conv2d_layer *layer = (const picobnn_direct_conv2d_layer *)context;
    const uint32_t words = filter_words(layer);
    const uint32_t last_groups = groups_of_last_word(layer);
    const uint32_t *w = layer->weights;

    (void)is_first; /* there is no pool before a scale */
    for (uint32_t left = layer->count; left != 0u; --left) {
        const int32_t sum = sum_filter(w, w + words - 1u, (const int32_t *)scratch, last_groups);

        w += words;
        *pixel++ = (uint32_t)sum;
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
                        gather, bits_of_patch, finish_bits);
}

void picobnn_direct_conv2d_scale(const picobnn_direct_conv2d_layer *layer, const uint8_t *input,
                                 int32_t *output, uint32_t *scratch)
{
    picobnn_conv2d_walk(&layer->shape, layer, input, (uint32_t *)output, layer->count, scratch,
                        gather, sums_of_patch, finish_sums);
}
