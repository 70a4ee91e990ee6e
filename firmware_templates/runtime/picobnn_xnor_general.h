/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels, general form: weights of any two values, removed taps, groups.
 *
 * A clear weight bit stands for r, a set one for 2^k + r. With x and w the bits of the patch and of
 * a filter, D the number of kept taps where they differ and M the number of kept taps where x is
 * set, over n kept taps: acc = (2^k + 2r) M - 2^k D - r n. M is one number per patch where all taps
 * are kept, and is not needed where the two values add up to 0. In zero padding the patch is
 * gathered with clear and with set padding bits; what the padding adds cancels in the sum of the
 * two, which is twice acc.
 *
 * Contract: all pointers are 4-byte aligned; input, output and scratch do not overlap; output is
 * written in full, padding bits as 0. Reentrant. Sums are taken modulo 2^32; the generator shows
 * that acc and what it is compared with are less than 2^31 apart, doubled in zero padding.
 * Weights that are -1 and +1, all kept, in one group, run faster in picobnn_xnor.h.
 */
#ifndef PICOBNN_XNOR_GENERAL_H
#define PICOBNN_XNOR_GENERAL_H

#include "picobnn_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weights per filter for which every count fits 16 bits. */
#define PICOBNN_XNOR_GENERAL_MAX_TAPS 32767u

/* The filters of one layer. Either limits or multipliers and biases; the others are null. */
typedef struct {
    uint32_t groups;             /* at least 1 */
    uint32_t per_group;          /* filters per group; groups * per_group of them in all */
    uint32_t channels;           /* input channels per group */
    uint32_t words;              /* per filter: ceil(taps / 32) */
    uint32_t taps;               /* per filter, removed ones included */
    uint32_t shift;              /* k, 0 to 15 */
    uint32_t balance;            /* 2^k + 2r, modulo 2^32 */
    const uint32_t *weights;     /* filters x words: runs of bits (ky, kx, channel of the group) */
    const uint32_t *kept;        /* the same, 1 where a tap is kept; null: all are */
    const int32_t *limits;       /* filters: threshold + r n; bit = (acc + r n >= limit) xor flip */
    const uint32_t *flips;       /* ceil(filters / 32), applied before the pool; null: none */
    const uint32_t *final_flips; /* ceil(filters / 32), applied after the pool; null: none */
    const int32_t *multipliers;  /* filters: logit = (acc + r n) * multiplier + bias, mod 2^32 */
    const int32_t *biases;       /* filters */
} picobnn_xnor_general_filters;

/* A convolution, or a dense layer as one whose window is the map. pad_is_zero: taps outside the
 * map count as 0, otherwise as -1. */
typedef struct {
    picobnn_conv2d_shape shape;
    picobnn_xnor_general_filters filters;
    uint32_t pad_is_zero;
} picobnn_xnor_general_layer;

/* To channel words (limits), or to int32 H, W, C (multipliers and biases).
 * scratch: 1 + groups * words words, 1 + 2 * groups * words when pad_is_zero and there is padding.
 */
void picobnn_xnor_general(const picobnn_xnor_general_layer *layer, const uint32_t *input,
                          void *output, uint32_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
