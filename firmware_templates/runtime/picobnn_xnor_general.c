/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels, general form. Contract and formula stand in the header.
 *
 * A patch is gathered once per position, group after group without gaps, so that a filter is one
 * run of words whatever its group; then the filters run one by one.
 */
#include "picobnn_xnor_general.h"

#include "picobnn_xnor_bits.h"
#include "picobnn_xnor_count.h"

/* Which bits of a filter's words and the patch's are counted. */
typedef enum {
    DIFFERING,      /* where they differ */
    KEPT_DIFFERING, /* the same at kept taps */
    KEPT_SET        /* where the patch is set at kept taps */
} counted;

PICOBNN_INLINE uint32_t word_of(counted what, const uint32_t *w, const uint32_t *kept,
                                const uint32_t *x, uint32_t at)
{
    const uint32_t bits = what == KEPT_SET ? x[at] : x[at] ^ w[at];

    return what == DIFFERING ? bits : bits & kept[at];
}

PICOBNN_INLINE uint32_t count_nine_of(counted what, const uint32_t *w, const uint32_t *kept,
                                      const uint32_t *x, masks m)
{
    uint32_t sums[3], carries[3];

    if (what == DIFFERING) {
        return count_nine(w, x, m);
    }
    for (uint32_t i = 0u; i < 3u; ++i) {
        sums[i] = word_of(what, w, kept, x, 3u * i);
        carries[i] = full_adder(&sums[i], word_of(what, w, kept, x, 3u * i + 1u),
                                word_of(what, w, kept, x, 3u * i + 2u));
    }
    return count_three(sums[0], sums[1], sums[2], m) +
           2u * count_three(carries[0], carries[1], carries[2], m);
}

/* The bits of `words` words: nine at a time, then three, then the rest. */
PICOBNN_INLINE uint32_t count_run(counted what, const uint32_t *w, const uint32_t *kept,
                                  const uint32_t *x, uint32_t words)
{
    const masks m = make_masks();
    uint32_t count = 0u;

    for (; words >= 9u; words -= 9u) {
        count = add_bytes(count, count_nine_of(what, w, kept, x, m));
        w += 9;
        kept += 9;
        x += 9;
    }
    for (; words >= 3u; words -= 3u) {
        const uint32_t a = word_of(what, w, kept, x, 0u), b = word_of(what, w, kept, x, 1u);

        count = add_bytes(count, count_three(a, b, word_of(what, w, kept, x, 2u), m));
        w += 3;
        kept += 3;
        x += 3;
    }
    if (words != 0u) {
        const uint32_t a = word_of(what, w, kept, x, 0u);
        const uint32_t b = words == 1u ? 0u : word_of(what, w, kept, x, 1u);

        count = add_bytes(count, count_three(a, b, 0u, m));
    }
    return total(count);
}

/* The hot loops. Each compares `lanes` (1 to 32) filters with one patch: bit 32 - lanes + i of the
 * result is acc + r n >= limits[i] for acc + r n = base - 2^shift * D, the bits below are 0. */
PICOBNN_INLINE uint32_t compare_lanes(counted what, const uint32_t *w, const uint32_t *kept,
                                      const uint32_t *x,
                                      const picobnn_xnor_general_filters *filters,
                                      const int32_t *limits, uint32_t base, uint32_t lanes)
{
    const uint32_t words = filters->words, shift = filters->shift;
    uint32_t result = 0u;

    ++base;
    do {
        const uint32_t differing = count_run(what, w, kept, x, words);

        result = picobnn_shift_in_sign(result, (differing << shift) + (uint32_t)*limits++ - base);
        w += words;
        kept += words;
    } while (--lanes != 0u);
    return result;
}

static PICOBNN_NOINLINE PICOBNN_HOT(xnor_general_compare)
uint32_t compare_all(const uint32_t *w, const uint32_t *x,
                     const picobnn_xnor_general_filters *filters, const int32_t *limits,
                     uint32_t base, uint32_t lanes)
{
    return compare_lanes(DIFFERING, w, w, x, filters, limits, base, lanes);
}

static PICOBNN_NOINLINE PICOBNN_HOT(xnor_general_compare_kept)
uint32_t compare_kept(const uint32_t *w, const uint32_t *kept, const uint32_t *x,
                      const picobnn_xnor_general_filters *filters, const int32_t *limits,
                      uint32_t lanes)
{
    return compare_lanes(KEPT_DIFFERING, w, kept, x, filters, limits, 0u, lanes);
}

static PICOBNN_NOINLINE uint32_t count_differing(const uint32_t *w, const uint32_t *x,
                                                 uint32_t words)
{
    return count_run(DIFFERING, w, x, x, words);
}

