/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel from Rice codes: each filter's gaps become a list in RAM that serves all
 * blocks of a pass. Contracts and formats stand in picobnn_planes_lists.h.
 */
#include "picobnn_planes_lists.h"

#if !(defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2)

PICOBNN_HOT(planes_decode)
void picobnn_planes_decode(picobnn_planes_codes *codes, uint32_t count, uint32_t *entries)
{
    const uint32_t low_bits = codes->low_bits;
    const uint32_t skip = PICOBNN_PLANES_CODE_BITS - low_bits;
    uint32_t bit = codes->bit, offset = codes->offset;

    for (uint32_t index = 0u; index != count;) {
        const uint16_t *const half = codes->codes + bit / 16u;
        const uint32_t ahead = ((uint32_t)half[0] << 16 | half[1]) << (bit & 15u);
        uint32_t zeros = 0u;

        while (zeros < skip && (ahead << zeros & 0x80000000u) == 0u) {
            ++zeros;
        }
        if (zeros == skip) {
            offset += 4u * (skip << low_bits);
            bit += skip;
        } else {
            const uint32_t low = ahead << zeros >> (31u - low_bits) & ((1u << low_bits) - 1u);

            offset += 4u * ((zeros << low_bits) + low + 1u);
            bit += zeros + 1u + low_bits;
            picobnn_planes_put_entry(entries, index++, offset);
        }
    }
    codes->bit = bit;
}

#endif

void picobnn_planes_coded(const picobnn_planes_lists_layer *layer, picobnn_planes_lists_pass *pass,
                          uint32_t blocks, uint32_t *list)
{
    picobnn_planes_codes codes;

    codes.codes = layer->codes;
    codes.bit = 0u;
    codes.low_bits = layer->low_bits;
    codes.offset = (4u << layer->shift) - 4u;
    pass->list = list;
    pass->count = 1u;
    for (uint32_t filter = 0u; filter < layer->count; ++filter) {
        const uint32_t made = layer->counts[filter];

        if (made != 0u) {
            picobnn_planes_decode(&codes, made, list + 1);
        }
        picobnn_planes_close_list(layer, *pass->limits, made, list);
        layer->core(pass);
        pass->output += blocks + pass->output_step / 4u;
        pass->limits += layer->classes;
    }
}
