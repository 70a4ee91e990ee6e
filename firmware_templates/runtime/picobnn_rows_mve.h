/* SPDX-License-Identifier: MIT-0
 * picobnn rows kernels for cores with vectors (MVE): 128 output channels at a time.
 *
 * The method, the maps and the calls are those of picobnn_rows.h with another adder. Of the groups
 * of 32 channels four at a time are a vector: a row of theirs is 16 bytes, so weights are vectors x
 * segments x (segment_rows + 1) x 4 words, starts per set vectors x planes x 4 words. Up to three
 * groups are left over; their weights and starts follow in the form of picobnn_rows.h, and
 * picobnn_rows_add runs them.
 *
 * The vector unit must be enabled (CPACR, coprocessors 10 and 11), as the board's start-up code
 * does; an interrupt handler that uses vectors or floats stacks them by itself.
 * Cycles at half set bits on Cortex-M55, modelled without a band, per 32 multiply-accumulates: 3x3
 * 128-128 on 8x8 1.6, dense 1024-256 2.0.
 */
#ifndef PICOBNN_ROWS_MVE_H
#define PICOBNN_ROWS_MVE_H

#include "picobnn_rows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The adder of picobnn_rows_filters. Carries: 4 words for every 8 rows, for 4 rests, and 9 more. */
void picobnn_rows_mve_add(const picobnn_rows_job *job);

/* The same for weights of any two values; see picobnn_rows_general_add. */
void picobnn_rows_mve_general_add(const picobnn_rows_job *job);

/* The vectors of a job, at least one: groups beyond a multiple of four are left alone. Assembly on
 * cores with vectors, C elsewhere. */
void picobnn_rows_mve_vectors(const picobnn_rows_job *job);

#ifdef __cplusplus
}
#endif

#endif
