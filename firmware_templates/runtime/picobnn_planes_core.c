/* SPDX-License-Identifier: MIT-0
 * picobnn planes cores in portable C, for cores without an assembly form. Contracts and formats
 * stand in the header.
 */
#include "picobnn_planes.h"
#include "picobnn_adders.h"

#if !(defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2)

/* Adds 8 words to the counters of weight 1, 2 and 4; returns the carry of weight 8. */
PICOBNN_INLINE uint32_t add_eight(uint32_t *counters, const uint32_t *w)
{
    uint32_t fours[2];

    for (uint32_t i = 0u; i < 2u; ++i, w += 4) {
        const uint32_t twos = picobnn_full_adder(&counters[0], w[0], w[1]);

        fours[i] =
            picobnn_full_adder(&counters[1], twos, picobnn_full_adder(&counters[0], w[2], w[3]));
    }
    return picobnn_full_adder(&counters[2], fours[0], fours[1]);
}

/* add_eight() with the words of 8 list entries; window may be negative, places are not. */
PICOBNN_INLINE uint32_t add_eight_of(uint32_t *counters, const uint32_t *all, int32_t window,
                                     const uint8_t *list)
{
    uint32_t words[8];

    for (uint32_t i = 0u; i < 8u; ++i) {
        words[i] = all[window + list[i]];
    }
    return add_eight(counters, words);
}

PICOBNN_INLINE void run_filters(const picobnn_planes_pass *pass, uint32_t bits,
                                uint32_t has_classes)
{
    const uint32_t *filter = pass->filters;
    const uint8_t *list = pass->lists;
    const uint16_t *limits = pass->limits;
    uint32_t *output = pass->output;

    for (uint32_t left = pass->count; left != 0u; --left, filter += 2) {
        const int32_t advance = (int32_t)(filter[0] & 0xFFFFu) / 4;
        int32_t window = (int32_t)(filter[1] >> 16) - ((filter[1] >> 31) != 0u ? 65536 : 0);
        uint32_t counters[PICOBNN_PLANES_MAX_BITS];
        uint32_t result = 0u;

        for (uint32_t bit = 0u; bit < bits; ++bit) {
            counters[bit] = pass->start[bit];
        }
        for (uint32_t groups = (filter[0] >> 24) + 1u; groups != 0u; --groups) {
            const uint32_t eight = add_eight_of(counters, pass->words, window, list);
            const uint32_t other = add_eight_of(counters, pass->words, window, list + 8);

            picobnn_add_carry(counters, bits, 4u, picobnn_full_adder(&counters[3], eight, other));
            list += 16;
            window += advance;
        }
        if ((filter[1] >> 15 & 1u) != 0u) {
            picobnn_add_carry(counters, bits, 3u,
                              add_eight_of(counters, pass->words, window, list));
            list += 8;
        }
        if (has_classes) {
            for (const picobnn_planes_class *it = pass->classes; it != pass->classes_end; ++it) {
                result |=
                    picobnn_planes_compare(counters, bits, limits[it->limit / 2u], pass->even) &
                    it->mask;
            }
            limits += pass->limit_step / 2u;
        } else {
            result = picobnn_planes_compare(counters, bits, filter[1] & 0x3FFFu, pass->even);
        }
        *output = result;
        output += pass->output_step / 4u;
    }
}

#define DEFINE_CORES(bits)                                                                         \
    PICOBNN_HOT(planes_core_##bits)                                                                \
    void picobnn_planes_core_##bits(const picobnn_planes_pass *pass)                               \
    {                                                                                              \
        run_filters(pass, bits##u, 0u);                                                            \
    }                                                                                              \
    PICOBNN_HOT(planes_classes_##bits)                                                             \
    void picobnn_planes_classes_##bits(const picobnn_planes_pass *pass)                            \
    {                                                                                              \
        run_filters(pass, bits##u, 1u);                                                            \
    }

DEFINE_CORES(7)
DEFINE_CORES(8)
DEFINE_CORES(9)
DEFINE_CORES(10)
DEFINE_CORES(11)
DEFINE_CORES(12)

PICOBNN_HOT(planes_count)
void picobnn_planes_count(const uint32_t *words, const uint32_t *end, uint32_t *counters,
                          uint32_t *carries)
{
    uint32_t sums[4] = {0u, 0u, 0u, 0u};

    for (; words != end; words += 16) {
        const uint32_t eight = add_eight(sums, words);
        const uint32_t other = add_eight(sums, words + 8);

        *carries++ = picobnn_full_adder(&sums[3], eight, other);
    }
    for (uint32_t i = 0u; i < 4u; ++i) {
        counters[i] = sums[i];
    }
}

PICOBNN_HOT(planes_gather)
void picobnn_planes_gather(const uint32_t *low, uint32_t *words, uint32_t count,
                           const picobnn_planes_run *run)
{
    for (; count != 0u; --count, low += run->plane_bytes / 4u) {
        const uint32_t high = low[run->high_bytes / 4u];

        *words++ = (*low >> run->shift | high << 1 << (31u - run->shift)) & run->mask;
    }
}

#else

typedef int picobnn_planes_cores_are_assembly;

#endif
