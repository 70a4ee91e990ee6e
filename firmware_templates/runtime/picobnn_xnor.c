/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels. Contracts stand in the header.
 *
 * No Cortex-M has a popcount instruction: nine words at a time go through carry-save adders and
 * nibble sums. Full adders (5 operations) turn three words into a sum and a carry word, so that
 * nine words cost three adders and two counts of three words each.
 */
#include "picobnn_xnor.h"

#if defined(__GNUC__) && defined(__arm__)
/* Keeps a constant in a register: GCC would rather split `x & (y >> 1)` into two instructions. */
#define KEEP_IN_REGISTER(value) __asm__("" : "+r"(value))
/* Keeps loads behind this point, so that nine words never need nine registers at once. */
#define FENCE() __asm__ volatile("" : : : "memory")
#else
#define KEEP_IN_REGISTER(value) ((void)(value))
#define FENCE() ((void)0)
#endif

typedef struct {
    uint32_t m5, m3, mf; /* every second bit, two of four, four of eight */
} masks;

/* Two running counts in 16-bit halves, or one count where USADA8 exists; see total(). */
PICOBNN_INLINE uint32_t add_bytes(uint32_t count, uint32_t bytes)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP)
    uint32_t result;

    __asm__("usada8 %0, %1, %2, %3" : "=r"(result) : "r"(bytes), "r"(0u), "r"(count));
    return result;
#else
    return count + (bytes & 0x00FF00FFu) + ((bytes >> 8) & 0x00FF00FFu);
#endif
}

PICOBNN_INLINE uint32_t total(uint32_t count)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP)
    return count;
#else
    return (count & 0xFFFFu) + (count >> 16);
#endif
}

/* sum and carry of three words, bit by bit. */
PICOBNN_INLINE void full_adder(uint32_t *sum, uint32_t *carry, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t half = a ^ b;

    *carry = (a & b) | (half & c);
    *sum = half ^ c;
}

/* Number of ones of three words, per byte (0 to 24). */
PICOBNN_INLINE uint32_t count_three(uint32_t a, uint32_t b, uint32_t c, masks m)
{
    /* Bits of c fill the pairs of a and b up: at most 3 per pair. */
    uint32_t even = a - (m.m5 & (a >> 1)) + (c & m.m5);
    uint32_t odd = b - (m.m5 & (b >> 1)) + (m.m5 & (c >> 1));

    even = (even & m.m3) + (m.m3 & (even >> 2));
    odd = (odd & m.m3) + (m.m3 & (odd >> 2));
    even += odd;
    return (even & m.mf) + (m.mf & (even >> 4));
}

/* The largest multiple of 9 up to words; a loop, as some cores have no divider. */
PICOBNN_INLINE uint32_t whole_nines(uint32_t words)
{
    uint32_t whole = 0u;

    while (words - whole >= 9u) {
        whole += 9u;
    }
    return whole;
}

/* Differing bits of the filter at *next and the patch x .. end, as a running count; moves *next
 * behind the filter. nines_end is x plus a multiple of 9. */
PICOBNN_INLINE uint32_t count_mismatches(const uint32_t **next, const uint32_t *x,
                                         const uint32_t *nines_end, const uint32_t *end, masks m)
{
    const uint32_t *w = *next;
    uint32_t count = 0u;

    while (x != nines_end) {
        uint32_t s0, s1, s2, c0, c1, c2;

        FENCE();
        full_adder(&s0, &c0, w[0] ^ x[0], w[1] ^ x[1], w[2] ^ x[2]);
        FENCE();
        full_adder(&s1, &c1, w[3] ^ x[3], w[4] ^ x[4], w[5] ^ x[5]);
        FENCE();
        full_adder(&s2, &c2, w[6] ^ x[6], w[7] ^ x[7], w[8] ^ x[8]);
        FENCE();
        w += 9;
        x += 9;
        count = add_bytes(count, count_three(s0, s1, s2, m) + 2u * count_three(c0, c1, c2, m));
    }
    while (x != end) {
        const uint32_t a = *w++ ^ *x++;
        uint32_t b = 0u, c = 0u;

        if (x != end) {
            b = *w++ ^ *x++;
        }
        if (x != end) {
            c = *w++ ^ *x++;
        }
        count = add_bytes(count, count_three(a, b, c, m));
    }
    *next = w;
    return count;
}

