/* SPDX-License-Identifier: MIT-0
 * picobnn subset kernel. Contracts and the idea stand in the header.
 *
 * A "pair" is two neighbouring columns of the accumulator map, one per 16-bit lane; a step of the
 * walk computes all filters on a pair in two map rows. The filters write their compares in blocks
 * of 16, because a lane has 16 bits.
 */
#include "picobnn_subset.h"
#include "picobnn_subset_cores.h"

#define BLOCK 16u

/* What becomes of the four compares of a filter. */
typedef enum { PLAIN, POOLED, HALVED } ending;

/* Signed sums of the patterns of two taps. */
typedef struct {
    uint32_t none, first, second, both;
} quad;

PICOBNN_INLINE void add_and_write(quad *sums, uint32_t change, uint32_t *table)
{
    sums->none += change;
    sums->first += change;
    sums->second += change;
    sums->both += change;
    table[0] = sums->none;
    table[1] = sums->first;
    table[2] = sums->second;
    table[3] = sums->both;
}

/* One tap in both lanes, doubled: what changes when its weight goes from -1 to +1. */
PICOBNN_INLINE uint32_t twice(const uint8_t *left, const uint8_t *right)
{
    return 2u * ((uint32_t)*left | (uint32_t)*right << 16);
}

/* The signed sums of the patterns of `count` (1 to 5) taps; at least 8 entries are written. Quads
 * follow a Gray code, so that each is one addition away from the one before. */
static PICOBNN_NOINLINE void write_group(uint32_t *table, const uint8_t *left, const uint8_t *right,
                                         uint32_t count)
{
    uint32_t a, b = 0u, c = 0u, d = 0u, e = 0u;
    quad sums;

    switch (count) {
    case 5u:
        e = twice(left + 4, right + 4);
        /* fall through */
    case 4u:
        d = twice(left + 3, right + 3);
        /* fall through */
    case 3u:
        c = twice(left + 2, right + 2);
        /* fall through */
    case 2u:
        b = twice(left + 1, right + 1);
        /* fall through */
    default:
        a = twice(left, right);
    }
    /* Bit 0 of the sum is 0, and halving it as one word undoes the doubling of both lanes. */
    sums.none = 0u - (a + b + c + d + e) / 2u;
    sums.first = sums.none + a;
    sums.second = sums.none + b;
    sums.both = sums.first + b;
    add_and_write(&sums, 0u, table);
    add_and_write(&sums, c, table + 4);
    if (count <= 3u) {
        return;
    }
    add_and_write(&sums, d, table + 12);
    add_and_write(&sums, 0u - c, table + 8);
    if (count == 4u) {
        return;
    }
    add_and_write(&sums, e, table + 24);
    add_and_write(&sums, c, table + 28);
    add_and_write(&sums, 0u - d, table + 20);
    add_and_write(&sums, 0u - c, table + 16);
}

/* The tables of one image row; `lane` is the distance of the two positions in bytes. */
PICOBNN_INLINE void write_row(uint32_t *table, const uint8_t *bytes, uint32_t lane, uint32_t taps,
                              uint32_t is_wide)
{
    if (is_wide) {
        write_group(table, bytes, bytes + lane, taps - 5u);
        write_group(table + 16, bytes + taps - 5u, bytes + lane + taps - 5u, 5u);
        return;
    }
    for (; taps > 5u; taps -= 5u) {
        write_group(table, bytes, bytes + lane, 5u);
        table += 32;
        bytes += 5;
    }
    write_group(table, bytes, bytes + lane, taps);
}

/* Where the two windows of a pair lie in an image row. */
typedef struct {
    int32_t left;      /* first column, negative in the padding */
    int32_t columns;   /* of both windows together */
    uint32_t is_whole; /* no column is in the padding */
} pair_span;

/* `count` bytes `value`. Not for long runs. */
PICOBNN_INLINE uint8_t *fill_bytes(uint8_t *to, uint32_t value, int32_t count)
{
    for (; count > 0; --count) {
        *to++ = (uint8_t)value;
        PICOBNN_SUBSET_KEEP_LOOP();
    }
    return to;
}

