/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel: max pools, the OR of the bits of a window. Contracts stand in
 * picobnn_planes_map.h.
 */
#include "picobnn_planes_map.h"

/* The OR of a pool window at output pixels of one row, from the map's column `left` on. Only as
 * many as one word of the map covers are right. */
static uint32_t pool_row(const picobnn_conv2d_shape *shape, const uint32_t *plane,
                         uint32_t plane_words, picobnn_span rows, int32_t left)
{
    uint32_t columns = 0u, result;

    for (int32_t y = rows.begin; y < rows.end; ++y) {
        columns |= picobnn_planes_read_bits(
            plane, picobnn_planes_find_bits(y * shape->map_width + left, plane_words));
    }
    columns &= picobnn_planes_lanes(-left, (int32_t)shape->map_width - left);
    result = columns;
    for (uint32_t px = 1u; px < shape->pool_width; ++px) {
        columns >>= 1;
        result |= columns;
    }
    return shape->pool_stride_x == 2u ? picobnn_planes_every_second(result) : result;
}

/* Output pixels of a row that one word of the map covers. */
PICOBNN_INLINE uint32_t pooled_step(const picobnn_conv2d_shape *shape)
{
    if (shape->pool_stride_x > 2u || shape->pool_width > 32u) {
        return 1u;
    }
    return (32u - shape->pool_width) / shape->pool_stride_x + 1u;
}

/* Windows of 2x2 with stride 2, on a map whose rows, 2 to 32 pixels wide, do not cross words. */
static void pool_words(const uint32_t *plane, uint32_t width, uint32_t *output, uint32_t pixels)
{
    const uint32_t is_wide = width == 32u;

    for (uint32_t place = 0u; place < pixels; place += is_wide ? 16u : 8u) {
        uint32_t bits = *plane++;

        bits |= is_wide ? *plane++ : bits >> width;
        bits = picobnn_planes_every_second(bits | bits >> 1);
        if (!is_wide) {
            bits = picobnn_planes_even_rows(bits, width / 2u);
        }
        picobnn_planes_write_bits(output, place, bits, 8u);
    }
}

PICOBNN_INLINE uint32_t halves_words(const picobnn_conv2d_shape *shape)
{
    return shape->pool_height == 2u && shape->pool_width == 2u && shape->pool_stride_y == 2u &&
           shape->pool_stride_x == 2u && shape->pool_pad_top == 0u && shape->pool_pad_left == 0u &&
           shape->map_width > 1u && 32u % shape->map_width == 0u &&
           2u * shape->out_width == shape->map_width;
}

static void pool_plane(const picobnn_conv2d_shape *shape, const uint32_t *plane,
                       uint32_t plane_words, uint32_t *output, uint32_t output_words)
{
    const uint32_t step = pooled_step(shape);
    int32_t top = -(int32_t)shape->pool_pad_top;
    uint32_t begin = 0u;

    for (uint32_t i = 0u; i < output_words; ++i) {
        output[i] = 0u;
    }
    if (halves_words(shape)) {
        pool_words(plane, shape->map_width, output, (uint32_t)shape->out_height * shape->out_width);
        return;
    }
    for (; begin < (uint32_t)shape->out_height * shape->out_width; begin += shape->out_width) {
        const picobnn_span rows = picobnn_clip(top, shape->pool_height, shape->map_height);
        int32_t left = -(int32_t)shape->pool_pad_left;

        for (uint32_t x = 0u; x < shape->out_width; x += step) {
            const uint32_t rest = shape->out_width - x;
            const uint32_t count = rest < step ? rest : step;
            const uint32_t bits = pool_row(shape, plane, plane_words, rows, left);

            picobnn_planes_write_bits(output, begin + x, bits & 0xFFFFFFFFu >> (32u - count),
                                      count);
            left += (int32_t)(step * shape->pool_stride_x);
        }
        top += shape->pool_stride_y;
    }
}

/* The flips behind a pool, and clear padding bits. */
static void finish_plane(uint32_t *plane, uint32_t plane_words, uint32_t flip, uint32_t pixels)
{
    for (uint32_t i = 0u; i < plane_words; ++i) {
        plane[i] ^= 0u - flip;
    }
    plane[plane_words - 1u] &=
        picobnn_planes_lanes(0, (int32_t)(pixels - 32u * (plane_words - 1u)));
}

void picobnn_planes_finish(const picobnn_conv2d_shape *shape, const uint32_t *planes,
                           const uint32_t *final_flips, uint32_t count, uint32_t *output)
{
    const uint32_t map_words = ((uint32_t)shape->map_height * shape->map_width + 31u) / 32u;
    const uint32_t out_pixels = (uint32_t)shape->out_height * shape->out_width;
    const uint32_t out_words = (out_pixels + 31u) / 32u;
    const uint32_t is_pooled = picobnn_planes_has_pool(shape);

    if (!is_pooled && final_flips == NULL && out_pixels % 32u == 0u) {
        return;
    }
    for (uint32_t filter = 0u; filter < count; ++filter) {
        uint32_t flip = 0u;

        if (final_flips != NULL) {
            flip = final_flips[filter / 32u] >> (filter % 32u) & 1u;
        }
        if (is_pooled) {
            pool_plane(shape, planes + filter * map_words, map_words, output, out_words);
        }
        finish_plane(output, out_words, flip, out_pixels);
        output += out_words;
    }
}