static PICOBNN_NOINLINE uint32_t count_kept_differing(const uint32_t *w, const uint32_t *kept,
                                                      const uint32_t *x, uint32_t words)
{
    return count_run(KEPT_DIFFERING, w, kept, x, words);
}

static PICOBNN_NOINLINE PICOBNN_HOT(xnor_general_kept_set)
uint32_t count_kept_set(const uint32_t *kept, const uint32_t *x, uint32_t words)
{
    return count_run(KEPT_SET, x, kept, x, words);
}

/* The scratch: patches of all groups, then the same with set padding bits in a second copy. */
typedef struct {
    uint32_t copies; /* 1 or 2 */
    uint32_t bits[]; /* copies x groups x words */
} patch_scratch;

/* One group of filters on its patch; set: M of all copies where all taps are kept. */
typedef struct {
    const picobnn_xnor_general_filters *filters;
    const uint32_t *x;
    uint32_t copies, set;
    uint32_t next; /* filter */
} group_state;

/* acc + r n of one filter, twice it with two copies of the patch. */
static PICOBNN_NOINLINE uint32_t sum_of(const group_state *group, uint32_t filter)
{
    const picobnn_xnor_general_filters *filters = group->filters;
    const uint32_t words = filters->words;
    const uint32_t *w = filters->weights + filter * words, *x = group->x;
    uint32_t differing = 0u, set = group->set;

    for (uint32_t copies = group->copies; copies != 0u; --copies) {
        if (filters->kept == NULL) {
            differing += count_differing(w, x, words);
        } else {
            const uint32_t *kept = filters->kept + filter * words;

            differing += count_kept_differing(w, kept, x, words);
            if (filters->balance != 0u) {
                set += count_kept_set(kept, x, words);
            }
        }
        x += filters->groups * words;
    }
    return filters->balance * set - (differing << filters->shift);
}

/* The next `lanes` (1 to 32) filters of a group, as the hot loops give them. */
static uint32_t compare(const group_state *group, uint32_t lanes)
{
    const picobnn_xnor_general_filters *filters = group->filters;
    const uint32_t *w = filters->weights + group->next * filters->words;
    const int32_t *limits = filters->limits + group->next;
    uint32_t result = 0u;

    if (group->copies == 1u && filters->kept == NULL) {
        return compare_all(w, group->x, filters, limits, filters->balance * group->set, lanes);
    }
    if (group->copies == 1u && filters->balance == 0u) {
        return compare_kept(w, filters->kept + group->next * filters->words, group->x, filters,
                            limits, lanes);
    }
    for (uint32_t lane = 0u; lane < lanes; ++lane) {
        const uint32_t limit = (uint32_t)limits[lane] << (group->copies - 1u);

        result = picobnn_shift_in_sign(result, ~(sum_of(group, group->next + lane) - limit));
    }
    return result;
}

/* Set bits of a group's patch, of all copies, where they are needed. */
static uint32_t set_bits(const picobnn_xnor_general_filters *filters, const uint32_t *x,
                         uint32_t copies)
{
    uint32_t set = 0u;

    if (filters->kept == NULL && filters->balance != 0u) {
        for (; copies != 0u; --copies) {
            set += count_kept_set(x, x, filters->words);
            x += filters->groups * filters->words;
        }
    }
    return set;
}

static void bits_of_groups(group_state *group, uint32_t *pixel, uint32_t is_first)
{
    const picobnn_xnor_general_filters *filters = group->filters;
    const uint32_t *flips = filters->flips;
    uint32_t result = 0u, fill = 0u;

    for (uint32_t groups = filters->groups; groups != 0u; --groups) {
        uint32_t left = filters->per_group;

        group->set = set_bits(filters, group->x, group->copies);
        while (left != 0u) {
            const uint32_t lanes = left < 32u - fill ? left : 32u - fill;
            const uint32_t bits = compare(group, lanes);

            result = fill == 0u ? bits : (result >> lanes) | bits;
            fill += lanes;
            if (fill == 32u || (groups == 1u && left == lanes)) {
                result >>= 32u - fill;
                if (flips != NULL) {
                    result ^= *flips++;
                }
                picobnn_merge_bits(pixel++, result, is_first);
                fill = 0u;
            }
            group->next += lanes;
            left -= lanes;
        }
        group->x += filters->words;
    }
}

