/* SPDX-License-Identifier: MIT-0
 * picobnn subset kernel. Contracts and the idea stand in the header.
 *
 * A "pair" is two neighbouring columns of the accumulator map, one per 16-bit lane; a step of the
 * walk computes all filters on a pair in two map rows.
 */
#include "picobnn_subset_cores.h"
#include "picobnn_subset_pixels.h"

/* Which windows a function serves. */
typedef enum { ANY, THIN, WIDE } window_kind;

/* What becomes of the four compares of a filter. */
typedef enum { PLAIN, POOLED, HALVED } ending;

/* `count` bytes `value`. Not for long runs. */
PICOBNN_INLINE uint8_t *fill_bytes(uint8_t *to, uint32_t value, int32_t count)
{
    for (; count > 0; --count) {
        *to++ = (uint8_t)value;
        PICOBNN_SUBSET_KEEP_LOOP();
    }
    return to;
}

/* The bytes of image row `y` under both windows of a pair, which begin at column `left`; padding is
 * filled with the zero point. */
static PICOBNN_NOINLINE void stage_row(const picobnn_subset_conv2d_layer *layer,
                                       const uint8_t *image, int32_t y, int32_t left,
                                       uint8_t *stage)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const int32_t channels = shape->in_channels;
    const int32_t columns = shape->kernel_width + shape->stride_x;
    const picobnn_span inside = picobnn_clip(left, columns, shape->in_width);

    if (y < 0 || y >= shape->in_height || inside.begin >= inside.end) {
        (void)fill_bytes(stage, layer->zero_point, columns * channels);
        return;
    }
    image += (y * shape->in_width + inside.begin) * channels;
    stage = fill_bytes(stage, layer->zero_point, (inside.begin - left) * channels);
    for (int32_t n = (inside.end - inside.begin) * channels; n != 0; --n) {
        *stage++ = *image++;
        PICOBNN_SUBSET_KEEP_LOOP();
    }
    (void)fill_bytes(stage, layer->zero_point, (left + columns - inside.end) * channels);
}

/* The scratch of a convolution. */
typedef struct {
    uint32_t *rows;   /* where the tables of each image row begin, in words from `tables` */
    uint32_t *bits;   /* compares of the blocks: two lanes in two map rows, or one if HALVED */
    uint8_t *stage;   /* bytes under the windows of a pair at the border */
    uint32_t *tables; /* of all rows; ANY: and a 0 */
    uint32_t *places; /* ANY: of the tables of every field */
} work_area;

/* Where each field finds its table, in words from `tables`: for the upper map row, then for the
 * lower one. Fields that only fill the last word find the 0 behind the tables. */
PICOBNN_INLINE void write_places(const picobnn_subset_conv2d_layer *layer, const work_area *work,
                                 uint32_t slots)
{
    const uint32_t *row = work->rows;
    uint32_t *place = work->places;
    uint32_t *const end = place + 2u * PICOBNN_SUBSET_FIELDS * layer->index_words;

    for (uint32_t ky = layer->shape.kernel_height; ky != 0u; --ky) {
        uint32_t upper = row[0], lower = row[layer->shape.stride_y];

        ++row;
        for (uint32_t group = layer->groups; group != 0u; --group) {
            *place++ = upper;
            *place++ = lower;
            upper += 32u;
            lower += 32u;
        }
    }
    while (place != end) {
        *place++ = slots * layer->row_words;
    }
}

