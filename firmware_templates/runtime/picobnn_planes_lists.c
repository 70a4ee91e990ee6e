/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernels with lists of offsets: blocks through gather and count, filters through
 * their lists, then the pool. Contracts stand in picobnn_planes_lists.h.
 */
#include "picobnn_planes_lists.h"
#include "picobnn_planes_map.h"

#define RATIO_BITS (PICOBNN_PLANES_MAX_BITS + PICOBNN_PLANES_LISTS_MAX_SHIFT)

/* planes += value << weight, bit by bit, without what exceeds the planes. */
static void add_planes(uint32_t *planes, const uint32_t *value, uint32_t weight)
{
    uint32_t carry = 0u;

    for (uint32_t bit = 0u; weight < RATIO_BITS; ++bit, ++weight) {
        const uint32_t word = bit <= PICOBNN_PLANES_MAX_BITS ? value[bit] : 0u;
        const uint32_t half = planes[weight] ^ word;
        const uint32_t next = (planes[weight] & word) | (half & carry);

        planes[weight] = half ^ carry;
        carry = next;
    }
}

/* The bit planes of r B. */
static void multiply(const picobnn_planes_lists_layer *layer, const uint32_t *sums,
                     uint32_t *planes)
{
    uint32_t carry = 0xFFFFFFFFu;

    for (uint32_t bit = 0u; bit < RATIO_BITS; ++bit) {
        planes[bit] = 0u;
    }
    for (uint32_t bit = 0u; bit < RATIO_BITS; ++bit) {
        if ((layer->ratio >> bit & 1u) != 0u) {
            add_planes(planes, sums, bit);
        }
    }
    for (uint32_t bit = 0u; layer->is_negative != 0u && bit < RATIO_BITS; ++bit) {
        const uint32_t inverted = ~planes[bit];

        planes[bit] = inverted ^ carry;
        carry &= inverted;
    }
}

/* The counters' start in front of the words, and the carries in their first 2**k. */
static void start_block(const picobnn_planes_lists_layer *layer, const uint32_t *sums,
                        uint32_t *words)
{
    uint32_t planes[RATIO_BITS];

    multiply(layer, sums, planes);
    for (uint32_t bit = 0u; bit < PICOBNN_PLANES_MAX_BITS; ++bit) {
        words[(int32_t)bit - (int32_t)PICOBNN_PLANES_MAX_BITS] = planes[layer->shift + bit];
    }
    for (uint32_t low = 0u; low < 1u << layer->shift; ++low) {
        uint32_t carry = 0u;

        for (uint32_t bit = 0u; bit < layer->shift; ++bit) {
            carry = (low >> bit & 1u) != 0u ? (carry | planes[bit]) : (carry & planes[bit]);
        }
        words[low] = carry;
    }
}

/* The words of a block, and everything in front of them but the classes. */
static void fill_block(const picobnn_planes_lists_layer *layer,
                       const picobnn_planes_phased_map *map, picobnn_planes_block_place block,
                       uint32_t *carries, uint32_t *words)
{
    uint32_t sums[PICOBNN_PLANES_MAX_BITS + 1u] = {0u};
    uint32_t *const taps = words + (1u << layer->shift);
    uint32_t *end = picobnn_planes_gather_block(&layer->shape, map, block, 0u, taps - 1);

    if (layer->ratio != 0u) {
        const uint32_t counted = (layer->taps + 15u) / 16u * 16u;

        while (end != taps + counted) {
            *end++ = 0u;
        }
        picobnn_planes_sum_words(taps, counted, carries, sums);
    }
    if (layer->has_complement != 0u) {
        for (uint32_t tap = 0u; tap < layer->taps; ++tap) {
            end[tap] = ~taps[tap];
        }
    }
    start_block(layer, sums, words);
}

void picobnn_planes_lists_conv2d_bits(const picobnn_planes_lists_layer *layer,
                                      const uint32_t *input, uint32_t *output, uint32_t *scratch)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t pixels = (uint32_t)shape->map_height * shape->map_width;
    const uint32_t map_words = (pixels + 31u) / 32u;
    const uint32_t most = layer->classes < 32u ? layer->classes : 32u;
    const uint32_t class_words = layer->classes > 1u ? 1u + 2u * most : 0u;
    uint32_t *const carries = scratch + layer->list_words;
    uint32_t *const records = carries + ((layer->taps + 15u) / 16u + 15u) / 16u * 16u;
    uint32_t *const words = records + class_words + PICOBNN_PLANES_MAX_BITS;
    uint32_t *const phases = records + layer->blocks * layer->record_words;
    const picobnn_planes_phased_map map = layer->phases(shape, input, phases);
    uint32_t *const maps =
        map.words == input ? phases
                           : phases + (uint32_t)shape->stride_y * shape->stride_x * map.phase_words;
    uint32_t *const planes = picobnn_planes_has_pool(shape) ? maps : output;
    picobnn_planes_block_place block = {0u, 0u};
    picobnn_planes_lists_pass pass;

    pass.words = words;
    pass.words_step = 4u * layer->record_words;
    pass.limit_step = 2u * layer->classes;
    pass.shift = layer->shift;
    pass.mask = (1u << layer->shift) - 1u;
    pass.classes_back = 4u * (class_words + PICOBNN_PLANES_MAX_BITS);
    for (uint32_t first = 0u; first < map_words; first += layer->blocks) {
        const uint32_t left = map_words - first;
        const uint32_t blocks = left < layer->blocks ? left : layer->blocks;

        for (uint32_t i = 0u; i < blocks; ++i) {
            uint32_t *const record = records + i * layer->record_words;

            fill_block(layer, &map, block, carries, words + i * layer->record_words);
            if (class_words != 0u) {
                picobnn_planes_class *const classes = (picobnn_planes_class *)(void *)(record + 1);

                record[0] =
                    (uint32_t)(picobnn_planes_find_classes(
                                   layer->row_classes, layer->column_classes, shape->map_width,
                                   block, pixels - 32u * (first + i), classes) -
                               classes);
            }
            picobnn_planes_next_block(&block, shape->map_width);
        }
        pass.words_end = words + blocks * layer->record_words;
        pass.output = planes + first;
        pass.output_step = 4u * (map_words - blocks);
        pass.limits = layer->limits;
        layer->run(layer, &pass, blocks, scratch);
    }
    picobnn_planes_finish(shape, planes, layer->final_flips, layer->count, output);
}
