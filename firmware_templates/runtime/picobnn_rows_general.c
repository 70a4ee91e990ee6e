/* SPDX-License-Identifier: MIT-0
 * picobnn rows adder for weights of any two values r and 2^s + r. Contracts and the identity stand
 * in picobnn_rows.h.
 */
#include "picobnn_rows.h"

void picobnn_rows_choose_phase(picobnn_rows_job *plain, const picobnn_rows_job *job)
{
    const uint32_t fraction = job->weights[-1]; /* at most 14 */
    /* r * k modulo 2^32; counters have 16 bits at most, so that the shift may bring in zeros. */
    const uint32_t product = job->weights[-2] * (0u - job->addend);
    const uint32_t phase = product & ((1u << fraction) - 1u);

    *plain = *job;
    plain->addend = product >> fraction;
    plain->starts += phase * job->groups * job->planes;
}

void picobnn_rows_general_add(const picobnn_rows_job *job)
{
    picobnn_rows_job plain;

    picobnn_rows_choose_phase(&plain, job);
    picobnn_rows_add(&plain);
}