/* The bytes under both windows, padding filled with the zero point. */
static PICOBNN_NOINLINE void stage_row(const picobnn_subset_conv2d_layer *layer,
                                       const uint8_t *image, int32_t y, const pair_span *span,
                                       uint8_t *stage)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const int32_t channels = shape->in_channels;
    const picobnn_span inside = picobnn_clip(span->left, span->columns, shape->in_width);

    if (y < 0 || y >= shape->in_height || inside.begin >= inside.end) {
        (void)fill_bytes(stage, layer->zero_point, span->columns * channels);
        return;
    }
    image += (y * shape->in_width + inside.begin) * channels;
    stage = fill_bytes(stage, layer->zero_point, (inside.begin - span->left) * channels);
    for (int32_t n = (inside.end - inside.begin) * channels; n != 0; --n) {
        *stage++ = *image++;
        PICOBNN_SUBSET_KEEP_LOOP();
    }
    (void)fill_bytes(stage, layer->zero_point,
                     (span->left + span->columns - inside.end) * channels);
}

/* The scratch of a convolution. */
typedef struct {
    uint32_t *rows;   /* where the tables of each image row begin, in words from `tables` */
    uint32_t *bits;   /* compares of the blocks: two lanes in two map rows, or one if HALVED */
    uint8_t *stage;   /* bytes under the windows of a pair at the border */
    uint32_t *tables; /* of all rows */
} work_area;

/* Bits 15 and 31 of two lane sums, shifted into the compares. */
PICOBNN_INLINE uint32_t shift_in_lanes(uint32_t bits, uint32_t sums)
{
    return (bits >> 1) | (sums & 0x80008000u);
}

/* The compares of one filter in two map rows. */
PICOBNN_INLINE void take_compares(uint32_t first, uint32_t second, uint32_t *upper, uint32_t *lower,
                                  ending end)
{
    if (end == HALVED) {
        *upper = shift_in_lanes(*upper, first | second);
    } else {
        *upper = shift_in_lanes(*upper, first);
        *lower = shift_in_lanes(*lower, second);
    }
}

/* Ends a block of `count` filters. */
PICOBNN_INLINE uint32_t *write_compares(uint32_t *bits, uint32_t upper, uint32_t lower,
                                        uint32_t count, ending end)
{
    *bits++ = upper >> (BLOCK - count);
    if (end != HALVED) {
        *bits++ = lower >> (BLOCK - count);
    }
    return bits;
}

/* Filters of any window. */
PICOBNN_INLINE void run_any(const picobnn_subset_conv2d_layer *layer, const work_area *work,
                            ending end)
{
    const uint32_t kernel_height = layer->shape.kernel_height;
    const uint32_t *next = layer->filters;
    uint32_t *bits = work->bits;

    for (uint32_t left = layer->count; left != 0u;) {
        const uint32_t count = left < BLOCK ? left : BLOCK;
        uint32_t upper = 0u, lower = 0u;

        for (uint32_t filter = count; filter != 0u; --filter) {
            const uint32_t *row = work->rows;
            uint32_t first = next[layer->index_words], second = first;
            uint32_t indices = *next++, fields = 6u;

            for (uint32_t ky = kernel_height; ky != 0u; --ky) {
                const uint32_t *one = work->tables + row[0];
                const uint32_t *other = work->tables + row[layer->shape.stride_y];

                ++row;
                for (uint32_t group = (layer->taps + 4u) / 5u; group != 0u; --group) {
                    if (fields == 0u) {
                        indices = *next++;
                        fields = 6u;
                    }
                    first += one[indices & 31u];
                    second += other[indices & 31u];
                    indices >>= 5;
                    --fields;
                    one += 32;
                    other += 32;
                }
            }
            ++next;
            take_compares(first, second, &upper, &lower, end);
        }
        bits = write_compares(bits, upper, lower, count, end);
        left -= count;
    }
}

