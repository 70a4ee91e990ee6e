/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels. Contracts stand in the header.
 *
 * A patch is gathered once per position; then every filter is one run of words beside it. The
 * frequent lengths have loops of their own, which keep everything in registers.
 */
#include "picobnn_xnor.h"

#include "picobnn_xnor_bits.h"
#include "picobnn_xnor_count.h"

/* What all filters of a layer are compared with. `patches` is 1, or 2 in zero padding: then the
 * patch stands twice, with clear and with set bits in the padding, whose contributions cancel:
 * acc = taps - mismatches(first) - mismatches(second). Otherwise acc = taps - 2 * mismatches. */
typedef struct picobnn_xnor_patch {
    const uint32_t *bits; /* patches x words */
    uint32_t words, patches;
} patch;

/* The hot loops. Each compares `lanes` (1 to 32) filters with one patch: bit 32 - lanes + i of the
 * result is 2 * mismatches < limits[i], the bits below are 0. A mark at bit lanes - 1 comes down as
 * results come in from the top: it counts the lanes. */

/* Nine words per filter: a 3x3 window over 32 channels. */
PICOBNN_HOT(xnor_compare_9)
uint32_t picobnn_xnor_compare_9(const uint32_t *w, const patch *x, const uint16_t *limits,
                                uint32_t lanes)
{
    const masks m = make_masks();
    const uint32_t *bits = x->bits;
    uint32_t result = 1u << (lanes - 1u);
    uint32_t is_last;

    do {
        const uint32_t mismatches = total_of_few(count_nine(w, bits, m));

        w += 9;
        is_last = result & 1u;
        result = picobnn_shift_in_sign(result, 2u * mismatches - *limits++);
    } while (!is_last);
    return result;
}

/* One to eight words per filter. */
PICOBNN_HOT(xnor_compare_few)
uint32_t picobnn_xnor_compare_few(const uint32_t *w, const patch *x, const uint16_t *limits,
                                  uint32_t lanes)
{
    masks m = make_masks();
    const uint32_t *bits = x->bits;
    const uint32_t words = x->words;
    uint32_t result = 1u << (lanes - 1u);
    uint32_t is_last;

    do {
        const uint32_t *next = bits;
        uint32_t bytes = 0u, left = words;

        for (; left >= 3u; left -= 3u) {
            const triple t = differ(w, next, 0u);

            KEEP_MASKS_ASIDE(m);
            bytes += count_three(t.a, t.b, t.c, m);
            w += 3;
            next += 3;
        }
        if (left != 0u) {
            const uint32_t even = *w++ ^ next[0];
            const uint32_t odd = left == 1u ? 0u : *w++ ^ next[1];

            bytes += count_three(even, odd, 0u, m);
        }
        is_last = result & 1u;
        result = picobnn_shift_in_sign(result, 2u * total_of_few(bytes) - *limits++);
    } while (!is_last);
    return result;
}

/* A multiple of eighteen words per filter: a 3x3 window over a multiple of 64 channels. */
PICOBNN_HOT(xnor_compare_18)
uint32_t picobnn_xnor_compare_18(const uint32_t *w, const patch *x, const uint16_t *limits,
                                 uint32_t lanes)
{
    const masks m = make_masks();
    const uint32_t *bits = x->bits, *end = bits + x->words;
    uint32_t result = 1u << (lanes - 1u);
    uint32_t is_last;

    do {
        const uint32_t *next = bits;
        uint32_t count = 0u;

        do {
            count = add_bytes(count, count_nine(w, next, m));
            count = add_bytes(count, count_nine(w + 9, next + 9, m));
            w += 18;
            next += 18;
            KEEP_IN_REGISTER(w);
            KEEP_IN_REGISTER(next);
        } while (next != end);
        is_last = result & 1u;
        result = picobnn_shift_in_sign(result, 2u * total(count) - *limits++);
    } while (!is_last);
    return result;
}

