/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernels with lists of 16-bit offsets: any two weight values, removed weights, and
 * lists that are made in RAM from packed or coded weights.
 *
 * As in picobnn_planes.h words of 32 output pixels are added in bit-sliced counters. With B1 the
 * set bits under the weights that are set and B all set bits under the window,
 * acc = 2 (2**k B1 + r B) + constant for weights of r and 2**k + r and inputs of -1 and +1. The
 * counters are those of 2**k: they start at floor(r B / 2**k), and what lies below 2**k enters the
 * compare as a carry, of which each block holds a table by the low k bits of the constant. Where a
 * filter's clear weights are fewer, those are added instead: r becomes -(2**k + r), the result is
 * inverted. Removed weights (ternary): B1 over the set ones and the clear bits under the others.
 *
 * Contract: as in picobnn_planes.h. Time depends on the layer, never on the input.
 * Cycles on Cortex-M4 (modelled): about 7 per listed word, block of 32 pixels and filter.
 */
#ifndef PICOBNN_PLANES_LISTS_H
#define PICOBNN_PLANES_LISTS_H

#include "picobnn_planes.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PICOBNN_PLANES_LISTS_MAX_SHIFT 6u
#define PICOBNN_PLANES_CODE_BITS 16u

/* What a core works on: filters times blocks. Offsets are known to the assembly.
 *
 * A block is a record: with classes their number and so many picobnn_planes_class, then the
 * counters' start (12 bit planes of floor(r B / 2**k)), then its words. Word 0 is 0; words 0 to
 * 2**k - 1 are the carries by the low k bits of the constant; then the taps, and with removed
 * weights their complements.
 *
 * A filter is a list: a head (bits 31..24 and 23..16: groups of 16 entries, at most 255; 15: a
 * group of 8 follows), the entries (16 bits, first the lower half: bytes from word 0 on), and
 * the constant (bits 19..8: the high bits, lowest first; 7..2: the low k bits). */
typedef struct {
    const uint32_t *list;      /* 0: of the first filter */
    const uint32_t *words;     /* 4: of the first block */
    const uint32_t *words_end; /* 8: those of the block behind the last */
    uint32_t words_step;       /* 12: bytes from block to block */
    uint32_t *output;          /* 16: word of the first filter and block */
    uint32_t output_step;      /* 20: bytes from behind a filter's last word to the next filter's */
    uint32_t count;            /* 24: filters, at least 1 */
    const uint16_t *limits;    /* 28: cores with classes only, as the rest */
    uint32_t limit_step;       /* 32: bytes from filter to filter */
    uint32_t shift;            /* 36: k */
    uint32_t mask;             /* 40: 2**k - 1 */
    uint32_t classes_back;     /* 44: bytes from the number of classes to word 0 */
} picobnn_planes_lists_pass;

typedef void picobnn_planes_lists_core(const picobnn_planes_lists_pass *pass);

/* Cores by bits per counter: sums and constants fit them, sign included. Few widths, so that the
 * layers of a network share them. */
picobnn_planes_lists_core picobnn_planes_lists_core_8, picobnn_planes_lists_core_10,
    picobnn_planes_lists_core_12;

/* The same with one constant per filter and class: the high bits above the low k. */
picobnn_planes_lists_core picobnn_planes_lists_classes_8, picobnn_planes_lists_classes_10,
    picobnn_planes_lists_classes_12;

/* Entry `index` of a list in RAM. */
PICOBNN_INLINE void picobnn_planes_put_entry(uint32_t *entries, uint32_t index, uint32_t offset)
{
    const uint32_t shift = 16u * (index & 1u);

    entries[index / 2u] = (entries[index / 2u] & ~(0xFFFFu << shift)) | offset << shift;
}

/* One entry per set bit of `words` words, at least 1, in order: offset + 4 * bit. Returns how many.
 */
uint32_t picobnn_planes_expand(const uint32_t *bits, uint32_t words, uint32_t offset,
                               uint32_t *entries);

