/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels: the patch and what compares filters with it. Between picobnn_xnor.c, which
 * gathers patches, and picobnn_xnor_compare.c.
 */
#ifndef PICOBNN_XNOR_PATCH_H
#define PICOBNN_XNOR_PATCH_H

#include "picobnn_xnor.h"

#include "picobnn_xnor_count.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What all filters of a layer are compared with. `patches` is 1, or 2 in zero padding: then the
 * patch stands twice, with clear and with set bits in the padding, whose contributions cancel:
 * acc = taps - mismatches(first) - mismatches(second). Otherwise acc = taps - 2 * mismatches. */
typedef struct picobnn_xnor_patch {
    const uint32_t *bits; /* patches x words */
    uint32_t words, patches;
} patch;

/* Any number of words per filter. Without limits the mismatches are added to `sums` instead, and
 * `lanes` has no upper end. */
uint32_t picobnn_xnor_compare_runs(const uint32_t *w, const uint32_t *bits, uint32_t words,
                                   const uint16_t *limits, uint32_t lanes, uint32_t *sums);

/* The same as picobnn_xnor_compare_any in zero padding. */
picobnn_xnor_compare picobnn_xnor_compare_at_border;

/* A loop that no compiler turns into a call of memset. */
PICOBNN_INLINE void clear(uint32_t *words, uint32_t count)
{
    uint32_t zero = 0u;

    KEEP_IN_REGISTER(zero);
    for (; count != 0u; --count) {
        *words++ = zero;
    }
}

/* Adds the mismatches of `lanes` filters with every copy of the patch to sums. */
PICOBNN_INLINE void add_mismatches(const uint32_t *w, const patch *x, uint32_t lanes,
                                   uint32_t *sums)
{
    const uint32_t *bits = x->bits;

    for (uint32_t copies = x->patches; copies != 0u; --copies) {
        (void)picobnn_xnor_compare_runs(w, bits, x->words, NULL, lanes, sums);
        bits += x->words;
    }
}

#ifdef __cplusplus
}
#endif

#endif