/* Any number of words per filter. Without limits the mismatches are added to `sums` instead, and
 * `lanes` has no upper end. */
static PICOBNN_NOINLINE PICOBNN_HOT(xnor_compare_runs)
uint32_t compare_runs(const uint32_t *w, const uint32_t *bits, uint32_t words,
                      const uint16_t *limits, uint32_t lanes, uint32_t *sums)
{
    masks m = make_masks();
    uint32_t result = 0u;

    do {
        const uint32_t *x = bits;
        uint32_t count = 0u, left = words;

        for (; left >= 9u; left -= 9u) {
            count = add_bytes(count, count_nine(w, x, m));
            w += 9;
            x += 9;
            KEEP_IN_REGISTER(w);
            KEEP_IN_REGISTER(x);
        }
        for (; left >= 3u; left -= 3u) {
            const triple t = differ(w, x, 0u);

            KEEP_MASKS_ASIDE(m);
            count = add_bytes(count, count_three(t.a, t.b, t.c, m));
            w += 3;
            x += 3;
        }
        if (left != 0u) {
            const uint32_t even = *w++ ^ x[0];
            const uint32_t odd = left == 1u ? 0u : *w++ ^ x[1];

            count = add_bytes(count, count_three(even, odd, 0u, m));
        }
        count = total(count);
        if (limits != NULL) {
            result = picobnn_shift_in_sign(result, 2u * count - *limits++);
        } else {
            *sums++ += count;
        }
    } while (--lanes != 0u);
    return result;
}

/* A loop that no compiler turns into a call of memset. */
PICOBNN_INLINE void clear(uint32_t *words, uint32_t count)
{
    uint32_t zero = 0u;

    KEEP_IN_REGISTER(zero);
    for (; count != 0u; --count) {
        *words++ = zero;
    }
}

/* Adds the mismatches of `lanes` filters with every copy of the patch to sums. */
static PICOBNN_HOT(xnor_add_mismatches) void add_mismatches(const uint32_t *w, const patch *x,
                                                            uint32_t lanes, uint32_t *sums)
{
    const uint32_t *bits = x->bits;

    for (uint32_t copies = x->patches; copies != 0u; --copies) {
        (void)compare_runs(w, bits, x->words, NULL, lanes, sums);
        bits += x->words;
    }
}

/* The same as the hot loops in zero padding. */
static PICOBNN_NOINLINE PICOBNN_HOT(xnor_compare_at_border)
uint32_t compare_at_border(const uint32_t *w, const patch *x, const uint16_t *limits,
                           uint32_t lanes)
{
    uint32_t sums[32];
    uint32_t result = 0u;

    clear(sums, lanes);
    add_mismatches(w, x, lanes, sums);
    for (uint32_t lane = 0u; lane < lanes; ++lane) {
        result = picobnn_shift_in_sign(result, sums[lane] - limits[lane]);
    }
    return result;
}

PICOBNN_HOT(xnor_compare_any)
uint32_t picobnn_xnor_compare_any(const uint32_t *w, const patch *x, const uint16_t *limits,
                                  uint32_t lanes)
{
    return compare_runs(w, x->bits, x->words, limits, lanes, NULL);
}

/* Two words per filter: a 1x1 window over 64 channels. Two filters at a time. */
PICOBNN_HOT(xnor_compare_2)
uint32_t picobnn_xnor_compare_2(const uint32_t *w, const patch *x, const uint16_t *limits,
                                uint32_t lanes)
{
    const masks m = make_masks();
    const uint32_t x0 = x->bits[0], x1 = x->bits[1];
    uint32_t result = 0u;

    if (lanes % 2u != 0u) {
        return picobnn_xnor_compare_few(w, x, limits, lanes);
    }
    do {
        uint32_t a = w[0], limit = limits[0], b = w[1];

        PIN(a, b, limit, a, b, limit);
        a = total_of_few(count_three(a ^ x0, b ^ x1, 0u, m));
        result = picobnn_shift_in_sign(result, 2u * a - limit);
        FENCE();
        a = w[2];
        limit = limits[1];
        b = w[3];
        PIN(a, b, limit, a, b, limit);
        a = total_of_few(count_three(a ^ x0, b ^ x1, 0u, m));
        result = picobnn_shift_in_sign(result, 2u * a - limit);
        w += 4;
        limits += 2;
        KEEP_IN_REGISTER(w);
        KEEP_IN_REGISTER(limits);
    } while ((lanes -= 2u) != 0u);
    return result;
}

