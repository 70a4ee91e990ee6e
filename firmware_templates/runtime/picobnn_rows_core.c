/* SPDX-License-Identifier: MIT-0
 * picobnn rows adder and lists in portable C, for cores without an assembly form. Contracts and the
 * identity stand in picobnn_rows.h.
 */
#include "picobnn_rows.h"

#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_8M_MAIN__) ||      \
    defined(__ARM_ARCH_8_1M_MAIN__) || defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

/* The assembly knows these. */
typedef char job_is_ten_words[offsetof(picobnn_rows_job, invert) == 36u ? 1 : -1];
typedef char selector_is_four_words[offsetof(picobnn_rows_selector, last_flip) == 12u ? 1 : -1];

#else

#include "picobnn_adders.h"

PICOBNN_HOT(rows_list)
uint32_t *picobnn_rows_list(uint32_t *next, const uint32_t *pixel, uint32_t count, uint32_t row,
                            const picobnn_rows_selector *select)
{
    for (; count != 0u; --count) {
        const uint32_t end = row + select->row_bytes;

        for (; row < end; row += 128u) {
            const uint32_t flip = end - row <= 128u ? select->last_flip : select->flip;
            uint32_t entry = row;

            for (uint32_t bits = *pixel++ ^ flip; bits != 0u; bits >>= 1) {
                if ((bits & 1u) != 0u) {
                    *next++ = entry;
                }
                entry += 4u;
            }
        }
        row = end;
        pixel += select->gap_bytes / 4u;
    }
    return next;
}

PICOBNN_HOT(rows_add) void picobnn_rows_add(const picobnn_rows_job *job)
{
    const uint32_t *memory = job->memory;
    const uint32_t *weights = job->weights;
    const uint32_t *starts = job->starts;

    for (uint32_t group = 0u; group < job->groups; ++group) {
        uint32_t count[16] = {0u};
        uint32_t carry = 0u;

        for (uint32_t plane = 0u; plane < job->planes; ++plane) {
            count[plane] = starts[plane];
        }
        for (const uint32_t *segment = memory; *segment != 0u; segment += 3) {
            const uint32_t *next = memory + segment[0] / 4u;
            const uint32_t *end = memory + (segment[1] + 64u) / 4u;
            const uint32_t base = segment[2];

            for (; next != end; next += 4) {
                uint32_t low = picobnn_full_adder(&count[1], weights[(next[0] + base) / 4u],
                                                  weights[(next[1] + base) / 4u]);
                uint32_t high = picobnn_full_adder(&count[1], weights[(next[2] + base) / 4u],
                                                   weights[(next[3] + base) / 4u]);

                carry = picobnn_full_adder(&count[2], low, high);
                for (uint32_t plane = 3u; carry != 0u && plane < job->planes; ++plane) {
                    const uint32_t sum = count[plane] ^ carry;

                    carry &= count[plane];
                    count[plane] = sum;
                }
            }
        }
        carry = 0u;
        for (uint32_t plane = 0u; plane + 1u < job->planes; ++plane) {
            carry = picobnn_full_adder(&count[plane], carry, 0u - ((job->addend >> plane) & 1u));
        }
        carry ^= count[job->planes - 1u] ^ (0u - ((job->addend >> (job->planes - 1u)) & 1u));
        job->words[group] = carry ^ job->invert;
        weights += job->group_bytes / 4u;
        starts += job->planes;
    }
}

#endif
