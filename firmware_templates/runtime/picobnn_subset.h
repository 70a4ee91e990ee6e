/* SPDX-License-Identifier: MIT-0
 * picobnn subset kernel: the first convolution, 8-bit image and +-1 weights, by subset-sum tables.
 *
 * acc = sum of (q - zero_point) * w; outside the image q is the zero point, so padding adds 0. The
 * image is H, W, C bytes. Thresholds of every sign, pools of every shape: a pool is the OR of its
 * compares, because filters with a flip are stored negated unless the flip comes after the pool.
 *
 * Contract: output, scratch and all tables are 4-byte aligned, input may have any alignment; input,
 * output and scratch do not overlap; output is written in full, padding bits as 0. Reentrant. Time
 * depends on the sizes only, not on the image.
 *
 * How it works. A kernel row of n = kernel_width * in_channels taps is cut into groups of at most
 * five; the table of a group holds the signed sums of all its weight patterns, in two 16-bit lanes
 * for two neighbouring positions of a map row. The tables of a row are built once and serve every
 * kernel row that meets it: columns run outside, rows inside, and kernel_height + stride_y rows are
 * kept. A filter then adds one entry per group, for two map rows at a time, so four positions per
 * decoded index. Its offset puts 2^15 into a lane exactly at the threshold: bits 15 and 31 are the
 * results. 255 * taps < 2^15, so lanes never overflow.
 *
 * Cycles per 32 multiply-accumulates at -O2, modelled, 3x3 on 32x32x3 with 32 filters: Cortex-M4
 * 18.4, M33 16.9, M0+ 32.5; on 28x28x1 with a 2x2 pool 30.3, 27.9 and 54.9.
 */
#ifndef PICOBNN_SUBSET_H
#define PICOBNN_SUBSET_H

#include "picobnn_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A filter is index_words words of indices and its offset, (2^15 - T) * 65537 modulo 2^32, where T
 * is the threshold plus zero_point times the sum of the weights. Filters come in even number: the
 * last may be one that never fires. Fields of the indices, from bit 0:
 *   _any   kernel rows, in them groups of five taps, the rest last: 5 bits each, 6 per word; the
 *          table of a group stands 32 words behind that of the group before
 *   _thin  the same with 3 kernel rows of 1 to 5 taps: one word
 *   _wide  3 kernel rows of 6 to 9 taps: 4 bits for all but the last five taps, 6 bits for those,
 *          counted from 16, where their table begins: one word */
typedef struct {
    picobnn_conv2d_shape shape;
    uint32_t zero_point;     /* 0 to 255 */
    uint32_t count;          /* filters, at least 1 */
    uint32_t taps;           /* per kernel row */
    uint32_t groups;         /* of taps, per kernel row */
    uint32_t row_words;      /* tables of one image row */
    uint32_t index_words;    /* per filter */
    const uint32_t *filters; /* count rounded up to even, times index_words + 1 */
    const uint32_t *flips;   /* ceil(count / 32), applied after the pool; null: none */
} picobnn_subset_conv2d_layer;

/* Convolutions to channel words. scratch, in words: (kernel_height + stride_y) * (1 + row_words) +
 * 4 * ceil(count / 32) + ceil((kernel_width + stride_x) * in_channels / 4); _any 1 + 12 *
 * index_words more. _thin and _wide need 3 kernel rows and stride_y 1. No suffix: no pool. _pooled:
 * any pool. _halved: a pool of 2x2, stride 2, without padding. */
typedef void picobnn_subset_conv2d_function(const picobnn_subset_conv2d_layer *layer,
                                            const uint8_t *input, uint32_t *output,
                                            uint32_t *scratch);

picobnn_subset_conv2d_function picobnn_subset_conv2d_any;
picobnn_subset_conv2d_function picobnn_subset_conv2d_any_pooled;
picobnn_subset_conv2d_function picobnn_subset_conv2d_any_halved;
picobnn_subset_conv2d_function picobnn_subset_conv2d_thin;
picobnn_subset_conv2d_function picobnn_subset_conv2d_thin_pooled;
picobnn_subset_conv2d_function picobnn_subset_conv2d_thin_halved;
picobnn_subset_conv2d_function picobnn_subset_conv2d_wide;
picobnn_subset_conv2d_function picobnn_subset_conv2d_wide_pooled;
picobnn_subset_conv2d_function picobnn_subset_conv2d_wide_halved;

#ifdef __cplusplus
}
#endif

#endif