/* All filters on one patch to the words of a pixel. */
static void run_filters_to_bits(const picobnn_xnor_filters *filters, const patch *x,
                                uint32_t *pixel, uint32_t is_first)
{
    picobnn_xnor_compare *compare = x->patches == 1u ? filters->compare : compare_at_border;
    const uint32_t group_words = 32u * x->words;
    const uint32_t *w = filters->weights;
    const uint16_t *limits = filters->limits;
    const uint32_t *flips = filters->flips;

    for (uint32_t left = filters->count; left != 0u;) {
        const uint32_t lanes = left < 32u ? left : 32u;
        uint32_t word = compare(w, x, limits, lanes) >> (32u - lanes);

        if (flips != NULL) {
            word ^= *flips++;
        }
        picobnn_merge_bits(pixel++, word, is_first);
        w += group_words;
        limits += 32u;
        left -= lanes;
    }
}

/* The same to accumulators. */
static void run_filters_to_sums(const picobnn_xnor_filters *filters, const patch *x, int32_t *pixel)
{
    const uint32_t shift = 2u - x->patches;

    clear((uint32_t *)pixel, filters->count);
    add_mismatches(filters->weights, x, filters->count, (uint32_t *)pixel);
    for (uint32_t left = filters->count; left != 0u; --left) {
        const uint32_t mismatches = (uint32_t)*pixel << shift;

        *pixel++ = (int32_t)(filters->taps - mismatches);
    }
}

/* One pixel of a map, or of the padding (pixel is null) whose bits are those of `pad`. */
PICOBNN_INLINE void append_pixel(bit_writer *writer, const uint32_t *pixel, uint32_t pad,
                                 uint32_t channels)
{
    for (; channels > 32u; channels -= 32u) {
        append_bits(writer, pixel != NULL ? *pixel++ : pad, 32u);
    }
    append_bits(writer, pixel != NULL ? *pixel : pad >> (32u - channels), channels);
}

/* `count` words of the padding. */
PICOBNN_INLINE uint32_t *write_words(uint32_t *bits, uint32_t pad, int32_t count)
{
    for (; count > 0; --count) {
        *bits++ = pad;
    }
    return bits;
}

/* gather_window() where pixels are whole words: rows of the window are copied. */
static PICOBNN_NOINLINE uint32_t *gather_words(const picobnn_conv2d_shape *shape,
                                               const uint32_t *input, int32_t top, int32_t left,
                                               uint32_t pad, uint32_t *bits)
{
    const int32_t pixel_words = shape->in_channels / 32;
    const int32_t row_words = shape->in_width * pixel_words;
    const picobnn_span columns = picobnn_clip(left, shape->kernel_width, shape->in_width);
    const int32_t before = (columns.begin - left) * pixel_words;
    const int32_t inside = (columns.end - columns.begin) * pixel_words;
    const int32_t after = (left + shape->kernel_width - columns.end) * pixel_words;
    const uint32_t *next = input + top * row_words + columns.begin * pixel_words;

    for (int32_t y = top; y < top + shape->kernel_height; ++y) {
        if (y < 0 || y >= shape->in_height || inside <= 0) {
            bits = write_words(bits, pad, shape->kernel_width * pixel_words);
        } else {
            const uint32_t *from = next;

            bits = write_words(bits, pad, before);
            for (int32_t left_over = inside; left_over != 0; --left_over) {
                *bits++ = *from++;
            }
            bits = write_words(bits, pad, after);
        }
        next += row_words;
    }
    return bits;
}