static void sums_of_groups(group_state *group, uint32_t *pixel)
{
    const picobnn_xnor_general_filters *filters = group->filters;

    for (uint32_t groups = filters->groups; groups != 0u; --groups) {
        group->set = set_bits(filters, group->x, group->copies);
        for (uint32_t left = filters->per_group; left != 0u; --left) {
            const uint32_t filter = group->next++;
            uint32_t sum = sum_of(group, filter);

            if (group->copies == 2u) {
                sum = (uint32_t)((int32_t)sum / 2);
            }
            *pixel++ =
                sum * (uint32_t)filters->multipliers[filter] + (uint32_t)filters->biases[filter];
        }
        group->x += filters->words;
    }
}

PICOBNN_INLINE void run_filters(const void *context, const void *scratch, uint32_t *pixel,
                                uint32_t is_first)
{
    const picobnn_xnor_general_filters *filters =
        &((const picobnn_xnor_general_layer *)context)->filters;
    const patch_scratch *gathered = (const patch_scratch *)scratch;
    group_state group = {filters, gathered->bits, gathered->copies, 0u, 0u};

    if (filters->limits != NULL) {
        bits_of_groups(&group, pixel, is_first);
    } else { /* there is no pool before a scale */
        sums_of_groups(&group, pixel);
    }
}

/* `count` channels from `first` on, of a pixel of the map, or of the padding (pixel is null) whose
 * bits are those of `pad`. */
PICOBNN_INLINE void append_channels(bit_writer *writer, const uint32_t *pixel, uint32_t first,
                                    uint32_t count, uint32_t pad)
{
    do {
        const uint32_t begin = first % 32u;
        const uint32_t here = count < 32u - begin ? count : 32u - begin;
        const uint32_t word = pixel != NULL ? pixel[first / 32u] : pad;

        append_bits(writer, (word >> begin) & (0xFFFFFFFFu >> (32u - here)), here);
        first += here;
        count -= here;
    } while (count != 0u);
}

/* The channels of one group under the window at (top, left); returns the end of the run. */
static PICOBNN_NOINLINE uint32_t *gather_group(const picobnn_conv2d_shape *shape,
                                               const uint32_t *input, int32_t top, int32_t left,
                                               uint32_t first, uint32_t channels, uint32_t pad,
                                               uint32_t *bits)
{
    const uint32_t pixel_words = (shape->in_channels + 31u) / 32u;
    bit_writer writer = {bits, 0u, 0u};

    for (uint32_t ky = 0u; ky < shape->kernel_height; ++ky) {
        const uint32_t y = (uint32_t)top + ky; /* rows above the map wrap to large values */
        const uint32_t row_is_inside = y < shape->in_height;
        const uint32_t *row = input + (row_is_inside ? y * shape->in_width * pixel_words : 0u);

        for (uint32_t kx = 0u; kx < shape->kernel_width; ++kx) {
            const uint32_t x = (uint32_t)left + kx;
            const uint32_t is_inside = row_is_inside && x < shape->in_width;

            append_channels(&writer, is_inside ? row + x * pixel_words : NULL, first, channels,
                            pad);
        }
    }
    return end_bits(&writer);
}

static void gather(const void *context, const void *input, int32_t top, int32_t left, void *scratch)
{
    const picobnn_xnor_general_layer *layer = (const picobnn_xnor_general_layer *)context;
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t channels = layer->filters.channels;
    patch_scratch *gathered = (patch_scratch *)scratch;
    uint32_t *bits = gathered->bits;
    uint32_t pad = 0u;

    gathered->copies = 1u;
    if (layer->pad_is_zero &&
        (top < 0 || left < 0 || top + shape->kernel_height > shape->in_height ||
         left + shape->kernel_width > shape->in_width)) {
        gathered->copies = 2u;
    }
    for (uint32_t copies = gathered->copies; copies != 0u; --copies) {
        for (uint32_t first = 0u; first < shape->in_channels; first += channels) {
            bits =
                gather_group(shape, (const uint32_t *)input, top, left, first, channels, pad, bits);
        }
        pad = 0xFFFFFFFFu;
    }
}

static void finish(const void *context, uint32_t *pixel)
{
    const picobnn_xnor_general_filters *filters =
        &((const picobnn_xnor_general_layer *)context)->filters;

    if (filters->final_flips != NULL) {
        picobnn_flip_words(pixel, filters->final_flips,
                           (filters->groups * filters->per_group + 31u) / 32u);
    }
}

void picobnn_xnor_general(const picobnn_xnor_general_layer *layer, const uint32_t *input,
                          void *output, uint32_t *scratch)
{
    const picobnn_xnor_general_filters *filters = &layer->filters;
    const uint32_t count = filters->groups * filters->per_group;

    picobnn_conv2d_walk(&layer->shape, layer, input, (uint32_t *)output,
                        filters->limits != NULL ? (count + 31u) / 32u : count, scratch, gather,
                        run_filters, finish);
}
