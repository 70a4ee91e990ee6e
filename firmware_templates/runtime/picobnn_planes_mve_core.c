/* SPDX-License-Identifier: MIT-0
 * picobnn planes adders for vectors, in portable C, for cores without the assembly. Contracts and
 * formats stand in picobnn_planes_mve.h.
 */
#include "picobnn_planes_mve.h"

#if !defined(__ARM_FEATURE_MVE)

#define PARTS PICOBNN_PLANES_MVE_PARTS

/* Adds one word to the counters of a part. */
PICOBNN_INLINE void add_word(uint32_t (*counters)[PARTS], uint32_t bits, uint32_t part,
                             uint32_t word)
{
    for (uint32_t bit = 0u; bit < bits; ++bit) {
        const uint32_t carry = counters[bit][part] & word;

        counters[bit][part] ^= word;
        word = carry;
    }
}

/* The lanes of a part that a limit's bits select: bytes 4 x part and up. */
PICOBNN_INLINE uint32_t lanes_of(uint32_t limit, uint32_t part)
{
    uint32_t lanes = 0u;

    for (uint32_t byte = 0u; byte < 4u; ++byte) {
        lanes |= (limit >> (4u * part + byte) & 1u) * 0xFFu << 8u * byte;
    }
    return lanes;
}

/* The sign of counters + constant in a part of the lanes. */
static uint32_t compare(const uint32_t (*counters)[PARTS], uint32_t bits, const uint16_t *limits,
                        uint32_t even, uint32_t part)
{
    uint32_t carry = even | ~lanes_of(limits[0], part);

    for (uint32_t bit = 0u; bit + 1u < bits; ++bit) {
        const uint32_t constant = lanes_of(limits[bit + 1u], part);

        carry = (carry & counters[bit][part]) | (constant & (carry | counters[bit][part]));
    }
    return carry ^ counters[bits - 1u][part] ^ lanes_of(limits[bits], part);
}

static void run_units(const picobnn_planes_mve_pass *pass, uint32_t filters)
{
    const uint32_t parts = PARTS / filters;
    const uint32_t *list = pass->lists;
    const uint8_t *limits = (const uint8_t *)pass->limits;
    uint32_t *output = pass->output;

    for (uint32_t done = 0u; done < pass->count; done += filters) {
        uint32_t counters[PICOBNN_PLANES_MAX_BITS][PARTS];
        uint32_t result[PARTS] = {0u};
        const uint32_t additions = 8u * filters * *list++;

        for (uint32_t bit = 0u; bit < pass->bits; ++bit) {
            for (uint32_t part = 0u; part < PARTS; ++part) {
                counters[bit][part] = pass->start[bit][part];
            }
        }
        for (uint32_t i = 0u; i < additions; ++i) {
            const uint32_t offset = list[i / 2u] >> (i & 1u) * 16u & 0xFFFFu;
            const uint32_t first = filters == 1u ? 0u : (i >> 2 & 1u) * parts;

            for (uint32_t part = 0u; part < parts; ++part) {
                add_word(counters, pass->bits, first + part, pass->words[offset / 4u + part]);
            }
        }
        list += additions / 2u;
        for (const picobnn_planes_mve_class *it = pass->classes; it != pass->classes_end; ++it) {
            const uint16_t *const limit = (const uint16_t *)(const void *)(limits + it->limits);

            for (uint32_t part = 0u; part < PARTS; ++part) {
                result[part] |= compare((const uint32_t (*)[PARTS])counters, pass->bits, limit,
                                        pass->even[part], part) &
                                it->mask[part];
            }
        }
        limits += pass->limit_step;
        for (uint32_t filter = 0u; filter < filters && done + filter < pass->count; ++filter) {
            for (uint32_t part = 0u; part < pass->output_words; ++part) {
                output[part] = result[filter * parts + part];
            }
            output += pass->output_step / 4u;
        }
    }
}

PICOBNN_HOT(planes_mve_128) void picobnn_planes_mve_128(const picobnn_planes_mve_pass *pass)
{
    run_units(pass, 1u);
}

PICOBNN_HOT(planes_mve_64) void picobnn_planes_mve_64(const picobnn_planes_mve_pass *pass)
{
    run_units(pass, 2u);
}

PICOBNN_HOT(planes_mve_count)
void picobnn_planes_mve_count(const uint32_t *vectors, uint32_t groups, uint32_t *sums,
                              uint32_t *carries)
{
    uint32_t counters[4][PARTS] = {{0u}};

    for (; groups != 0u; --groups) {
        for (uint32_t part = 0u; part < PARTS; ++part) {
            counters[3][part] = 0u;
        }
        for (uint32_t i = 0u; i < 8u * PARTS; ++i) {
            add_word(counters, 4u, i % PARTS, *vectors++);
        }
        for (uint32_t part = 0u; part < PARTS; ++part) {
            *carries++ = counters[3][part];
        }
    }
    for (uint32_t i = 0u; i < 3u * PARTS; ++i) {
        sums[i] = counters[i / PARTS][i % PARTS];
    }
}

static uint32_t shifted(const uint32_t *low, uint32_t shift)
{
    return low[0] >> shift | low[1] << 1 << (31u - shift);
}

PICOBNN_HOT(planes_mve_gather_128)
void picobnn_planes_mve_gather_128(const uint32_t *low, uint32_t *vectors, uint32_t count,
                                   const picobnn_planes_mve_run *run)
{
    for (; count != 0u; --count, low += run->plane_bytes / 4u) {
        for (uint32_t part = 0u; part < PARTS; ++part) {
            *vectors++ = shifted(low + part, run->shift) & run->mask[part];
        }
    }
}

PICOBNN_HOT(planes_mve_gather_64)
void picobnn_planes_mve_gather_64(const uint32_t *low, uint32_t *vectors, uint32_t count,
                                  const picobnn_planes_mve_run *run)
{
    for (count *= 2u; count != 0u; --count, low += run->plane_bytes / 4u) {
        for (uint32_t part = 0u; part < 2u; ++part) {
            *vectors++ = shifted(low + part, run->shift) & run->mask[part];
        }
    }
}

#endif
