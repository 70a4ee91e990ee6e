/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel for cores with vectors (MVE): binary convolution, 128 lanes at a time.
 *
 * The method and the maps are those of picobnn_planes.h. A vector is one word of 128 bits: either
 * 128 output pixels of one filter, or 64 pixels of two filters side by side, each with a list of
 * its own; the second form serves small maps. What runs at a time is called a unit: one filter, or
 * two. Lists are offsets of 16 bits, so that an address is one addition.
 *
 * Contract: all pointers are 4-byte aligned; input, output and scratch do not overlap; output is
 * written in full, padding bits as 0. Reentrant. Time depends on the layer, never on the input. The
 * vector unit must be enabled (CPACR, coprocessors 10 and 11), as the board's start-up code does;
 * an interrupt handler that uses vectors or floats stacks them by itself.
 * Cycles on Cortex-M55, modelled without a band, per 32 multiply-accumulates with padding of
 * -1: 1.9 for 3x3x32 filters on 32 channels out of 16x16 pixels, 2.1 for 3x3x64 on 64 out of
 * 8x8, 2.4 for 1x1x64 on 128 out of 16x16.
 */
#ifndef PICOBNN_PLANES_MVE_H
#define PICOBNN_PLANES_MVE_H

#include "picobnn_planes.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Words of 32 lanes in a vector. */
#define PICOBNN_PLANES_MVE_PARTS 4u
/* Offsets in bytes fit 16 bits: words of a block in the form for 128 and for 64 pixels. */
#define PICOBNN_PLANES_MVE_MAX_WORDS 4096u

/* Pixels of a block that lie alike in the map: which taps fall into the padding. */
typedef struct {
    uint32_t limits;                         /* offset of the limits of this class, in bytes */
    uint32_t mask[PICOBNN_PLANES_MVE_PARTS]; /* the pixels; for two filters, twice */
} picobnn_planes_mve_class;

/* What the adder works on: all units on the vectors of one block. The assembly knows the order.
 *
 * A unit's list: a word, the groups of 8 additions, at least 1; then per group 8 offsets of 16 bits
 * from `words` (for two filters: 4 of the first, 4 of the second, 4 of the first, 4 of the second).
 * Its limits, per class: `bits` + 1 values of 16 bits, one bit per byte of a vector: whether halves
 * round up where X is odd; the constant's bits but the last; whether the sign is inverted. */
typedef struct {
    uint32_t start[PICOBNN_PLANES_MAX_BITS][PICOBNN_PLANES_MVE_PARTS]; /* -floor(X / 2) - 1 */
    uint32_t even[PICOBNN_PLANES_MVE_PARTS];     /* 192: pixels whose X is even */
    const uint32_t *lists;                       /* 208 */
    const uint32_t *words;                       /* 212 */
    const uint16_t *limits;                      /* 216 */
    uint32_t limit_step;                         /* 220: bytes from unit to unit */
    const picobnn_planes_mve_class *classes;     /* 224 */
    const picobnn_planes_mve_class *classes_end; /* 228: at least one class */
    uint32_t *output;      /* 232: the block's first word in the plane of the first filter */
    uint32_t output_step;  /* 236: bytes from filter to filter */
    uint32_t count;        /* 240: filters, at least 1 */
    uint32_t bits;         /* 244: of a counter, 7 to PICOBNN_PLANES_MAX_BITS */
    uint32_t output_words; /* 248: of the block in a plane */
    uint32_t *carries;     /* 252: scratch, a vector per group of the longest list and 8 more */
} picobnn_planes_mve_pass;

typedef void picobnn_planes_mve_core(const picobnn_planes_mve_pass *pass);

/* Adders: assembly on cores with vectors, C elsewhere. */
picobnn_planes_mve_core picobnn_planes_mve_128, picobnn_planes_mve_64;

/* Counts `groups` x 8 vectors per lane: three planes of sums, lowest first, and per group a vector
 * of weight 8 in carries, which may be the vectors. */
void picobnn_planes_mve_count(const uint32_t *vectors, uint32_t groups, uint32_t *sums,
                              uint32_t *carries);

/* How vectors of consecutive planes are gathered; the assembly knows the order. */
typedef struct {
    uint32_t plane_bytes;
    uint32_t shift;                          /* 0 to 31 */
    uint32_t mask[PICOBNN_PLANES_MVE_PARTS]; /* for planes side by side, twice */
} picobnn_planes_mve_run;

/* Per plane, or for the form of 64 pixels per two planes side by side, `count` >= 1 vectors: the
 * bits from `shift` of the word at `low` on, under the mask. The words behind those are read too.
 */
typedef void picobnn_planes_mve_gather(const uint32_t *low, uint32_t *vectors, uint32_t count,
                                       const picobnn_planes_mve_run *run);
picobnn_planes_mve_gather picobnn_planes_mve_gather_128, picobnn_planes_mve_gather_64;

/* A convolution. Flips as in picobnn_planes.h; classes are those of rows times those of columns. */
typedef struct {
    picobnn_conv2d_shape shape;
    uint32_t count;         /* filters */
    uint32_t words;         /* of a block, a multiple of 16 */
    uint32_t carry_vectors; /* see the pass */
    uint32_t parts;         /* of a vector per block: 4 of 128 pixels, 2 of 64 */
    uint32_t bits;
    picobnn_planes_phases *phases;
    picobnn_planes_mve_core *core; /* the form for `parts` */
    const uint32_t *lists;
    const uint16_t *limits;        /* units x classes x (bits + 1) */
    const uint8_t *row_classes;    /* map_height, each a multiple of the classes of columns */
    const uint8_t *column_classes; /* map_width; both null where there is one class */
    uint32_t classes;
    const uint32_t *final_flips; /* ceil(count / 32), or null */
} picobnn_planes_mve_conv2d_layer;

/* scratch in words: `words` x `parts`; `words` and `words` / 16 rounded up to 16, or if that is
 * more 4 x carry_vectors; 5 x the greater of 1 and the least of `classes` and 32 x parts; then
 * phases and maps as in picobnn_planes.h. Strides are 1 or 2. */
void picobnn_planes_mve_conv2d_bits(const picobnn_planes_mve_conv2d_layer *layer,
                                    const uint32_t *input, uint32_t *output, uint32_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