PICOBNN_INLINE void run_filters(const picobnn_subset_conv2d_layer *layer, const work_area *work,
                                window_kind kind, ending end)
{
    const uint32_t even = (layer->count + 1u) & ~1u;

    if (kind == ANY && end == HALVED) {
        picobnn_subset_any_halved(layer, work->tables, work->places, work->bits);
    } else if (kind == ANY) {
        picobnn_subset_any(layer, work->tables, work->places, work->bits);
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

/* Two columns of the map, from `x`, top to bottom. POOLED: `left` and `right` are the outputs that
 * they belong to. */
PICOBNN_INLINE void run_pair(const picobnn_subset_conv2d_layer *layer, const uint8_t *image,
                             int32_t x, picobnn_span left, picobnn_span right, uint32_t *output,
                             const work_area *work, window_kind kind, ending end)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t words = (layer->count + 31u) / 32u;
    const uint32_t down = words * (end == HALVED ? shape->out_width : shape->map_width);
    const int32_t height = end == HALVED ? 2 * shape->out_height : shape->map_height;
    const uint32_t stride_y = kind == ANY ? shape->stride_y : 1u;
    const uint32_t slots = (kind == ANY ? shape->kernel_height : 3u) + stride_y;
    const uint32_t kept = 2u * stride_y < slots ? slots - 2u * stride_y : 0u;
    const int32_t skipped = (int32_t)(kept + 2u * stride_y - slots); /* rows that no step reads */
    const int32_t channels = shape->in_channels, row_bytes = shape->in_width * channels;
    const uint32_t lane = (uint32_t)(shape->stride_x * channels);
    const int32_t column = x * shape->stride_x - shape->pad_left;
    const uint32_t is_whole =
        column >= 0 && column + shape->kernel_width + shape->stride_x <= shape->in_width;
    const uint32_t has_right = x + 1 < shape->map_width;
    int32_t next = -(int32_t)shape->pad_top;               /* image row */
    int32_t offset = next * row_bytes + column * channels; /* of its bytes, if it exists */
    uint32_t *pixel = output + (uint32_t)(end == HALVED ? x / 2 : x) * words;
    picobnn_span rows = {0, 0};

    for (uint32_t slot = 0u, y = 0u; (int32_t)y < height; y += 2u) {
        for (; slot < slots; ++slot) {
            const uint8_t *bytes = work->stage;

            if (is_whole && next >= 0 && next < shape->in_height) {
                bytes = image + offset;
            } else {
                stage_row(layer, image, next, column, work->stage);
            }
            if (kind == WIDE) {
                picobnn_subset_tables_wide(work->tables + work->rows[slot], bytes, lane,
                                           layer->taps);
            } else if (kind == THIN) {
                picobnn_subset_tables_thin(work->tables + work->rows[slot], bytes, lane,
                                           layer->taps);
            } else {
                picobnn_subset_tables_any(work->tables + work->rows[slot], bytes, lane,
                                          layer->taps);
            }
            ++next;
            offset += row_bytes;
        }
        if (kind == ANY) {
            write_places(layer, work, slots);
        }
        run_filters(layer, work, kind, end);
        if (end == PLAIN) {
            store_pixels(work->bits, words, pixel, down, has_right, (int32_t)y + 1 < height);
            pixel += 2u * down;
        } else if (end == HALVED) {
            store_halved(work->bits, words, pixel);
            pixel += down;
        } else {
            rows = merge_positions(shape, work->bits, words, (int32_t)y, rows, left, right, output);
        }
        slot = kept;
        rotate(work->rows, slots, kept != 0u ? slots - kept : 0u);
        next += skipped;
        offset += skipped * row_bytes;
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
    picobnn_span left = {0, 0}, right = {0, 0};
    work_area work;

    work.rows = scratch;
    work.bits = work.rows + slots;
    work.stage = (uint8_t *)(work.bits + 4u * words);
    work.tables = work.bits + 4u * words + (columns * shape->in_channels + 3u) / 4u;
    work.places = work.tables + slots * layer->row_words;
    if (kind == ANY) {
        *work.places++ = 0u;
    }
    for (uint32_t slot = 0u; slot < slots; ++slot) {
        work.rows[slot] = slot * layer->row_words;
    }
    fill_words(work.bits, 0u, 4u * words); /* a last block that no filter is in stays 0 */
    if (end == POOLED) {
        fill_words(output, 0u, pixels * words);
    }
    for (int32_t x = 0; x < width; x += 2) {
        if (end == POOLED) {
            left = next_columns(right, shape, x);
            right = next_columns(left, shape, x + 1);
            right.end = x + 1 < width ? right.end : right.begin;
        }
        run_pair(layer, image, x, left, right, output, &work, kind, end);
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
