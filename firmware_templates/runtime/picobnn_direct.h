/* SPDX-License-Identifier: MIT-0
 * picobnn direct kernel: the first convolution, 8-bit image and +-1 weights.
 *
 * acc = sum of (q - zero_point) * w; outside the image q is the zero point, so padding adds 0. The
 * image is H, W, C bytes. A filter is one run of bits in the order (ky, kx, channel), a set bit is
 * +1.
 *
 * Contract: output, scratch and all tables are 4-byte aligned, input may have any alignment; input,
 * output and scratch do not overlap; output is written in full, padding bits as 0. Reentrant.
 * Cycles on Cortex-M4 at -O2, modelled: about 68 per filter and position with 9 taps and 32
 * filters.
 */
#ifndef PICOBNN_DIRECT_H
#define PICOBNN_DIRECT_H

#include "picobnn_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weights per filter for which every accumulator, threshold and their difference fit int32. */
#define PICOBNN_DIRECT_MAX_TAPS 4194303u

/* Either thresholds or multipliers and biases; the others are null. |acc| <= 255 * taps fits int32;
 * every threshold is in -255 * taps .. 255 * taps + 1. */
typedef struct {
    picobnn_conv2d_shape shape;
    uint32_t zero_point; /* 0 to 255 */
    uint32_t count;      /* filters, at least 1 */
    uint32_t taps;       /* weights per filter; a filter takes ceil(taps / 32) words */
    const uint32_t *weights;
    const int32_t *thresholds;   /* count: bit = (acc >= threshold) xor flip */
    const uint32_t *flips;       /* ceil(count / 32), applied before the pool; null: none */
    const uint32_t *final_flips; /* ceil(count / 32), applied after the pool; null: none */
    const int32_t *multipliers;  /* count: logit = acc * multiplier + bias */
    const int32_t *biases;       /* count */
} picobnn_direct_conv2d_layer;

/* Convolution to channel words (thresholds). scratch: 16 * ceil(taps / 4) words. */
void picobnn_direct_conv2d_bits(const picobnn_direct_conv2d_layer *layer, const uint8_t *input,
                                uint32_t *output, uint32_t *scratch);

/* Convolution to int32 H, W, C (multipliers and biases). scratch as above. */
void picobnn_direct_conv2d_scale(const picobnn_direct_conv2d_layer *layer, const uint8_t *input,
                                 int32_t *output, uint32_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