/* The window at (top, left) as one run of bits; returns the end of the run. */
static PICOBNN_NOINLINE uint32_t *gather_window(const picobnn_conv2d_shape *shape,
                                                const uint32_t *input, int32_t top, int32_t left,
                                                uint32_t pad, uint32_t *bits)
{
    const uint32_t channels = shape->in_channels;
    const uint32_t pixel_words = (channels + 31u) / 32u;
    bit_writer writer = {bits, 0u, 0u};

    for (uint32_t ky = 0u; ky < shape->kernel_height; ++ky) {
        const uint32_t y = (uint32_t)top + ky; /* rows above the map wrap to large values */
        const uint32_t row_is_inside = y < shape->in_height;
        const uint32_t *row = input + (row_is_inside ? y * shape->in_width * pixel_words : 0u);

        for (uint32_t kx = 0u; kx < shape->kernel_width; ++kx) {
            const uint32_t x = (uint32_t)left + kx;
            const uint32_t is_inside = row_is_inside && x < shape->in_width;

            append_pixel(&writer, is_inside ? row + x * pixel_words : NULL, pad, channels);
        }
    }
    return end_bits(&writer);
}

/* The window of either kind; returns the end of its bits. */
PICOBNN_INLINE uint32_t *gather_patch(const picobnn_conv2d_shape *shape, const uint32_t *input,
                                      int32_t top, int32_t left, uint32_t pad, uint32_t *bits)
{
    return shape->in_channels % 32u == 0u ? gather_words(shape, input, top, left, pad, bits)
                                          : gather_window(shape, input, top, left, pad, bits);
}

/* The scratch of a convolution. */
typedef struct {
    uint32_t patches; /* that follow: 1 or 2 */
    uint32_t bits[];  /* patches x words */
} patch_scratch;

static PICOBNN_NOINLINE void gather(const void *context, const void *input, int32_t top,
                                    int32_t left, void *scratch)
{
    const picobnn_xnor_conv2d_layer *layer = (const picobnn_xnor_conv2d_layer *)context;
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t *map = (const uint32_t *)input;
    patch_scratch *gathered = (patch_scratch *)scratch;
    uint32_t clear_pad = 0u;
    uint32_t *end;

    KEEP_IN_REGISTER(clear_pad); /* no memset for a handful of words */
    end = gather_patch(shape, map, top, left, clear_pad, gathered->bits);
    gathered->patches = 1u;
    if (layer->pad_is_zero &&
        (top < 0 || left < 0 || top + shape->kernel_height > shape->in_height ||
         left + shape->kernel_width > shape->in_width)) {
        gathered->patches = 2u;
        (void)gather_patch(shape, map, top, left, 0xFFFFFFFFu, end);
    }
}

PICOBNN_INLINE patch gathered_patch(const picobnn_xnor_filters *filters, const void *scratch)
{
    const patch_scratch *gathered = (const patch_scratch *)scratch;
    const patch found = {gathered->bits, filters->words, gathered->patches};

    return found;
}

PICOBNN_INLINE void bits_of_patch(const void *context, const void *scratch, uint32_t *pixel,
                                  uint32_t is_first)
{
    const picobnn_xnor_filters *filters = &((const picobnn_xnor_conv2d_layer *)context)->filters;
    const patch x = gathered_patch(filters, scratch);

    run_filters_to_bits(filters, &x, pixel, is_first);
}

PICOBNN_INLINE void sums_of_patch(const void *context, const void *scratch, uint32_t *pixel,
                                  uint32_t is_first)
{
    const picobnn_xnor_filters *filters = &((const picobnn_xnor_conv2d_layer *)context)->filters;
    const patch x = gathered_patch(filters, scratch);

    (void)is_first; /* there is no pool before a scale */
    run_filters_to_sums(filters, &x, (int32_t *)pixel);
}

