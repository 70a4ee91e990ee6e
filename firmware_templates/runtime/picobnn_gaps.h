/* SPDX-License-Identifier: MIT-0
 * picobnn gaps kernel: dense layers with few ones, or few zeros, among their weights.
 *
 * Flash names the weights that are fewer, set or clear ones; d counts the set inputs under those of
 * a filter, p all set inputs. With K weights named out of n, a clear one r and a set one 2^k + r:
 *   set ones named:    acc =  2^(k+1) d + 2 r p         - 2^k K - r n
 *   clear ones named:  acc = -2^(k+1) d + 2 (2^k + r) p + 2^k K - (2^k + r) n
 * Both are factor * d + balance * p + constant, and limits and biases hold the constant.
 *
 * The input is channel words: per pixel ceil(C / 32) words, channel c at bit c % 32 of word c / 32,
 * padding bits 0. A filter is a chain of runs, bytes without alignment:
 *   eights       groups of eight entries, 0 to 255
 *   rest         entries behind them, 0 to 7, and 8 in the last run of a filter
 *   skip         words from the last word of the run before (at first: word 0) to where the run
 *                begins
 *   entries      bits 5 to 7: words to go on; then bit (entry - 1) % 32 of that word is counted
 * A gap of more than seven words, or more than 2047 entries, begin a run.
 *
 * Contract: all pointers but gaps are 4-byte aligned; input and output do not overlap; output is
 * written in full, padding bits as 0. Reentrant. No branch depends on the input. Sums are taken
 * modulo 2^32; the generator shows that what limits are compared with is less than 2^31 apart from
 * them. Damaged gaps end where a rest of 8 or more stands: check the weights before a run.
 */
#ifndef PICOBNN_GAPS_H
#define PICOBNN_GAPS_H

#include "picobnn_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Words of input whose set bits fit the 16-bit halves in which they are counted. */
#define PICOBNN_GAPS_MAX_WORDS 4095u

/* One layer. Either limits or multipliers and biases; the others are null. */
typedef struct {
    uint32_t words;             /* of the input: pixels * ceil(C / 32) */
    uint32_t count;             /* filters, at least 1 */
    uint32_t factor;            /* of d, modulo 2^32 */
    uint32_t balance;           /* of p, modulo 2^32; 0: p is not counted */
    const uint8_t *gaps;        /* runs, filter after filter */
    const int32_t *limits;      /* count: bit = (factor d + balance p >= limit) xor flip */
    const uint32_t *flips;      /* ceil(count / 32); null: none */
    const int32_t *multipliers; /* count: logit = (factor d + balance p) * multiplier + bias */
    const int32_t *biases;      /* count */
} picobnn_gaps_layer;

/* To channel words (limits). scratch is not used and may be null. */
void picobnn_gaps_bits(const picobnn_gaps_layer *layer, const uint32_t *input, uint32_t *output,
                       uint32_t *scratch);

/* To int32 (multipliers and biases), modulo 2^32. scratch as above. */
void picobnn_gaps_scale(const picobnn_gaps_layer *layer, const uint32_t *input, int32_t *output,
                        uint32_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