PICOBNN_INLINE masks make_masks(void)
{
    masks m = {0x55555555u, 0x33333333u, 0x0F0F0F0Fu};

    KEEP_IN_REGISTER(m.m5);
    KEEP_IN_REGISTER(m.m3);
    KEEP_IN_REGISTER(m.mf);
    return m;
}

/* Differing bits of one filter and one patch, where a call does not matter. */
static PICOBNN_NOINLINE uint32_t mismatches_of(const uint32_t *w, const uint32_t *x, uint32_t words)
{
    const uint32_t *nines_end = x + whole_nines(words);

    return total(count_mismatches(&w, x, nines_end, x + words, make_masks()));
}

/* The hot loop. Compares `lanes` (1 to 32) filters with one patch: bit 32 - lanes + i of the result
 * is 2 * mismatches < limits[i], the bits below are 0. */
static PICOBNN_NOINLINE uint32_t compare_filters(const uint32_t *w, const uint32_t *bits,
                                                 uint32_t words, const uint16_t *limits,
                                                 uint32_t lanes)
{
    const masks m = make_masks();
    const uint32_t *nines_end = bits + whole_nines(words);
    const uint32_t *end = bits + words;
    /* A mark at bit lanes - 1 comes down as results come in from the top: it counts the lanes. */
    uint32_t result = 1u << (lanes - 1u);
    uint32_t is_last;

    do {
        const uint32_t mismatches = total(count_mismatches(&w, bits, nines_end, end, m));

        is_last = result & 1u;
        result = picobnn_shift_in_sign(result, 2u * mismatches - *limits++);
    } while (!is_last);
    return result;
}

/* The same with zero padding: `bits` is followed by the same patch with set bits in the padding. */
static PICOBNN_NOINLINE uint32_t compare_filters_at_border(const uint32_t *w, const uint32_t *bits,
                                                           uint32_t words, const uint16_t *limits,
                                                           uint32_t lanes)
{
    uint32_t result = 0u;

    for (uint32_t lane = 0u; lane < lanes; ++lane) {
        const uint32_t mismatches =
            mismatches_of(w, bits, words) + mismatches_of(w, bits + words, words);

        w += words;
        result = picobnn_shift_in_sign(result, mismatches - *limits++);
    }
    return result;
}

/* All filters on one patch to the words of a pixel. `patches` is 1, or 2 in zero padding: then the
 * patch stands twice, with clear and with set bits in the padding, whose contributions cancel:
 * acc = taps - mismatches(first) - mismatches(second). */
static void run_filters_to_bits(const picobnn_xnor_filters *filters, const uint32_t *bits,
                                uint32_t patches, uint32_t *pixel, uint32_t is_first)
{
    const uint32_t words = filters->words;

    for (uint32_t first = 0u; first < filters->count; first += 32u) {
        const uint32_t left = filters->count - first;
        const uint32_t lanes = left < 32u ? left : 32u;
        const uint32_t *w = filters->weights + first * words;
        const uint16_t *limits = filters->limits + first;
        uint32_t word = patches == 1u ? compare_filters(w, bits, words, limits, lanes)
                                      : compare_filters_at_border(w, bits, words, limits, lanes);

        word >>= 32u - lanes;
        if (filters->flips != NULL) {
            word ^= filters->flips[first / 32u];
        }
        picobnn_merge_bits(pixel++, word, is_first);
    }
}

/* The same to accumulators. */
static void run_filters_to_sums(const picobnn_xnor_filters *filters, const uint32_t *bits,
                                uint32_t patches, int32_t *pixel)
{
    const uint32_t words = filters->words;
    const uint32_t *w = filters->weights;

    for (uint32_t left = filters->count; left != 0u; --left) {
        uint32_t mismatches = mismatches_of(w, bits, words);

        mismatches += patches == 1u ? mismatches : mismatches_of(w, bits + words, words);
        w += words;
        *pixel++ = (int32_t)(filters->taps - mismatches);
    }
}

