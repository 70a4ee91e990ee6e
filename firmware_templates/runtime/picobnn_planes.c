/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel: block by block through gather, count and core, then the pool.
 * Contracts stand in picobnn_planes.h.
 */
#include "picobnn_planes_map.h"

/* Start and parity of a pass from the count of all words. */
static void count_block(const uint32_t *words, uint32_t count, uint32_t *carries,
                        picobnn_planes_pass *pass)
{
    uint32_t sums[PICOBNN_PLANES_MAX_BITS + 1u];

    picobnn_planes_sum_words(words, count, carries, sums);
    pass->even = ~sums[0];
    for (uint32_t bit = 0u; bit < PICOBNN_PLANES_MAX_BITS; ++bit) {
        pass->start[bit] = ~sums[bit + 1u];
    }
}

void picobnn_planes_conv2d_bits(const picobnn_planes_conv2d_layer *layer, const uint32_t *input,
                                uint32_t *output, uint32_t *scratch)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t pixels = (uint32_t)shape->map_height * shape->map_width;
    const uint32_t map_words = (pixels + 31u) / 32u;
    uint32_t *const words = scratch;
    uint32_t *const carries = words + layer->words;
    uint32_t *const phases = carries + (layer->words / 16u + 15u) / 16u * 16u;
    const picobnn_planes_phased_map map = layer->phases(shape, input, phases);
    uint32_t *const maps =
        map.words == input ? phases
                           : phases + (uint32_t)shape->stride_y * shape->stride_x * map.phase_words;
    uint32_t *const planes = picobnn_planes_has_pool(shape) ? maps : output;
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
        uint32_t *end = picobnn_planes_gather_block(shape, &map, block, PICOBNN_PLANES_RUN, words);

        while (end != words + layer->words) {
            *end++ = 0u;
        }
        count_block(words, layer->words, carries, &pass);
        if (layer->limits != NULL) {
            pass.classes_end =
                picobnn_planes_find_classes(layer->row_classes, layer->column_classes,
                                            shape->map_width, block, pixels - 32u * word, classes);
        }
        pass.output = planes + word;
        layer->core(&pass);
        picobnn_planes_next_block(&block, shape->map_width);
    }
    picobnn_planes_finish(shape, planes, layer->final_flips, layer->count, output);
}
