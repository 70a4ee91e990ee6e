/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel: binary convolution, 32 output pixels at a time.
 *
 * Maps are "pixel planes": per channel ceil(H * W / 32) words, pixel p = y * W + x at bit p % 32 of
 * word p / 32, padding bits 0. For 32 output pixels the kernel gathers one word per tap of the
 * window, counts them all once (X), and then adds per filter only the words whose weight bit is set
 * (or only those whose bit is clear, whichever are fewer): with S that sum,
 * acc = 4 S - 2 W - 2 X + n for +-1 weights and bits, W of n weights set. The counters are
 * bit-sliced and start at -floor(X / 2) - 1, so that the compare of 32 pixels with the threshold
 * is one addition of a constant, whose sign is the result.
 *
 * Contract: all pointers are 4-byte aligned; input, output and scratch do not overlap; output is
 * written in full, padding bits as 0. Reentrant. Time depends on the layer, never on the input.
 * Cycles on Cortex-M4, modelled, per 32 multiply-accumulates with padding of -1: 4.9 for 3x3x32
 * filters on 32 channels out, 4.2 for 3x3x64 on 64, 4.0 for 3x3x128 on 128, 5.3 for 1x1x64 on 128.
 */
#ifndef PICOBNN_PLANES_H
#define PICOBNN_PLANES_H

#include "picobnn_conv2d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The words of one tap: per 96 channels or less, one word each and then a zero word. In front of
 * the first tap stands a zero word. Taps go down the columns of the window. */
#define PICOBNN_PLANES_RUN 96u
#define PICOBNN_PLANES_MAX_BITS 12u
#define PICOBNN_PLANES_MAX_WORDS 4096u

/* Pixels of a block that lie alike in the map: which taps fall into the padding. */
typedef struct {
    uint32_t limit; /* offset of the limit of this class, in bytes */
    uint32_t mask;  /* the pixels */
} picobnn_planes_class;

/* What a core works on: all filters on the words of one block. Offsets are known to the assembly.
 *
 * A filter is two words and a list. Word 0: bits 31..24 groups of 16 entries - 1; 23..16 groups;
 * 15..0 bytes by which the window of indices advances per group. Word 1: bits 31..16 first word of
 * the window, signed; 15 a group of 8 follows; 13..1 constant; 0 halves round up where X is odd.
 * A list entry is a byte: the word's place in the window. */
typedef struct {
    uint32_t start[PICOBNN_PLANES_MAX_BITS]; /* 0: bit planes of -floor(X / 2) - 1 */
    uint32_t even;                           /* 48: pixels whose X is even */
    const uint32_t *filters;                 /* 52 */
    const uint8_t *lists;                    /* 56 */
    const uint32_t *words;                   /* 60 */
    uint32_t *output;                        /* 64: word of the first filter */
    uint32_t output_step;                    /* 68: bytes from filter to filter */
    uint32_t count;                          /* 72: filters, at least 1 */
    const uint16_t *limits;                  /* 76: cores with classes only, as the rest */
    uint32_t limit_step;                     /* 80: bytes from filter to filter */
    const picobnn_planes_class *classes;     /* 84 */
    const picobnn_planes_class *classes_end; /* 88: at least one class */
} picobnn_planes_pass;

typedef void picobnn_planes_core(const picobnn_planes_pass *pass);

/* Cores by bits per counter: 2 ** (bits - 1) is above n / 2 + 1. */
picobnn_planes_core picobnn_planes_core_7, picobnn_planes_core_8, picobnn_planes_core_9,
    picobnn_planes_core_10, picobnn_planes_core_11, picobnn_planes_core_12;

/* The same with one constant per filter and class, instead of the filter's own. */
picobnn_planes_core picobnn_planes_classes_7, picobnn_planes_classes_8, picobnn_planes_classes_9,
    picobnn_planes_classes_10, picobnn_planes_classes_11, picobnn_planes_classes_12;

/* The cores' compare in portable C: the sign of counters + constant, whose top bit says what to
 * make of it and whose lowest where odd X round up. */
PICOBNN_INLINE uint32_t picobnn_planes_compare(const uint32_t *counters, uint32_t bits,
                                               uint32_t limit, uint32_t even)
{
    uint32_t carry = (limit & 1u) != 0u ? even : 0xFFFFFFFFu;

    for (uint32_t bit = 0u; bit < bits - 1u; ++bit) {
        limit >>= 1;
        carry = (limit & 1u) != 0u ? (carry | counters[bit]) : (carry & counters[bit]);
    }
    return carry ^ counters[bits - 1u] ^ (0u - (limit >> 1 & 1u));
}

/* Counts the words from `words` to `end`, a multiple of 16, per bit: counters gets four planes,
 * carries one word of weight 16 per 16 words. carries may be words. */
void picobnn_planes_count(const uint32_t *words, const uint32_t *end, uint32_t *counters,
                          uint32_t *carries);

/* How words of consecutive planes are gathered: bits `shift` and up of the word found, and the bits
 * below from the word high_bytes (0 or 4) behind it, under a mask. */
typedef struct {
    uint32_t high_bytes;  /* 0: offsets that the assembly knows */
    uint32_t plane_bytes; /* 4 */
    uint32_t shift;       /* 8 */
    uint32_t mask;        /* 12 */
} picobnn_planes_run;

/* One word of each of `count` planes; low: the word of the first. */
void picobnn_planes_gather(const uint32_t *low, uint32_t *words, uint32_t count,
                           const picobnn_planes_run *run);

/* The input as the kernel reads it: by phases, each like a map with stride 1. */
typedef struct {
    const uint32_t *words; /* [phase_y][phase_x][channel][plane_words] */
    uint32_t width, plane_words, phase_words;
} picobnn_planes_phased_map;

typedef picobnn_planes_phased_map picobnn_planes_phases(const picobnn_conv2d_shape *shape,
                                                        const uint32_t *input, uint32_t *scratch);

/* For strides of 1: the input itself. For others: split into scratch. A layer names the one it
 * needs, so that the code of the other need not be in the image. */
picobnn_planes_phases picobnn_planes_one_phase, picobnn_planes_split_phases;

/* A convolution. Bits are (acc >= threshold) xor flip, with the flip inside the constants;
 * final_flips, one bit per filter, come after the pool and may be null.
 * Classes are those of rows times those of columns; without zero padding there is one. */
typedef struct {
    picobnn_conv2d_shape shape;
    uint32_t count; /* filters */
    uint32_t words; /* of a block, a multiple of 16 */
    picobnn_planes_phases *phases;
    picobnn_planes_core *core;
    const uint32_t *filters;       /* count x 2 */
    const uint8_t *lists;          /* 8 or 16 bytes per group */
    const uint16_t *limits;        /* count x classes, or null */
    const uint8_t *row_classes;    /* map_height, each a multiple of the classes of columns */
    const uint8_t *column_classes; /* map_width */
    uint32_t classes;
    const uint32_t *final_flips; /* ceil(count / 32) */
} picobnn_planes_conv2d_layer;

/* scratch in words: `words`, words / 16 rounded up to 16, then with strides the input by phases
 * (stride_y x stride_x maps of ceil(H / stride_y) x ceil(W / stride_x)), then with a pool the
 * planes of the map before it. Strides are 1 or 2. */
void picobnn_planes_conv2d_bits(const picobnn_planes_conv2d_layer *layer, const uint32_t *input,
                                uint32_t *output, uint32_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
