/* SPDX-License-Identifier: MIT-0
 * picobnn planes cores for lists of offsets in portable C, for cores without an assembly form.
 * Contracts and formats stand in the header.
 */
#include "picobnn_planes_lists.h"
#include "picobnn_adders.h"

#if !(defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB == 2)

/* One entry: offsets come two to a word. */
PICOBNN_INLINE uint32_t entry_of(const uint32_t *entries, uint32_t index)
{
    return (entries[index / 2u] >> 16u * (index & 1u) & 0xFFFFu) / 4u;
}

/* Adds 8 listed words to the counters. */
PICOBNN_INLINE void add_eight(uint32_t *counters, uint32_t bits, const uint32_t *words,
                              const uint32_t *entries)
{
    uint32_t fours[2];

    for (uint32_t i = 0u; i < 2u; ++i) {
        uint32_t twos[2];

        for (uint32_t j = 0u; j < 2u; ++j) {
            const uint32_t first = 4u * i + 2u * j;

            twos[j] = picobnn_full_adder(&counters[0], words[entry_of(entries, first)],
                                         words[entry_of(entries, first + 1u)]);
        }
        fours[i] = picobnn_full_adder(&counters[1], twos[0], twos[1]);
    }
    picobnn_add_carry(counters, bits, 3u, picobnn_full_adder(&counters[2], fours[0], fours[1]));
}

/* The sign of counters + constant + carry, whose top bit says what to make of it. */
PICOBNN_INLINE uint32_t compare(const uint32_t *counters, uint32_t bits, uint32_t constant,
                                uint32_t carry)
{
    for (uint32_t bit = 0u; bit < bits - 1u; ++bit) {
        carry = (constant & 1u) != 0u ? (carry | counters[bit]) : (carry & counters[bit]);
        constant >>= 1;
    }
    return carry ^ counters[bits - 1u] ^ (0u - (constant & 1u));
}

/* All classes of a block. */
PICOBNN_INLINE uint32_t compare_classes(const picobnn_planes_lists_pass *pass,
                                        const uint32_t *words, const uint16_t *limits,
                                        const uint32_t *counters, uint32_t bits)
{
    const uint32_t *it = words - pass->classes_back / 4u;
    uint32_t result = 0u;

    for (uint32_t left = *it++; left != 0u; --left, it += 2) {
        const uint32_t limit = limits[it[0] / 2u];

        result |= compare(counters, bits, limit >> pass->shift, words[limit & pass->mask]) & it[1];
    }
    return result;
}

PICOBNN_INLINE void run_lists(const picobnn_planes_lists_pass *pass, uint32_t bits,
                              uint32_t has_classes)
{
    const uint32_t *list = pass->list;
    const uint16_t *limits = pass->limits;
    uint32_t *output = pass->output;

    for (uint32_t left = pass->count; left != 0u; --left) {
        const uint32_t eights = 2u * (list[0] >> 24) + (list[0] >> 15 & 1u);
        const uint32_t constant = list[1u + 4u * eights];

        for (const uint32_t *words = pass->words; words != pass->words_end;
             words += pass->words_step / 4u) {
            uint32_t counters[PICOBNN_PLANES_MAX_BITS];

            for (uint32_t bit = 0u; bit < bits; ++bit) {
                counters[bit] = words[(int32_t)bit - (int32_t)PICOBNN_PLANES_MAX_BITS];
            }
            for (uint32_t i = 0u; i < eights; ++i) {
                add_eight(counters, bits, words, list + 1u + 4u * i);
            }
            if (has_classes) {
                *output++ = compare_classes(pass, words, limits, counters, bits);
            } else {
                *output++ = compare(counters, bits, constant >> 8, words[constant >> 2 & 0x3Fu]);
            }
        }
        list += 2u + 4u * eights;
        limits += has_classes ? pass->limit_step / 2u : 0u;
        output += pass->output_step / 4u;
    }
}

#define DEFINE_CORES(bits)                                                                         \
    PICOBNN_HOT(planes_lists_core_##bits)                                                          \
    void picobnn_planes_lists_core_##bits(const picobnn_planes_lists_pass *pass)                   \
    {                                                                                              \
        run_lists(pass, bits##u, 0u);                                                              \
    }                                                                                              \
    PICOBNN_HOT(planes_lists_classes_##bits)                                                       \
    void picobnn_planes_lists_classes_##bits(const picobnn_planes_lists_pass *pass)                \
    {                                                                                              \
        run_lists(pass, bits##u, 1u);                                                              \
    }

DEFINE_CORES(8)
DEFINE_CORES(10)
DEFINE_CORES(12)

#else

typedef int picobnn_planes_lists_cores_are_assembly;

#endif
