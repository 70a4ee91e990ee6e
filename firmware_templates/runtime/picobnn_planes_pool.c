/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel: max pools, the OR of the bits of a window. Contracts stand in
 * picobnn_planes_map.h.
 */
#include "picobnn_planes_map.h"

/* Bits `bit` to `bit + last` of a plane, last below 32; above them any bits. No other words are
 * read. */
PICOBNN_INLINE uint32_t read_row(const uint32_t *plane, uint32_t bit, uint32_t last)
{
    const uint32_t shift = bit & 31u;

    return plane[bit / 32u] >> shift | plane[(bit + last) / 32u] << 1 << (31u - shift);
}

/* A plane as it is read in order: the lower `count` of `bits`, fewer than 32 and clear above, come
 * before the word at `next`. */
typedef struct {
    const uint32_t *next;
    uint32_t bits, count;
} bit_reader;

/* The next `count` bits, 1 to 32; above them any bits. Reads no word before a bit of it is due. */
PICOBNN_INLINE uint32_t read_bits(bit_reader *reader, uint32_t count)
{
    uint32_t bits = reader->bits, rest = reader->count - count;

    if ((rest & 0x80000000u) != 0u) {
        const uint32_t word = *reader->next++;

        bits |= word << reader->count;
        rest += 32u;
        reader->bits = word >> 1 >> (31u - rest);
    } else {
        reader->bits = bits >> count;
    }
    reader->count = rest;
    return bits;
}

/* A plane as it is written in order: `count` bits, fewer than 32, belong into the word at `next`.
 * flips: all 0 or all 1. */
typedef struct {
    uint32_t *next;
    uint32_t bits, count, flips;
} bit_writer;

/* Writes `count` bits, 1 to 32; bits has none from there on. The word that they end in is written
 * too: behind them stand the flips, until the next bits or the end of the plane. */
PICOBNN_INLINE void write_bits(bit_writer *writer, uint32_t bits, uint32_t count)
{
    const uint32_t waiting = writer->count;

    writer->bits |= bits << waiting;
    writer->count = waiting + count;
    *writer->next = writer->bits ^ writer->flips;
    if (writer->count >= 32u) {
        ++writer->next;
        writer->bits = bits >> 1 >> (31u - waiting);
        writer->count -= 32u;
        if (writer->count != 0u) {
            *writer->next = writer->bits ^ writer->flips;
        }
    }
}

/* Whether windows of 2x2 with stride 2 lie inside the map, and its rows in 32 bits. */
PICOBNN_INLINE uint32_t halves_rows(const picobnn_conv2d_shape *shape)
{
    return shape->pool_height == 2u && shape->pool_width == 2u && shape->pool_stride_y == 2u &&
           shape->pool_stride_x == 2u && (shape->pool_pad_top | shape->pool_pad_left) == 0u &&
           shape->map_width <= 32u && 2u * shape->out_width <= shape->map_width &&
           2u * shape->out_height <= shape->map_height;
}

/* Such a pool; the last pixel of odd rows is left out. Up to a width of 16 a row and the one below
 * are one read. Cycles on Cortex-M4, modelled: 36 per row written, 11 per word of the map, 83 per
 * plane. */
static PICOBNN_NOINLINE void halve_rows(const picobnn_conv2d_shape *shape, const uint32_t *plane,
                                        uint32_t *output, uint32_t flips)
{
    const uint32_t width = shape->map_width, count = shape->out_width;
    const uint32_t mask = (1u << count) - 1u;
    bit_reader reader = {plane, 0u, 0u};
    bit_writer writer = {output, 0u, 0u, flips};

    for (uint32_t rows = shape->out_height; rows != 0u; --rows) {
        uint32_t bits;

        if (width <= 16u) {
            bits = read_bits(&reader, 2u * width);
            bits |= bits >> width;
        } else {
            bits = read_bits(&reader, width);
            bits |= read_bits(&reader, width);
        }
        write_bits(&writer, picobnn_planes_every_second(bits | bits >> 1) & mask, count);
    }
}

/* The OR of a pool window at output pixels of one row, from the map's column `left` on: only as
 * many as 32 columns cover are right. The map has some of those columns. */
static uint32_t pool_row(const picobnn_conv2d_shape *shape, const uint32_t *plane,
                         picobnn_span rows, int32_t left)
{
    const picobnn_span columns = picobnn_clip(left, 32, shape->map_width);
    const uint32_t last = (uint32_t)(columns.end - columns.begin) - 1u;
    uint32_t bit = (uint32_t)(rows.begin * shape->map_width + columns.begin);
    uint32_t bits = 0u, result;

    for (int32_t y = rows.begin; y < rows.end; ++y) {
        bits |= read_row(plane, bit, last);
        bit += shape->map_width;
    }
    bits = (bits & 0xFFFFFFFFu >> (31u - last)) << (columns.begin - left);
    result = bits;
    for (uint32_t px = 1u; px < shape->pool_width; ++px) {
        bits >>= 1;
        result |= bits;
    }
    return shape->pool_stride_x == 2u ? picobnn_planes_every_second(result) : result;
}

/* Output pixels of a row that 32 columns of the map cover. */
PICOBNN_INLINE uint32_t pooled_step(const picobnn_conv2d_shape *shape)
{
    return shape->pool_stride_x > 2u ? 1u : (32u - shape->pool_width) / shape->pool_stride_x + 1u;
}

static PICOBNN_NOINLINE void pool_plane(const picobnn_conv2d_shape *shape, const uint32_t *plane,
                                        uint32_t *output, uint32_t flips)
{
    const uint32_t step = pooled_step(shape);
    int32_t top = -(int32_t)shape->pool_pad_top;
    bit_writer writer = {output, 0u, 0u, flips};

    for (uint32_t y = shape->out_height; y != 0u; --y) {
        const picobnn_span rows = picobnn_clip(top, shape->pool_height, shape->map_height);
        int32_t left = -(int32_t)shape->pool_pad_left;
        uint32_t count;

        for (uint32_t rest = shape->out_width; rest != 0u; rest -= count) {
            const uint32_t bits = pool_row(shape, plane, rows, left);

            count = rest < step ? rest : step;
            write_bits(&writer, bits & 0xFFFFFFFFu >> (32u - count), count);
            left += (int32_t)(step * shape->pool_stride_x);
        }
        top += shape->pool_stride_y;
    }
}

void picobnn_planes_finish(const picobnn_conv2d_shape *shape, const uint32_t *planes,
                           const uint32_t *final_flips, uint32_t count, uint32_t *output)
{
    const uint32_t map_words = ((uint32_t)shape->map_height * shape->map_width + 31u) / 32u;
    const uint32_t out_pixels = (uint32_t)shape->out_height * shape->out_width;
    const uint32_t out_words = (out_pixels + 31u) / 32u;
    const uint32_t is_pooled = picobnn_planes_has_pool(shape), is_halved = halves_rows(shape);
    const uint32_t last_lanes = 0xFFFFFFFFu >> (0u - out_pixels) % 32u;

    if (!is_pooled && out_pixels % 32u == 0u) {
        return;
    }
    for (uint32_t filter = 0u; filter < count; ++filter) {
        uint32_t flips = 0u;

        if (final_flips != NULL) {
            flips = 0u - (final_flips[filter / 32u] >> filter % 32u & 1u);
        }
        if (is_halved) {
            halve_rows(shape, planes, output, flips);
        } else if (is_pooled) {
            pool_plane(shape, planes, output, flips);
        }
        planes += map_words;
        output += out_words;
        output[-1] &= last_lanes;
    }
}
