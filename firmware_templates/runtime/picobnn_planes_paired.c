/* SPDX-License-Identifier: MIT-0
 * picobnn planes cores for two filters at a time in portable C, for cores without an assembly form.
 * Contracts and formats stand in the header.
 */
#include "picobnn_planes_paired.h"
#include "picobnn_adders.h"

#if !(defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2)

/* The words of 8 list entries to the counters; window may be negative, places are not. */
PICOBNN_INLINE void add_eight(uint32_t *counters, uint32_t bits, const uint32_t *words,
                              int32_t window, const uint8_t *list)
{
    uint32_t fours[2];

    for (uint32_t i = 0u; i < 2u; ++i, list += 4) {
        const uint32_t twos =
            picobnn_full_adder(&counters[0], words[window + list[0]], words[window + list[1]]);

        fours[i] = picobnn_full_adder(
            &counters[1], twos,
            picobnn_full_adder(&counters[0], words[window + list[2]], words[window + list[3]]));
    }
    picobnn_add_carry(counters, bits, 3u, picobnn_full_adder(&counters[2], fours[0], fours[1]));
}

/* The words of one list; returns its end. */
PICOBNN_INLINE const uint8_t *add_list(uint32_t *counters, uint32_t bits, const uint32_t *words,
                                       const uint32_t *head, const uint8_t *list)
{
    const int32_t advance = (int32_t)(head[0] & 0xFFFFu) / 4;
    int32_t window = (int32_t)(head[1] >> 16) - ((head[1] >> 31) != 0u ? 65536 : 0);

    for (uint32_t groups = (head[0] >> 24) + 1u; groups != 0u; --groups) {
        add_eight(counters, bits, words, window, list);
        add_eight(counters, bits, words, window, list + 8);
        list += 16;
        window += advance;
    }
    if ((head[1] >> 15 & 1u) != 0u) {
        add_eight(counters, bits, words, window, list);
        list += 8;
    }
    return list;
}

PICOBNN_INLINE void run_couples(const picobnn_planes_pass *pass, uint32_t bits,
                                uint32_t has_classes)
{
    const uint32_t *head = pass->filters;
    const uint8_t *list = pass->lists;
    const uint16_t *limits = pass->limits;

    for (uint32_t couples = (pass->count + 1u) / 2u; couples != 0u; --couples) {
        uint32_t common[PICOBNN_PLANES_MAX_BITS];

        for (uint32_t bit = 0u; bit < bits; ++bit) {
            common[bit] = pass->start[bit];
        }
        list = add_list(common, bits, pass->words, head, list);
        head += 2;
        for (uint32_t place = 0u; place < 2u; ++place, head += 3) {
            uint32_t counters[PICOBNN_PLANES_MAX_BITS];
            uint32_t result = 0u;

            for (uint32_t bit = 0u; bit < bits; ++bit) {
                counters[bit] = common[bit];
            }
            list = add_list(counters, bits, pass->words, head + 1, list);
            if (has_classes) {
                for (const picobnn_planes_class *it = pass->classes; it != pass->classes_end;
                     ++it) {
                    result |=
                        picobnn_planes_compare(counters, bits, limits[it->limit / 2u], pass->even) &
                        it->mask;
                }
                limits += pass->limit_step / 2u;
            } else {
                result = picobnn_planes_compare(counters, bits, head[2] & 0x1FFFu, pass->even);
            }
            pass->output[head[0] / 4u] = result;
        }
    }
}

#define DEFINE_CORES(bits)                                                                         \
    PICOBNN_HOT(planes_paired_core_##bits)                                                         \
    void picobnn_planes_paired_core_##bits(const picobnn_planes_pass *pass)                        \
    {                                                                                              \
        run_couples(pass, bits##u, 0u);                                                            \
    }                                                                                              \
    PICOBNN_HOT(planes_paired_classes_##bits)                                                      \
    void picobnn_planes_paired_classes_##bits(const picobnn_planes_pass *pass)                     \
    {                                                                                              \
        run_couples(pass, bits##u, 1u);                                                            \
    }

DEFINE_CORES(7)
DEFINE_CORES(8)
DEFINE_CORES(9)
DEFINE_CORES(10)
DEFINE_CORES(11)
DEFINE_CORES(12)

PICOBNN_HOT(planes_paired_small)
void picobnn_planes_paired_small(const picobnn_planes_pass *pass)
{
    run_couples(pass, 7u, 0u);
}

#else

typedef int picobnn_planes_paired_cores_are_assembly;

#endif