/* Rice codes: a gap g >= 1 is q = (g - 1) >> k zeros, a one, and the low k bits of g - 1, all
 * codes one behind the other from the highest bit of a half-word down, at most 16 bits each. 16 - k
 * zeros skip (16 - k) << k places. Two readable half-words follow the codes. */
typedef struct {
    const uint16_t *codes; /* 0: offsets that the assembly knows */
    uint32_t bit;          /* 4: where the next code begins; the decoder moves it on */
    uint32_t low_bits;     /* 8: k, at most 12 */
    uint32_t offset;       /* 12: of the place before the first */
} picobnn_planes_codes;

/* `count` entries, at least 1. */
void picobnn_planes_decode(picobnn_planes_codes *codes, uint32_t count, uint32_t *entries);

typedef struct picobnn_planes_lists_layer picobnn_planes_lists_layer;

/* Runs all filters on the blocks of a pass, of which the caller has set all but list and count. RAM
 * for one list: list_words of the layer. */
typedef void picobnn_planes_lists_run(const picobnn_planes_lists_layer *layer,
                                      picobnn_planes_lists_pass *pass, uint32_t blocks,
                                      uint32_t *list);

/* Lists in flash; lists from one bit per tap, set where its word is added; lists from the codes of
 * the gaps between the words that are added. */
picobnn_planes_lists_run picobnn_planes_sparse, picobnn_planes_packed, picobnn_planes_coded;

/* A convolution. Bits are (acc >= threshold) xor flip, with the flip inside the constants;
 * final_flips, one bit per filter, come after the pool and may be null. */
struct picobnn_planes_lists_layer {
    picobnn_conv2d_shape shape;
    uint32_t count;          /* filters */
    uint32_t taps;           /* weights per filter */
    uint32_t shift;          /* k, at most PICOBNN_PLANES_LISTS_MAX_SHIFT */
    uint32_t ratio;          /* of r, without sign */
    uint32_t is_negative;    /* r is below 0 */
    uint32_t has_complement; /* removed weights; then k and r are 0 */
    uint32_t blocks;         /* at once; with lists in RAM each list serves so many */
    uint32_t record_words;   /* of a block */
    uint32_t list_words; /* of RAM for the longest list: head, entries in groups of 8, constant */
    uint32_t low_bits;   /* of codes */
    picobnn_planes_phases *phases;
    picobnn_planes_lists_core *core;
    picobnn_planes_lists_run *run;
    const uint32_t *lists;         /* sparse: all filters'; packed: bits, filters from words on */
    const uint16_t *counts;        /* coded: entries per filter; or null */
    const uint16_t *codes;         /* coded; or null */
    const uint16_t *limits;        /* count x classes; sparse with one class: null */
    const uint8_t *row_classes;    /* map_height, each a multiple of the classes of columns */
    const uint8_t *column_classes; /* map_width */
    uint32_t classes;
    const uint32_t *final_flips; /* ceil(count / 32) */
};

/* Fills up a list in RAM of `made` entries, and sets its head and the constant of its filter. */
PICOBNN_INLINE void picobnn_planes_close_list(const picobnn_planes_lists_layer *layer,
                                              uint32_t limit, uint32_t made, uint32_t *list)
{
    const uint32_t mask = (1u << layer->shift) - 1u;
    uint32_t eights;

    for (; made % 8u != 0u; ++made) {
        picobnn_planes_put_entry(list + 1, made, 0u);
    }
    eights = made / 8u;
    list[0] = (eights / 2u) << 24 | (eights / 2u) << 16 | (eights & 1u) << 15;
    list[1u + made / 2u] = (limit >> layer->shift) << 8 | (limit & mask) << 2;
}

/* scratch in words: list_words, taps / 16 rounded up to 16, blocks records, then as
 * picobnn_planes_conv2d_bits the input by phases and the map before a pool. */
void picobnn_planes_lists_conv2d_bits(const picobnn_planes_lists_layer *layer,
                                      const uint32_t *input, uint32_t *output, uint32_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