/* Appends runs of bits without gaps. */
typedef struct {
    uint32_t *next;
    uint32_t word, fill; /* fill: bits used of word, 0 to 31 */
} bit_writer;

/* count is 1 to 32; the bits of value above count are 0. */
PICOBNN_INLINE void append_bits(bit_writer *writer, uint32_t value, uint32_t count)
{
    const uint32_t fill = writer->fill;

    writer->word |= value << fill;
    writer->fill += count;
    if (writer->fill >= 32u) {
        *writer->next++ = writer->word;
        writer->fill -= 32u;
        writer->word = (value >> 1) >> (31u - fill);
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

PICOBNN_INLINE uint32_t *end_bits(bit_writer *writer)
{
    if (writer->fill != 0u) {
        *writer->next++ = writer->word;
    }
    return writer->next;
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

/* The scratch of a convolution. */
typedef struct {
    uint32_t count;  /* patches that follow: 1 or 2 */
    uint32_t bits[]; /* count x words */
} patch_scratch;

PICOBNN_INLINE void gather(const void *context, const void *input, int32_t top, int32_t left,
                           void *scratch)
{
    const picobnn_xnor_conv2d_layer *layer = (const picobnn_xnor_conv2d_layer *)context;
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t *map = (const uint32_t *)input;
    patch_scratch *patch = (patch_scratch *)scratch;
    uint32_t *end = gather_window(shape, map, top, left, 0u, patch->bits);

    patch->count = 1u;
    if (layer->pad_is_zero &&
        (top < 0 || left < 0 || top + shape->kernel_height > shape->in_height ||
         left + shape->kernel_width > shape->in_width)) {
        patch->count = 2u;
        (void)gather_window(shape, map, top, left, 0xFFFFFFFFu, end);
    }
}

PICOBNN_INLINE void bits_of_patch(const void *context, const void *scratch, uint32_t *pixel,
                                  uint32_t is_first)
{
    const picobnn_xnor_conv2d_layer *layer = (const picobnn_xnor_conv2d_layer *)context;
    const patch_scratch *patch = (const patch_scratch *)scratch;

    run_filters_to_bits(&layer->filters, patch->bits, patch->count, pixel, is_first);
}

PICOBNN_INLINE void sums_of_patch(const void *context, const void *scratch, uint32_t *pixel,
                                  uint32_t is_first)
{
    const picobnn_xnor_conv2d_layer *layer = (const picobnn_xnor_conv2d_layer *)context;
    const patch_scratch *patch = (const patch_scratch *)scratch;

    (void)is_first; /* there is no pool before a scale */
    run_filters_to_sums(&layer->filters, patch->bits, patch->count, (int32_t *)pixel);
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

void picobnn_xnor_conv2d_bits(const picobnn_xnor_conv2d_layer *layer, const uint32_t *input,
                              uint32_t *output, uint32_t *scratch)
{
    picobnn_conv2d_walk(&layer->shape, layer, input, output, (layer->filters.count + 31u) / 32u,
                        scratch, gather, bits_of_patch, finish_bits);
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
    const uint32_t channels = layer->channels;
    bit_writer writer = {scratch, 0u, 0u};

    if (layer->pixels == 1u || channels % 32u == 0u) {
        return input;
    }
    for (uint32_t pixel = layer->pixels; pixel != 0u; --pixel) {
        append_pixel(&writer, input, 0u, channels);
        input += (channels + 31u) / 32u;
    }
    (void)end_bits(&writer);
    return scratch;
}

void picobnn_xnor_dense_bits(const picobnn_xnor_dense_layer *layer, const uint32_t *input,
                             uint32_t *output, uint32_t *scratch)
{
    run_filters_to_bits(&layer->filters, dense_bits(layer, input, scratch), 1u, output, 1u);
}

void picobnn_xnor_dense_scale(const picobnn_xnor_dense_layer *layer, const uint32_t *input,
                              int32_t *output, uint32_t *scratch)
{
    const picobnn_xnor_filters *filters = &layer->filters;

    run_filters_to_sums(filters, dense_bits(layer, input, scratch), 1u, output);
    picobnn_scale_sums(output, filters->multipliers, filters->biases, filters->count);
}