#if !PICOBNN_SUBSET_V7M
/* The entries of a field for both map rows. */
PICOBNN_INLINE void add_field(uint32_t *first, uint32_t *second, const uint32_t *one,
                              const uint32_t *other, uint32_t field)
{
    *first += one[field];
    *second += other[field];
}

/* Filters with three kernel rows. */
PICOBNN_INLINE void run_three_rows(const uint32_t *tables, const uint32_t *rows,
                                   const uint32_t *filters, uint32_t count, uint32_t *bits,
                                   uint32_t is_wide, ending end)
{
    const uint32_t *a = tables + rows[0], *b = tables + rows[1];
    const uint32_t *c = tables + rows[2], *d = tables + rows[3];

    while (count != 0u) {
        const uint32_t block = count < BLOCK ? count : BLOCK;
        uint32_t upper = 0u, lower = 0u;

        for (uint32_t filter = block; filter != 0u; --filter) {
            const uint32_t indices = filters[0];
            uint32_t first = filters[1], second = filters[1];

            filters += 2;
            if (is_wide) {
                add_field(&first, &second, a, b, indices & 15u);
                add_field(&first, &second, a, b, (indices >> 4) & 63u);
                add_field(&first, &second, b, c, (indices >> 10) & 15u);
                add_field(&first, &second, b, c, (indices >> 14) & 63u);
                add_field(&first, &second, c, d, (indices >> 20) & 15u);
                add_field(&first, &second, c, d, indices >> 24);
            } else {
                add_field(&first, &second, a, b, indices & 31u);
                add_field(&first, &second, b, c, (indices >> 5) & 31u);
                add_field(&first, &second, c, d, indices >> 10);
            }
            take_compares(first, second, &upper, &lower, end);
        }
        bits = write_compares(bits, upper, lower, block, end);
        count -= block;
    }
}

void picobnn_subset_thin(const uint32_t *tables, const uint32_t *rows, const uint32_t *filters,
                         uint32_t count, uint32_t *bits)
{
    run_three_rows(tables, rows, filters, count, bits, 0u, PLAIN);
}

void picobnn_subset_thin_halved(const uint32_t *tables, const uint32_t *rows,
                                const uint32_t *filters, uint32_t count, uint32_t *bits)
{
    run_three_rows(tables, rows, filters, count, bits, 0u, HALVED);
}

void picobnn_subset_wide(const uint32_t *tables, const uint32_t *rows, const uint32_t *filters,
                         uint32_t count, uint32_t *bits)
{
    run_three_rows(tables, rows, filters, count, bits, 1u, PLAIN);
}

void picobnn_subset_wide_halved(const uint32_t *tables, const uint32_t *rows,
                                const uint32_t *filters, uint32_t count, uint32_t *bits)
{
    run_three_rows(tables, rows, filters, count, bits, 1u, HALVED);
}
#endif

/* Which windows a function serves. */
typedef enum { ANY, THIN, WIDE } window_kind;

PICOBNN_INLINE void run_filters(const picobnn_subset_conv2d_layer *layer, const work_area *work,
                                window_kind kind, ending end)
{
    const uint32_t even = (layer->count + 1u) & ~1u;

    if (kind == ANY) {
        run_any(layer, work, end);
    } else if (kind == THIN && end == HALVED) {
        picobnn_subset_thin_halved(work->tables, work->rows, layer->filters, even, work->bits);
    } else if (kind == THIN) {
        picobnn_subset_thin(work->tables, work->rows, layer->filters, even, work->bits);
    } else if (end == HALVED) {
        picobnn_subset_wide_halved(work->tables, work->rows, layer->filters, even, work->bits);
    } else {
        picobnn_subset_wide(work->tables, work->rows, layer->filters, even, work->bits);
    }
}

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

/* Outputs whose pool window holds a position of the map. */
PICOBNN_INLINE picobnn_span pool_outputs(int32_t position, int32_t pad, int32_t size,
                                         int32_t stride, int32_t outputs)
{
    const int32_t behind = position + pad - size; /* the first output begins behind this */
    picobnn_span span;

    span.begin = behind < 0 ? 0 : behind / stride + 1;
    span.end = (position + pad) / stride + 1;
    span.end = span.end > outputs ? outputs : span.end;
    return span;
}

