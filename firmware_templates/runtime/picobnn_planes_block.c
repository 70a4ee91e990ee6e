/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernels: what is known of a block before its filters. Contracts stand in
 * picobnn_planes_map.h.
 */
#include "picobnn_planes_map.h"

void picobnn_planes_sum_words(const uint32_t *words, uint32_t count, uint32_t *carries,
                              uint32_t *sums)
{
    for (uint32_t weight = 0u; weight <= PICOBNN_PLANES_MAX_BITS; ++weight) {
        sums[weight] = 0u;
    }
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
}

picobnn_planes_class *picobnn_planes_find_classes(const uint8_t *row_classes,
                                                  const uint8_t *column_classes, uint32_t width,
                                                  picobnn_planes_block_place block, uint32_t pixels,
                                                  picobnn_planes_class *classes)
{
    picobnn_planes_class *end = classes;
    picobnn_planes_class *it = classes;
    uint32_t x = block.column, y = block.row;

    classes->limit = 0xFFFFFFFFu;
    for (uint32_t lane = 0u; lane < pixels && lane < 32u; ++lane) {
        const uint32_t limit = 2u * ((uint32_t)row_classes[y] + column_classes[x]);

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
        if (++x == width) {
            x = 0u;
            ++y;
        }
    }
    return end;
}
