/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel: block by block through gather, count and core, then the pool.
 * Contracts stand in picobnn_planes.h.
 */
#include "picobnn_planes_map.h"

/* Start and parity of a pass from the count of all words. */
static void count_block(const uint32_t *words, uint32_t count, uint32_t *carries,
                        picobnn_planes_pass *pass)
{
    uint32_t sums[PICOBNN_PLANES_MAX_BITS + 1u] = {0u};

    for (uint32_t weight = 0u; weight < PICOBNN_PLANES_MAX_BITS; weight += 4u) {
        uint32_t groups = count / 16u;

        picobnn_planes_count(words, words + count, &sums[weight], carries);
        if (groups == 1u) {
            sums[weight + 4u] = carries[0];
            break;
        }
        for (; groups % 16u != 0u; ++groups) {
            carries[groups] = 0u;
        }
        words = carries;
        count = groups;
    }
    pass->even = ~sums[0];
    for (uint32_t bit = 0u; bit < PICOBNN_PLANES_MAX_BITS; ++bit) {
        pass->start[bit] = ~sums[bit + 1u];
    }
}

/* The classes of the pixels of a block; returns their end. */
static picobnn_planes_class *find_classes(const picobnn_planes_conv2d_layer *layer,
                                          picobnn_planes_block_place block, uint32_t pixels,
                                          picobnn_planes_class *classes)
{
    picobnn_planes_class *end = classes;
    picobnn_planes_class *it = classes;
    uint32_t x = block.column, y = block.row;

    classes->limit = 0xFFFFFFFFu;
    for (uint32_t lane = 0u; lane < pixels && lane < 32u; ++lane) {
        const uint32_t limit = 2u * ((uint32_t)layer->row_classes[y] + layer->column_classes[x]);

        if (it->limit != limit) {
            for (it = classes; it != end && it->limit != limit;) {
                ++it;
            }
        }
        if (it == end) {
            end->limit = limit;
            end->mask = 0u;
            ++end;
        }
        it->mask |= 1u << lane;
        if (++x == layer->shape.map_width) {
            x = 0u;
            ++y;
        }
    }
    return end;
}

PICOBNN_INLINE uint32_t has_pool(const picobnn_conv2d_shape *shape)
{
    return shape->pool_height != 1u || shape->pool_width != 1u || shape->pool_stride_y != 1u ||
           shape->pool_stride_x != 1u;
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

void picobnn_planes_conv2d_bits(const picobnn_planes_conv2d_layer *layer, const uint32_t *input,
                                uint32_t *output, uint32_t *scratch)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t pixels = (uint32_t)shape->map_height * shape->map_width;
    const uint32_t map_words = (pixels + 31u) / 32u;
    const uint32_t out_pixels = (uint32_t)shape->out_height * shape->out_width;
    const uint32_t out_words = (out_pixels + 31u) / 32u;
    uint32_t *const words = scratch;
    uint32_t *const carries = words + layer->words;
    uint32_t *const phases = carries + (layer->words / 16u + 15u) / 16u * 16u;
    const picobnn_planes_phased_map map = picobnn_planes_split_phases(shape, input, phases);
    uint32_t *const maps =
        map.words == input ? phases
                           : phases + (uint32_t)shape->stride_y * shape->stride_x * map.phase_words;
    const uint32_t is_pooled = has_pool(shape);
    uint32_t *const planes = is_pooled ? maps : output;
    picobnn_planes_block_place block = {0u, 0u};
    picobnn_planes_class classes[32];
    picobnn_planes_pass pass;

    pass.filters = layer->filters;
    pass.lists = layer->lists;
    pass.words = words;
    pass.output_step = 4u * map_words;
    pass.count = layer->count;
    pass.limits = layer->limits;
    pass.limit_step = 2u * layer->classes;
    pass.classes = classes;
    pass.classes_end = classes;
    for (uint32_t word = 0u; word < map_words; ++word) {
        uint32_t *end = picobnn_planes_gather_block(shape, &map, block, words);

        while (end != words + layer->words) {
            *end++ = 0u;
        }
        count_block(words, layer->words, carries, &pass);
        if (layer->limits != NULL) {
            pass.classes_end = find_classes(layer, block, pixels - 32u * word, classes);
        }
        pass.output = planes + word;
        layer->core(&pass);
        picobnn_planes_next_block(&block, shape->map_width);
    }
    if (!is_pooled && layer->final_flips == NULL && out_pixels % 32u == 0u) {
        return;
    }
    for (uint32_t filter = 0u; filter < layer->count; ++filter) {
        uint32_t flip = 0u;

        if (layer->final_flips != NULL) {
            flip = layer->final_flips[filter / 32u] >> (filter % 32u) & 1u;
        }
        if (is_pooled) {
            picobnn_planes_pool_plane(shape, planes + filter * map_words, map_words, output,
                                      out_words);
        }
        finish_plane(output, out_words, flip, out_pixels);
        output += out_words;
    }
}