/* POOLED: one position of the map into every output whose pool window holds it. */
static PICOBNN_NOINLINE void merge_position(const picobnn_conv2d_shape *shape, const uint32_t *bits,
                                            uint32_t words, int32_t y, int32_t x, uint32_t is_right,
                                            uint32_t *output)
{
    const picobnn_span rows = pool_outputs(y, shape->pool_pad_top, shape->pool_height,
                                           shape->pool_stride_y, shape->out_height);
    const picobnn_span columns = pool_outputs(x, shape->pool_pad_left, shape->pool_width,
                                              shape->pool_stride_x, shape->out_width);

    for (int32_t out_y = rows.begin; out_y < rows.end; ++out_y) {
        for (int32_t out_x = columns.begin; out_x < columns.end; ++out_x) {
            uint32_t *pixel = output + (uint32_t)(out_y * shape->out_width + out_x) * words;
            const uint32_t *next = bits;

            for (uint32_t i = words; i != 0u; --i) {
                *pixel++ |= is_right ? high_lanes(next[0], next[2]) : low_lanes(next[0], next[2]);
                next += 4;
            }
        }
    }
}

/* Everything behind the compares of a step. */
PICOBNN_INLINE void end_step(const picobnn_subset_conv2d_layer *layer, const uint32_t *bits,
                             uint32_t words, int32_t y, int32_t x, uint32_t *output, ending end)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t has_right = x + 1 < shape->map_width;
    const uint32_t has_lower = y + 1 < shape->map_height;

    if (end == PLAIN) {
        const uint32_t down = shape->map_width * words;

        store_pixels(bits, words, output + (uint32_t)y * down + (uint32_t)x * words, down,
                     has_right, has_lower);
    } else if (end == HALVED) {
        const int32_t pixel = (y / 2) * shape->out_width + x / 2;

        store_halved(bits, words, output + (uint32_t)pixel * words);
    } else {
        for (uint32_t lower = 0u; lower <= has_lower; ++lower) {
            for (uint32_t right = 0u; right <= has_right; ++right) {
                merge_position(shape, bits + lower, words, y + (int32_t)lower, x + (int32_t)right,
                               right, output);
            }
        }
    }
}

/* Moves the first `count` of `slots` to their end. */
PICOBNN_INLINE void rotate(uint32_t *rows, uint32_t slots, uint32_t count)
{
    for (; count != 0u; --count) {
        const uint32_t first = rows[0];

        for (uint32_t i = 1u; i < slots; ++i) {
            rows[i - 1u] = rows[i];
            PICOBNN_SUBSET_KEEP_LOOP();
        }
        rows[slots - 1u] = first;
    }
}

/* Tables of the last `fresh` of the rows that a step needs; the first row is `top`. */
PICOBNN_INLINE void write_rows(const picobnn_subset_conv2d_layer *layer, const uint8_t *image,
                               int32_t top, const pair_span *span, const work_area *work,
                               uint32_t slots, uint32_t fresh, uint32_t is_wide)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t lane = (uint32_t)shape->stride_x * shape->in_channels;
    const int32_t row_bytes = shape->in_width * shape->in_channels;

    for (uint32_t slot = slots - fresh; slot < slots; ++slot) {
        const int32_t y = top + (int32_t)slot;
        const uint8_t *bytes = work->stage;

        if (span->is_whole && y >= 0 && y < shape->in_height) {
            bytes = image + y * row_bytes + span->left * shape->in_channels;
        } else {
            stage_row(layer, image, y, span, work->stage);
        }
        write_row(work->tables + work->rows[slot], bytes, lane, layer->taps, is_wide);
    }
}

