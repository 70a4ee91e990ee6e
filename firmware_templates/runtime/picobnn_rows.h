/* SPDX-License-Identifier: MIT-0
 * picobnn rows kernels: binary convolution and dense layers, 32 output channels at a time.
 *
 * A weight row is one word: bit o is the weight of one input bit for output channel 32 * group + o.
 * The set input bits under the window select rows; bit-sliced counters add them up, all 32 lanes at
 * once. With u the weight bits, U1 the selected rows' bits of a lane, U and n the weight bits and
 * the number of all taps that count, and k the number of set input bits:
 *     acc = 4 * U1 - 2 * U - 2 * k + n,   so   acc >= T   where   2 * U1 - k - H >= 0,
 *     H = ceil((T + 2 * U - n) / 2).
 * -H is where the counters of a lane start, -k is one number for all lanes. Where most bits under
 * the windows of a row of positions (of a dense layer or a 1x1 window: of the position) are set,
 * the clear ones select rows: then acc and T change signs (T becomes 1 - T), the result is
 * inverted, and the counters have a second set of starts. So no input selects more than half.
 *
 * Counter width: the final count is floor((acc - T) / 2). With -n <= acc <= n and T clamped to
 * -n .. n + 1 it lies in -(n + 1) .. n, and `planes` bits hold it when 2^(planes - 1) > n, its
 * reach. What happens above is lost without harm: sums are modulo 2^planes.
 *
 * Weights of r and 2^s + r: acc = 2 * (2^s * U1 + r * k) - 2^s * U - r * n, so acc >= T where
 *     2^s * U1 + r * k - H >= 0,   H = ceil((T + 2^s * U + r * n) / 2).
 * Rows enter at weight 2, so with f = s - 1 >= 0 all is divided by 2^f: with r * k = 2^f * q + m,
 *     2 * U1 + q + floor((m - H) / 2^f) >= 0.
 * q is one number for all lanes; the last term is where the counters start, with one set of starts
 * per phase m. Powers of 2 in r leave fewer phases: r and f stand for r / 2^z and f - z then. s = 0
 * takes the double of all: 2 * U1 + 2 * r * k - 2 * H. The final count is floor((acc - T) / 2^s),
 * for s = 0 its double, and its reach floor(2 * B / 2^s) where B is the largest |acc|.
 *
 * Maps are "channel words": per pixel ceil(C / 32) words, channel c at bit c % 32 of word c / 32,
 * padding bits 0. Contract: all pointers are 4-byte aligned; input, output and scratch do not
 * overlap; output is written in full, padding bits as 0. Reentrant.
 * Cycles at half set bits, modelled, per 32 multiply-accumulates, Cortex-M4 and M0+: 3x3 32-32 on
 * 16x16 6.4 and 8.5, 3x3 128-128 on 8x8 3.7 and 4.8, dense 1024-256 4.4 and 5.8, 1x1 64-128 on
 * 16x16 7.9 and 9.7.
 */
#ifndef PICOBNN_ROWS_H
#define PICOBNN_ROWS_H

#include "picobnn_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What counters of `planes` bits hold; see above. */
#define PICOBNN_ROWS_MAX_REACH(planes) ((1u << ((planes) - 1u)) - 1u)

struct picobnn_rows_job;

/* What adds rows up; see picobnn_rows_job. */
typedef void picobnn_rows_adder(const struct picobnn_rows_job *job);

/* Rows of one layer. A segment of weights is a kernel column (rows in the order ky, channel), or
 * all inputs of a dense layer; it ends with a row of zeros. */
typedef struct {
    uint32_t reach;        /* of final counts, at most PICOBNN_ROWS_MAX_REACH(planes); see above */
    uint32_t count;        /* output channels, at least 1 */
    uint32_t groups;       /* ceil(count / 32) */
    uint32_t planes;       /* bits of a counter, 9 to 16 */
    uint32_t start_sets;   /* sets of starts per polarity: kinds of border positions x phases */
    uint32_t segments;     /* per group: kernel columns, or 1 */
    uint32_t segment_rows; /* without the row of zeros */
    uint32_t carry_words;  /* scratch for carries */
    uint32_t list_words;   /* scratch for lists */
    picobnn_rows_adder *add;     /* picobnn_rows_add, or another with its own form of rows */
    const uint32_t *weights;     /* groups x segments x (segment_rows + 1); see the adder for what
                                    stands in front */
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
    uint32_t row_taps;           /* taps that count, per kernel row of a row of positions; see
                                    column_runs for what is pointwise */
    const uint16_t *row_sets;    /* map_height: the set of starts is row_sets[y] + column_sets[x] */
    const uint16_t *column_sets; /* map_width; both null where there is one set */
    const uint16_t *column_runs; /* pairs: so many columns of the map in a row, each seen by so many
                                    windows of a row of positions; in all in_width columns. Null for
                                    a 1x1 window on every pixel without pool and final_flips */
} picobnn_rows_conv2d_layer;

/* A dense layer over `pixels` pixels of `channels` channels. */
typedef struct {
    uint32_t pixels;
    uint32_t channels;
    picobnn_rows_filters filters;
} picobnn_rows_dense_layer;

/* Words of scratch for segments: two and the 0 that ends them. */
#define PICOBNN_ROWS_SEGMENT_WORDS 7u

/* Convolution to channel words. scratch, in words: PICOBNN_ROWS_SEGMENT_WORDS, groups, carry_words,
 * segments, in_height, list_words. */
void picobnn_rows_conv2d_bits(const picobnn_rows_conv2d_layer *layer, const uint32_t *input,
                              uint32_t *output, uint32_t *scratch);

/* Dense layer to channel words. scratch as above, less segments and in_height. */
void picobnn_rows_dense_bits(const picobnn_rows_dense_layer *layer, const uint32_t *input,
                             uint32_t *output, uint32_t *scratch);

/* What selects rows: the set bits, or where `flip` is all ones the clear bits. The assembly knows
 * the order of the fields. */
typedef struct {
    uint32_t row_bytes; /* of the rows of a pixel: 4 x channels */
    uint32_t gap_bytes; /* from the end of a pixel to the next one */
    uint32_t flip;
    uint32_t last_flip; /* flip without the padding bits of a pixel's last word */
} picobnn_rows_selector;

/* Appends the selected rows of `count` >= 1 pixels to a list, as byte offsets from `row` on;
 * returns the list's end. Assembly on Cortex-M, C elsewhere. */
uint32_t *picobnn_rows_list(uint32_t *next, const uint32_t *pixel, uint32_t count, uint32_t row,
                            const picobnn_rows_selector *select);

/* Segments stand in scratch as three words each: byte offset of a list from `memory`; its end less
 * 64, modulo 2^32, the length being a multiple of 8 words; what is added to all its entries, as
 * byte offset from `weights`. A 0 ends the segments.
 *
 * What the adder does: for every group, start + the selected rows + addend, bit-sliced; the sign,
 * xored with `invert`, goes to words[group]. The assembly knows the order of the fields. */
typedef struct picobnn_rows_job {
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

/* The adder of weights r and 2^s + r: in front of the weights stand r and f (see above), two words.
 * A job's starts are those of phase 0, the other phases follow; its addend is minus the number of
 * selected rows. About 60 cycles more per position on Cortex-M4. */
void picobnn_rows_general_add(const picobnn_rows_job *job);

/* Makes of such a job one for an adder that knows no phases. */
void picobnn_rows_choose_phase(picobnn_rows_job *plain, const picobnn_rows_job *job);

#ifdef __cplusplus
}
#endif

#endif
