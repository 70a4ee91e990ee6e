/* SPDX-License-Identifier: MIT-0
 * picobnn rows kernels: binary convolution and dense layers, 32 output channels at a time.
 *
 * A weight row is one word: bit o is the weight of one input bit for output channel 32 * group + o.
 * The set input bits under the window select rows; bit-sliced counters add them up, all 32 lanes at
 * once. With u the weight bits, U1 the selected rows' bits of a lane, U and n the weight bits and
 * the number of all taps that count, and k the number of set input bits:
 *     acc = 4 * U1 - 2 * U - 2 * k + n,   so   acc >= T   where   2 * U1 - k - H >= 0,
 *     H = ceil((T + 2 * U - n) / 2).
 * -H is where the counters of a lane start, -k is one number for all lanes. Where most bits of a
 * map are set, the clear ones select rows: then acc and T change signs (T becomes 1 - T), the
 * result is inverted, and the counters have a second set of starts.
 *
 * Counter width: the final count is floor((acc - T) / 2). With -n <= acc <= n and T clamped to
 * -n .. n + 1 it lies in -(n + 1) .. n, and `planes` bits hold it when 2^(planes - 1) > n. What
 * happens above is lost without harm: sums are modulo 2^planes.
 *
 * Maps are "channel words": per pixel ceil(C / 32) words, channel c at bit c % 32 of word c / 32,
 * padding bits 0. Contract: all pointers are 4-byte aligned; input, output and scratch do not
 * overlap; output is written in full, padding bits as 0. Reentrant.
 */
#ifndef PICOBNN_ROWS_H
#define PICOBNN_ROWS_H

#include "picobnn_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What counters of `planes` bits hold; see above. */
#define PICOBNN_ROWS_MAX_TAPS(planes) ((1u << ((planes) - 1u)) - 1u)

/* Rows of one layer. A segment is what one list selects from: a kernel column (rows in the order
 * ky, channel), or all inputs of a dense layer; it ends with a row of zeros. */
typedef struct {
    uint32_t taps;         /* weights per filter, at most PICOBNN_ROWS_MAX_TAPS(planes) */
    uint32_t count;        /* output channels, at least 1 */
    uint32_t groups;       /* ceil(count / 32) */
    uint32_t planes;       /* bits of a counter, 9 to 16 */
    uint32_t start_sets;   /* sets of starts per polarity: 1, or one per kind of border position */
    uint32_t segments;     /* per group: kernel columns, or 1 */
    uint32_t segment_rows; /* without the row of zeros */
    uint32_t flip_above;   /* with more set bits in the map the clear ones select */
    uint32_t carry_words;  /* scratch for carries */
    uint32_t list_words;   /* scratch for one list: segment_rows rounded up to 8 */
    const uint32_t *weights;     /* groups x segments x (segment_rows + 1) */
    const uint32_t *starts;      /* 2 (set bits select, clear bits select) x start_sets x groups x
                                    planes, least significant plane first */
    const uint32_t *flips;       /* groups, applied before the pool; null: none */
    const uint32_t *final_flips; /* groups, applied after the pool; null: none */
} picobnn_rows_filters;

/* A convolution. pad_is_zero: taps outside the map count as 0, otherwise as -1. */
typedef struct {
    picobnn_conv2d_shape shape;
    picobnn_rows_filters filters;
    uint32_t pad_is_zero;
    const uint16_t *row_sets;    /* map_height: the set of starts is row_sets[y] + column_sets[x] */
    const uint16_t *column_sets; /* map_width; both null where there is one set */
} picobnn_rows_conv2d_layer;

/* A dense layer over `pixels` pixels of `channels` channels. */
typedef struct {
    uint32_t pixels;
    uint32_t channels;
    picobnn_rows_filters filters;
} picobnn_rows_dense_layer;

/* Convolution to channel words. scratch, in words: 4 * segments + 1, pixel words of the input,
 * groups, carry_words, segments * list_words. */
void picobnn_rows_conv2d_bits(const picobnn_rows_conv2d_layer *layer, const uint32_t *input,
                              uint32_t *output, uint32_t *scratch);

/* Dense layer to channel words. scratch, in words: 4, groups, carry_words, list_words. */
void picobnn_rows_dense_bits(const picobnn_rows_dense_layer *layer, const uint32_t *input,
                             uint32_t *output, uint32_t *scratch);

/* One list of the adder. A list holds byte offsets of rows from `rows`; its length is a multiple of
 * 8. All fields are byte offsets: of the list from `memory`, of the rows from `weights`. */
typedef struct {
    uint32_t begin;   /* never 0: a 0 ends the segments */
    uint32_t last_16; /* the list's end less 64, modulo 2^32 */
    uint32_t rows;
} picobnn_rows_segment;

/* What the adder does: for every group, start + the selected rows + addend, bit-sliced; the sign,
 * xored with `invert`, goes to words[group]. The assembly knows the order of the fields. */
typedef struct {
    const uint32_t *memory; /* the segments stand here */
    const uint32_t *weights;
    const uint32_t *starts; /* groups x planes */
    uint32_t *carries;      /* scratch */
    uint32_t *words;
    uint32_t addend;      /* in units of half a row */
    uint32_t planes;      /* 9 to 16 */
    uint32_t groups;      /* at least 1 */
    uint32_t group_bytes; /* of weights */
    uint32_t invert;
} picobnn_rows_job;

/* The adder: assembly on Cortex-M, C elsewhere. */
void picobnn_rows_add(const picobnn_rows_job *job);

#ifdef __cplusplus
}
#endif

#endif
