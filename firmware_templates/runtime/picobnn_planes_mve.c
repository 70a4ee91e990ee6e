/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel for cores with vectors: a block through gather, count and adder, then the
 * pool. Contracts stand in picobnn_planes_mve.h.
 */
#include "picobnn_planes_mve_block.h"

/* The assembly knows these. */
typedef char pass_is_256_bytes
    [sizeof(void *) != 4u || offsetof(picobnn_planes_mve_pass, carries) == 252u ? 1 : -1];
typedef char class_is_5_words[sizeof(picobnn_planes_mve_class) == 20u ? 1 : -1];

/* Places in scratch. */
typedef struct {
    uint32_t *vectors;
    uint32_t *words; /* of 32 pixels; afterwards the carries of the adder */
    picobnn_planes_mve_class *classes;
    uint32_t *phases;
} scratch_places;

static scratch_places divide_scratch(const picobnn_planes_mve_conv2d_layer *layer,
                                     uint32_t *scratch)
{
    const uint32_t counted = layer->words + (layer->words / 16u + 15u) / 16u * 16u;
    const uint32_t carried = PICOBNN_PLANES_MVE_PARTS * layer->carry_vectors;
    const uint32_t pixels = 32u * layer->parts;
    scratch_places places;
    uint32_t *after;

    places.vectors = scratch;
    places.words = scratch + layer->words * layer->parts;
    after = places.words + (counted > carried ? counted : carried);
    places.classes = (picobnn_planes_mve_class *)after;
    places.phases = after + 5u * (layer->classes < pixels ? layer->classes : pixels);
    return places;
}

/* Puts the pixels of a part of the block into the classes; returns their end. */
static picobnn_planes_mve_class *merge_classes(const picobnn_planes_mve_conv2d_layer *layer,
                                               picobnn_planes_block_place block, uint32_t pixels,
                                               uint32_t part, picobnn_planes_mve_class *classes,
                                               picobnn_planes_mve_class *end)
{
    const uint32_t limit_bytes = layer->bits + 1u; /* a class counts by 2 already */
    picobnn_planes_class found[32];
    const picobnn_planes_class *const found_end = picobnn_planes_find_classes(
        layer->row_classes, layer->column_classes, layer->shape.map_width, block, pixels, found);

    for (const picobnn_planes_class *from = found; from != found_end; ++from) {
        const uint32_t limits = from->limit * limit_bytes;
        picobnn_planes_mve_class *it = classes;

        while (it != end && it->limits != limits) {
            ++it;
        }
        if (it == end) {
            it->limits = limits;
            for (uint32_t i = 0u; i < PICOBNN_PLANES_MVE_PARTS; ++i) {
                it->mask[i] = 0u;
            }
            ++end;
        }
        for (uint32_t i = part; i < PICOBNN_PLANES_MVE_PARTS; i += layer->parts) {
            it->mask[i] = from->mask;
        }
    }
    return end;
}

static picobnn_planes_mve_class *one_class(picobnn_planes_mve_class *classes)
{
    classes->limits = 0u;
    for (uint32_t i = 0u; i < PICOBNN_PLANES_MVE_PARTS; ++i) {
        classes->mask[i] = 0xFFFFFFFFu;
    }
    return classes + 1;
}

/* Starts of the counters from the count of all words. */
static void start_counters(const uint32_t *vectors, uint32_t count, uint32_t parts,
                           uint32_t *carries, picobnn_planes_mve_pass *pass)
{
    uint32_t sums[PICOBNN_PLANES_MVE_SUMS][PICOBNN_PLANES_MVE_PARTS];

    picobnn_planes_mve_sum_block(vectors, count, parts, carries, sums);
    for (uint32_t part = 0u; part < PICOBNN_PLANES_MVE_PARTS; ++part) {
        pass->even[part] = ~sums[0][part];
        for (uint32_t bit = 0u; bit < PICOBNN_PLANES_MAX_BITS; ++bit) {
            pass->start[bit][part] = ~sums[bit + 1u][part];
        }
    }
}

void picobnn_planes_mve_conv2d_bits(const picobnn_planes_mve_conv2d_layer *layer,
                                    const uint32_t *input, uint32_t *output, uint32_t *scratch)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t pixels = (uint32_t)shape->map_height * shape->map_width;
    const uint32_t map_words = (pixels + 31u) / 32u, parts = layer->parts;
    const scratch_places places = divide_scratch(layer, scratch);
    const picobnn_planes_phased_map map = layer->phases(shape, input, places.phases);
    uint32_t *const maps =
        map.words == input
            ? places.phases
            : places.phases + (uint32_t)shape->stride_y * shape->stride_x * map.phase_words;
    uint32_t *const planes = picobnn_planes_has_pool(shape) ? maps : output;
    picobnn_planes_block_place next = {0u, 0u};
    picobnn_planes_mve_pass pass;

    pass.lists = layer->lists;
    pass.words = places.vectors;
    pass.limits = layer->limits;
    pass.limit_step = 2u * layer->classes * (layer->bits + 1u);
    pass.classes = places.classes;
    pass.classes_end = one_class(places.classes);
    pass.output_step = 4u * map_words;
    pass.count = layer->count;
    pass.bits = layer->bits;
    pass.carries = places.words;
    for (uint32_t word = 0u; word < map_words; word += parts) {
        picobnn_planes_mve_class *classes_end = places.classes;
        picobnn_planes_block_place blocks[PICOBNN_PLANES_MVE_PARTS];
        uint32_t *end;

        for (uint32_t part = 0u; part < parts; ++part) {
            blocks[part] = next;
            if (layer->row_classes != NULL && word + part < map_words) {
                classes_end = merge_classes(layer, next, pixels - 32u * (word + part), part,
                                            places.classes, classes_end);
                pass.classes_end = classes_end;
            }
            picobnn_planes_next_block(&next, shape->map_width);
        }
        end = picobnn_planes_mve_gather_block(shape, &map, blocks, parts, places.vectors,
                                              places.words);
        while (end != places.vectors + layer->words * parts) {
            *end++ = 0u;
        }
        start_counters(places.vectors, layer->words * parts / PICOBNN_PLANES_MVE_PARTS, parts,
                       places.words, &pass);
        pass.output = planes + word;
        pass.output_words = map_words - word < parts ? map_words - word : parts;
        layer->core(&pass);
    }
    picobnn_planes_finish(shape, planes, layer->final_flips, layer->count, output);
}