/* Two columns of the map from top to bottom. */
PICOBNN_INLINE void run_pair(const picobnn_subset_conv2d_layer *layer, const uint8_t *image,
                             int32_t x, uint32_t *output, const work_area *work, window_kind kind,
                             ending end)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t stride_y = kind == ANY ? shape->stride_y : 1u;
    const uint32_t slots = (kind == ANY ? shape->kernel_height : 3u) + stride_y;
    const int32_t height = end == HALVED ? 2 * shape->out_height : shape->map_height;
    const uint32_t words = (layer->count + 31u) / 32u;
    int32_t top = -(int32_t)shape->pad_top;
    uint32_t fresh = slots;
    pair_span span;

    span.left = x * shape->stride_x - shape->pad_left;
    span.columns = shape->kernel_width + shape->stride_x;
    span.is_whole = span.left >= 0 && span.left + span.columns <= shape->in_width;
    for (int32_t y = 0; y < height; y += 2) {
        write_rows(layer, image, top, &span, work, slots, fresh, kind == WIDE);
        run_filters(layer, work, kind, end);
        end_step(layer, work->bits, words, y, x, output, end);
        top += 2 * (int32_t)stride_y;
        fresh = 2u * stride_y < slots ? 2u * stride_y : slots;
        rotate(work->rows, slots, fresh < slots ? fresh : 0u);
    }
}

PICOBNN_INLINE void fill_words(uint32_t *words, uint32_t value, uint32_t count)
{
    for (; count != 0u; --count) {
        *words++ = value;
        PICOBNN_SUBSET_KEEP_LOOP();
    }
}

PICOBNN_INLINE void run_layer(const picobnn_subset_conv2d_layer *layer, const uint8_t *image,
                              uint32_t *output, uint32_t *scratch, window_kind kind, ending end)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t slots = (uint32_t)shape->kernel_height + shape->stride_y;
    const uint32_t words = (layer->count + 31u) / 32u;
    const uint32_t pixels = (uint32_t)shape->out_height * shape->out_width;
    const int32_t width = end == HALVED ? 2 * shape->out_width : shape->map_width;
    const uint32_t columns = (uint32_t)shape->kernel_width + shape->stride_x;
    work_area work;

    work.rows = scratch;
    work.bits = work.rows + slots;
    work.stage = (uint8_t *)(work.bits + 4u * words);
    work.tables = work.bits + 4u * words + (columns * shape->in_channels + 3u) / 4u;
    for (uint32_t slot = 0u; slot < slots; ++slot) {
        work.rows[slot] = slot * layer->row_words;
    }
    fill_words(work.bits, 0u, 4u * words); /* a last block that no filter is in stays 0 */
    if (end == POOLED) {
        fill_words(output, 0u, pixels * words);
    }
    for (int32_t x = 0; x < width; x += 2) {
        run_pair(layer, image, x, output, &work, kind, end);
    }
    if (layer->flips != NULL) {
        for (uint32_t pixel = 0u; pixel < pixels; ++pixel) {
            picobnn_flip_words(output + pixel * words, layer->flips, words);
        }
    }
}

#define DEFINE_CONV2D(name, kind, end)                                                             \
    void name(const picobnn_subset_conv2d_layer *layer, const uint8_t *input, uint32_t *output,    \
              uint32_t *scratch)                                                                   \
    {                                                                                              \
        run_layer(layer, input, output, scratch, kind, end);                                       \
    }

DEFINE_CONV2D(picobnn_subset_conv2d_any, ANY, PLAIN)
DEFINE_CONV2D(picobnn_subset_conv2d_any_pooled, ANY, POOLED)
DEFINE_CONV2D(picobnn_subset_conv2d_any_halved, ANY, HALVED)
DEFINE_CONV2D(picobnn_subset_conv2d_thin, THIN, PLAIN)
DEFINE_CONV2D(picobnn_subset_conv2d_thin_pooled, THIN, POOLED)
DEFINE_CONV2D(picobnn_subset_conv2d_thin_halved, THIN, HALVED)
DEFINE_CONV2D(picobnn_subset_conv2d_wide, WIDE, PLAIN)
DEFINE_CONV2D(picobnn_subset_conv2d_wide_pooled, WIDE, POOLED)
DEFINE_CONV2D(picobnn_subset_conv2d_wide_halved, WIDE, HALVED)
