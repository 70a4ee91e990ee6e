/* SPDX-License-Identifier: MIT-0
 * picobnn slice kernel: depthwise binary convolution, 32 channels at a time.
 *
 * A word holds 32 channels of a pixel, and of a tap the weights of those 32 channels. XOR with the
 * complement of the weights marks the lanes that agree; bit-sliced counters add the marks up. With
 * S the number of taps of a lane that agree, n the number of taps and N of those on the map,
 *     acc = 2 * S - n, so acc >= T where S >= t, t = ceil((T + n) / 2).
 * The counters of a lane start at k = 2^planes - 1 - t, one more comes in as a carry, and the
 * lane's bit is set when they overflow, however often. A lane whose t does not fit has its weights
 * complemented: then n - S taps agree, S >= t is where n - S >= n + 1 - t is false, and the lane's
 * bit of `inverts` is set. Flips before the pool are inverts too.
 *
 * Taps outside the map are clear bits, that is -1. Where they count as 0, a clear bit agrees with
 * the weights of -1, a constant: t = ceil((T + N) / 2) + the taps outside whose weight is -1, with
 * other starts for every kind of border position and nothing else to do at run time.
 *
 * Maps are "channel words": per pixel ceil(C / 32) words, channel c at bit c % 32 of word c / 32,
 * padding bits 0. Contract: all pointers are 4-byte aligned; input, output and scratch do not
 * overlap; output is written in full, padding bits as 0. Reentrant. Cycles do not depend on the
 * input. Modelled, per 32 multiply-accumulates of a 3x3 of 64 channels on 16x16 with padding -1:
 * Cortex-M4 10.1, M33 9.6, M0+ 13.1.
 */
#ifndef PICOBNN_SLICE_H
#define PICOBNN_SLICE_H

#include "picobnn_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Taps of a window; t of 0 to n + 1 fits PICOBNN_SLICE_MAX_PLANES bits. */
#define PICOBNN_SLICE_MAX_TAPS 510u
#define PICOBNN_SLICE_MAX_PLANES 9u

/* A depthwise convolution. The window goes over a strip: kernel_height rows of the map with their
 * padding, as words [group][column][slot]. Row r of the padded map stands in slot r mod
 * kernel_height, give or take a constant; so the weights of a column stand in the order of the
 * kernel rows, and once more but for the last: from the k-th on they fit slots rotated by k. */
typedef struct {
    picobnn_conv2d_shape shape;
    uint32_t taps;               /* kernel_height * kernel_width */
    uint32_t planes;             /* bits of a counter, at least 3 */
    uint32_t groups;             /* words per pixel */
    uint32_t columns;            /* of the strip */
    uint32_t span_count;         /* at least 1 */
    const uint32_t *weights;     /* complements: groups x kernel_width x (2 kernel_height - 1) */
    const uint32_t *starts;      /* sets x groups x (planes, least significant first; inverts) */
    const uint32_t *final_flips; /* groups, applied after the pool; null: none */
    const uint16_t *row_sets;    /* map_height: the set of starts is row_sets[y] + a span's; null:
                                    0 */
    const uint16_t *spans;       /* of a row of positions, from the left: how many positions share
                                    their starts, and the set */
} picobnn_slice_conv2d_layer;

/* Convolution to channel words. scratch, in words: groups x columns x kernel_height, and with a
 * pool groups x positions of all spans. */
void picobnn_slice_conv2d_bits(const picobnn_slice_conv2d_layer *layer, const uint32_t *input,
                               uint32_t *output, uint32_t *scratch);

/* A run of positions, of all groups; before them, where `count` is not 0, a row of the map goes
 * into the strip. The assembly knows the order of the fields and changes them. */
typedef struct {
    const uint32_t *strip;   /* first column under the window at the first position */
    const uint32_t *weights; /* rotated */
    const uint32_t *starts;  /* of the set */
    uint32_t *output;        /* of the first position */
    uint32_t strip_bytes;    /* from a group to the next */
    uint32_t positions;      /* 0: the row is copied only */
    uint32_t pixel_bytes;    /* from a position of the output to the next */
    uint32_t step_bytes;     /* from a position of the strip to the next */
    uint32_t groups;         /* at least 1 */
    uint32_t *slot;          /* of the first column that is copied */
    const uint32_t *from;    /* the row, or one word of 0 */
    uint32_t from_step;      /* bytes from a pixel to the next, 0 for one word */
    uint32_t from_group;     /* bytes from a group to the next, 0 for one word */
    uint32_t count;          /* columns that are copied */
} picobnn_slice_job;

/* Copies the row and runs a 3x3 window with 3 planes over the job's positions; step_bytes 12 or 24.
 * Assembly, on Cortex-M only. */
void picobnn_slice_3x3(picobnn_slice_job *job);

#ifdef __cplusplus
}
#endif

#endif
