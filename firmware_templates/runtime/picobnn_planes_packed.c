/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel from packed weights: each filter's bits become a list in RAM that serves
 * all blocks of a pass. Contracts and formats stand in picobnn_planes_lists.h.
 */
#include "picobnn_planes_lists.h"

#if !(defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2)

PICOBNN_HOT(planes_expand)
uint32_t picobnn_planes_expand(const uint32_t *bits, uint32_t words, uint32_t offset,
                               uint32_t *entries)
{
    uint32_t count = 0u;

    for (; words != 0u; --words, offset += 128u) {
        uint32_t place = offset;

        for (uint32_t left = *bits++; left != 0u; left >>= 1, place += 4u) {
            if ((left & 1u) != 0u) {
                picobnn_planes_put_entry(entries, count++, place);
            }
        }
    }
    return count;
}

#endif

void picobnn_planes_packed(const picobnn_planes_lists_layer *layer, picobnn_planes_lists_pass *pass,
                           uint32_t blocks, uint32_t *list)
{
    const uint32_t words = (layer->taps + 31u) / 32u;
    const uint32_t *bits = layer->lists;

    pass->list = list;
    pass->count = 1u;
    for (uint32_t left = layer->count; left != 0u; --left, bits += words) {
        const uint32_t made = picobnn_planes_expand(bits, words, 4u << layer->shift, list + 1);

        picobnn_planes_close_list(layer, *pass->limits, made, list);
        layer->core(pass);
        pass->output += blocks + pass->output_step / 4u;
        pass->limits += layer->classes;
    }
}