PICOBNN_INLINE void finish_bits(const void *context, uint32_t *pixel)
{
    const picobnn_xnor_filters *filters = &((const picobnn_xnor_conv2d_layer *)context)->filters;

    if (filters->final_flips != NULL) {
        picobnn_flip_words(pixel, filters->final_flips, (filters->count + 31u) / 32u);
    }
}

PICOBNN_INLINE void finish_sums(const void *context, uint32_t *pixel)
{
    const picobnn_xnor_filters *filters = &((const picobnn_xnor_conv2d_layer *)context)->filters;

    picobnn_scale_sums((int32_t *)pixel, filters->multipliers, filters->biases, filters->count);
}

/* A 1x1 window that visits every pixel once: the map is its own patch. */
PICOBNN_INLINE uint32_t is_pointwise(const picobnn_xnor_conv2d_layer *layer)
{
    const picobnn_conv2d_shape *shape = &layer->shape;

    return layer->filters.final_flips == NULL && shape->kernel_height == 1u &&
           shape->kernel_width == 1u && shape->pool_height == 1u && shape->pool_width == 1u &&
           shape->out_height == shape->in_height && shape->out_width == shape->in_width &&
           shape->map_height == shape->in_height && shape->map_width == shape->in_width &&
           shape->pad_top == 0u && shape->pad_left == 0u;
}

void picobnn_xnor_conv2d_bits(const picobnn_xnor_conv2d_layer *layer, const uint32_t *input,
                              uint32_t *output, uint32_t *scratch)
{
    const picobnn_xnor_filters *filters = &layer->filters;
    const uint32_t pixel_words = (filters->count + 31u) / 32u;

    if (is_pointwise(layer)) {
        uint32_t left = (uint32_t)layer->shape.in_height * layer->shape.in_width;
        patch x = {input, filters->words, 1u};

        for (; left != 0u; --left) {
            run_filters_to_bits(filters, &x, output, 1u);
            x.bits += filters->words;
            output += pixel_words;
        }
        return;
    }
    picobnn_conv2d_walk(&layer->shape, layer, input, output, pixel_words, scratch, gather,
                        bits_of_patch, finish_bits);
}

void picobnn_xnor_conv2d_scale(const picobnn_xnor_conv2d_layer *layer, const uint32_t *input,
                               int32_t *output, uint32_t *scratch)
{
    picobnn_conv2d_walk(&layer->shape, layer, input, (uint32_t *)output, layer->filters.count,
                        scratch, gather, sums_of_patch, finish_sums);
}

/* A map as one run of bits: itself where its words have no gaps. */
static const uint32_t *dense_bits(const picobnn_xnor_dense_layer *layer, const uint32_t *input,
                                  uint32_t *scratch)
{
    picobnn_conv2d_shape row; /* the map as one row of pixels, all under the window */

    if (layer->pixels == 1u || layer->channels % 32u == 0u) {
        return input;
    }
    row.in_height = 1u;
    row.in_width = (uint16_t)layer->pixels;
    row.in_channels = (uint16_t)layer->channels;
    row.kernel_height = row.in_height;
    row.kernel_width = row.in_width;
    (void)gather_window(&row, input, 0, 0, 0u, scratch);
    return scratch;
}

void picobnn_xnor_dense_bits(const picobnn_xnor_dense_layer *layer, const uint32_t *input,
                             uint32_t *output, uint32_t *scratch)
{
    const picobnn_xnor_filters *filters = &layer->filters;
    const patch x = {dense_bits(layer, input, scratch), filters->words, 1u};

    run_filters_to_bits(filters, &x, output, 1u);
}

void picobnn_xnor_dense_scale(const picobnn_xnor_dense_layer *layer, const uint32_t *input,
                              int32_t *output, uint32_t *scratch)
{
    const picobnn_xnor_filters *filters = &layer->filters;
    const patch x = {dense_bits(layer, input, scratch), filters->words, 1u};

    run_filters_to_sums(filters, &x, output);
    picobnn_scale_sums(output, filters->multipliers, filters->biases, filters->count);
}
