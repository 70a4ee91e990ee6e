/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels: binary convolution and dense layers from packed words.
 *
 * A set bit is +1, a clear bit is -1; acc = taps - 2 * popcount(x xor w). Maps are "channel words":
 * per pixel ceil(C / 32) words, channel c at bit c % 32 of word c / 32, padding bits 0. A filter is
 * one run of bits in the order (ky, kx, channel), padded with 0 to whole words.
 *
 * Contract: all pointers are 4-byte aligned; input, output and scratch do not overlap; output is
 * written in full, padding bits as 0. Reentrant.
 * Cycles on Cortex-M4 at -O2, modelled, per 32 multiply-accumulates: 11.9 with 9 words per filter,
 * 11.0 with 18, 10.3 with 36, 14.5 with 2 words and 11.8 with 32; borders in zero padding take
 * twice as long.
 */
#ifndef PICOBNN_XNOR_H
#define PICOBNN_XNOR_H

#include "picobnn_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weights per filter for which every count and limit fits its 16 bits. */
#define PICOBNN_XNOR_MAX_TAPS 32767u

/* Compares filters with a patch; the kernel's own. One per number of words that is frequent, so
 * that an image holds those that its layers name. */
struct picobnn_xnor_patch;
typedef uint32_t picobnn_xnor_compare(const uint32_t *w, const struct picobnn_xnor_patch *x,
                                      const uint16_t *limits, uint32_t lanes);
picobnn_xnor_compare picobnn_xnor_compare_2;   /* two words */
picobnn_xnor_compare picobnn_xnor_compare_few; /* one to eight */
picobnn_xnor_compare picobnn_xnor_compare_9;   /* nine */
picobnn_xnor_compare picobnn_xnor_compare_18;  /* a multiple of eighteen */
picobnn_xnor_compare picobnn_xnor_compare_any;

/* The filters of one layer. Either limits or multipliers and biases; the others are null.
 * taps is at most PICOBNN_XNOR_MAX_TAPS. */
typedef struct {
    uint32_t count;                /* filters, at least 1 */
    uint32_t words;                /* per filter: ceil(taps / 32) */
    uint32_t taps;                 /* weights per filter */
    const uint32_t *weights;       /* count x words */
    picobnn_xnor_compare *compare; /* with limits: what takes so many words */
    const uint16_t *limits; /* count: taps + 1 - threshold; bit = (taps - acc < limit) xor flip */
    const uint32_t *flips;  /* ceil(count / 32), applied before the pool; null: none */
    const uint32_t *final_flips; /* ceil(count / 32), applied after the pool; null: none */
    const int32_t *multipliers;  /* count: logit = acc * multiplier + bias */
    const int32_t *biases;       /* count */
} picobnn_xnor_filters;

/* A convolution. pad_is_zero: taps outside the map count as 0, otherwise as -1. */
typedef struct {
    picobnn_conv2d_shape shape;
    picobnn_xnor_filters filters;
    uint32_t pad_is_zero;
} picobnn_xnor_conv2d_layer;

/* A dense layer over `pixels` pixels of `channels` channels. */
typedef struct {
    uint32_t pixels;
    uint32_t channels;
    picobnn_xnor_filters filters;
} picobnn_xnor_dense_layer;

/* Convolution to channel words (limits). scratch: 1 + words words, 1 + 2 * words when
 * pad_is_zero and there is padding. */
void picobnn_xnor_conv2d_bits(const picobnn_xnor_conv2d_layer *layer, const uint32_t *input,
                              uint32_t *output, uint32_t *scratch);

/* Convolution to int32 H, W, C (multipliers and biases). scratch as above. */
void picobnn_xnor_conv2d_scale(const picobnn_xnor_conv2d_layer *layer, const uint32_t *input,
                               int32_t *output, uint32_t *scratch);

/* Dense layer to channel words. scratch: words words where pixels > 1 and channels % 32 != 0,
 * otherwise not used and may be null. */
void picobnn_xnor_dense_bits(const picobnn_xnor_dense_layer *layer, const uint32_t *input,
                             uint32_t *output, uint32_t *scratch);

/* Dense layer to int32. scratch as above. */
void picobnn_xnor_dense_scale(const picobnn_xnor_dense_layer *layer, const uint32_t *input,
                              int32_t *output, uint32_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
