/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels. Contracts stand in the header.
 *
 * A patch is gathered once per position; then every filter is one run of words beside it
 * (picobnn_xnor_compare.c).
 */
#include "picobnn_xnor.h"

#include "picobnn_xnor_bits.h"
#include "picobnn_xnor_patch.h"

/* All filters on one patch to the words of a pixel. */
static void run_filters_to_bits(const picobnn_xnor_filters *filters, const patch *x,
                                uint32_t *pixel, uint32_t is_first)
{
    picobnn_xnor_compare *compare =
        x->patches == 1u ? filters->compare : picobnn_xnor_compare_at_border;
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

/* A 1x1 window that visits every pixel once: the map is its own patch. The generator refuses wider
 * strides that padding below or to the right gives these sizes. */
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
