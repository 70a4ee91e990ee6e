/* SPDX-License-Identifier: MIT-0
 * picobnn rows adder for vectors: what is not assembly. Contracts stand in picobnn_rows_mve.h.
 */
#include "picobnn_rows_mve.h"

#define GROUPS_PER_VECTOR 4u

void picobnn_rows_mve_add(const picobnn_rows_job *job)
{
    const uint32_t groups = job->groups / GROUPS_PER_VECTOR * GROUPS_PER_VECTOR;

    if (groups != 0u) {
        picobnn_rows_mve_vectors(job);
    }
    if (groups != job->groups) {
        picobnn_rows_job rest = *job;

        rest.weights += groups * (job->group_bytes / 4u);
        rest.starts += groups * job->planes;
        rest.words += groups;
        rest.groups -= groups;
        picobnn_rows_add(&rest);
    }
}

void picobnn_rows_mve_general_add(const picobnn_rows_job *job)
{
    picobnn_rows_job plain;

    picobnn_rows_choose_phase(&plain, job);
    picobnn_rows_mve_add(&plain);
}

#if !defined(__ARM_FEATURE_MVE)

/* Adds the words of one weight in four groups to their counters, from plane 1 on. */
static void add_row(uint32_t (*counters)[GROUPS_PER_VECTOR], uint32_t planes, const uint32_t *row)
{
    for (uint32_t group = 0u; group < GROUPS_PER_VECTOR; ++group) {
        uint32_t carry = row[group];

        for (uint32_t plane = 1u; plane < planes && carry != 0u; ++plane) {
            const uint32_t sum = counters[plane][group] ^ carry;

            carry &= counters[plane][group];
            counters[plane][group] = sum;
        }
    }
}

/* The sign of a count plus the addend. */
static uint32_t sign_of(const uint32_t (*counters)[GROUPS_PER_VECTOR], uint32_t group,
                        const picobnn_rows_job *job)
{
    const uint32_t last = job->planes - 1u;
    uint32_t carry = 0u;

    for (uint32_t plane = 0u; plane < last; ++plane) {
        const uint32_t count = counters[plane][group];

        carry = (job->addend >> plane & 1u) != 0u ? (carry | count) : (carry & count);
    }
    return carry ^ counters[last][group] ^ (0u - (job->addend >> last & 1u));
}

PICOBNN_HOT(rows_mve_vectors) void picobnn_rows_mve_vectors(const picobnn_rows_job *job)
{
    const uint32_t *weights = job->weights;
    const uint32_t *starts = job->starts;
    uint32_t *words = job->words;

    for (uint32_t left = job->groups / GROUPS_PER_VECTOR; left != 0u; --left) {
        uint32_t counters[16][GROUPS_PER_VECTOR];

        for (uint32_t plane = 0u; plane < job->planes; ++plane) {
            for (uint32_t group = 0u; group < GROUPS_PER_VECTOR; ++group) {
                counters[plane][group] = *starts++;
            }
        }
        for (const uint32_t *segment = job->memory; *segment != 0u; segment += 3) {
            const uint32_t *next = job->memory + segment[0] / 4u;
            const uint32_t *const end = job->memory + (segment[1] + 64u) / 4u;

            for (; next != end; ++next) {
                add_row(counters, job->planes,
                        weights + GROUPS_PER_VECTOR * ((*next + segment[2]) / 4u));
            }
        }
        for (uint32_t group = 0u; group < GROUPS_PER_VECTOR; ++group) {
            *words++ =
                sign_of((const uint32_t (*)[GROUPS_PER_VECTOR])counters, group, job) ^ job->invert;
        }
        weights += GROUPS_PER_VECTOR * (job->group_bytes / 4u);
    }
}

#endif
