/* SPDX-License-Identifier: MIT-0
 * Internal to the subset kernel: its tables and filters, and how cores differ.
 *
 * The cores run all filters on the tables of some image rows for two map rows, and write per
 * block of 16 filters one word for the upper and one for the lower map row: compares of the left
 * position in bits 0 to 15, of the right one in bits 16 to 31, bit i for filter i of the block.
 * _halved writes one word per block, the OR of the two. Formats of the filters: picobnn_subset.h.
 */
#ifndef PICOBNN_SUBSET_CORES_H
#define PICOBNN_SUBSET_CORES_H

/* M profile: where there is Thumb-2 the tables are in picobnn_subset_tables_v7m.S and the filters
 * of three rows in picobnn_subset_v7m.S; else those filters are in picobnn_subset_v6m.S. The rest
 * is C. */
#if defined(__ARM_ARCH_PROFILE) && defined(__ARM_ARCH_ISA_THUMB)
#if __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB >= 2
#define PICOBNN_SUBSET_V7M 1
#elif __ARM_ARCH_PROFILE == 'M'
#define PICOBNN_SUBSET_V6M 1
#endif
#endif
#if !defined(PICOBNN_SUBSET_V7M)
#define PICOBNN_SUBSET_V7M 0
#endif
#if !defined(PICOBNN_SUBSET_V6M)
#define PICOBNN_SUBSET_V6M 0
#endif

#if !defined(__ASSEMBLER__)

#include "picobnn_subset.h"

#define PICOBNN_SUBSET_FIELDS 6u /* per word of indices */

#if defined(__GNUC__)
/* Keeps short loops from becoming calls of memset and memcpy. */
#define PICOBNN_SUBSET_KEEP_LOOP() __asm__ volatile("")
#else
#define PICOBNN_SUBSET_KEEP_LOOP() ((void)0)
#endif

/* Writes the tables of an image row: for `taps` taps from `bytes` on in the low lanes and from
 * bytes + lane on in the high ones, the signed sums of all patterns of every group. A group of one
 * or two taps gets eight entries. _thin: one group, of 1 to 5 taps. _any: groups of five taps, the
 * rest last, 32 words apart. _wide, for 6 to 9 taps: all but the last five, and 16 words behind
 * them those. `table` is 4-byte aligned. */
typedef void picobnn_subset_row_tables(uint32_t *table, const uint8_t *bytes, uint32_t lane,
                                       uint32_t taps);

picobnn_subset_row_tables picobnn_subset_tables_thin;
#if PICOBNN_SUBSET_V7M
picobnn_subset_row_tables picobnn_subset_tables_any;
picobnn_subset_row_tables picobnn_subset_tables_wide;
#else
PICOBNN_INLINE void picobnn_subset_tables_any(uint32_t *table, const uint8_t *bytes, uint32_t lane,
                                              uint32_t taps)
{
    for (; taps > 5u; taps -= 5u) {
        picobnn_subset_tables_thin(table, bytes, lane, 5u);
        table += 32;
        bytes += 5;
    }
    picobnn_subset_tables_thin(table, bytes, lane, taps);
}

PICOBNN_INLINE void picobnn_subset_tables_wide(uint32_t *table, const uint8_t *bytes, uint32_t lane,
                                               uint32_t taps)
{
    picobnn_subset_tables_thin(table, bytes, lane, taps - 5u);
    picobnn_subset_tables_thin(table + 16, bytes + (taps - 5u), lane, 5u);
}
#endif

/* Three kernel rows: rows[0] to rows[3] are where the tables of the image rows begin, in words from
 * `tables`; `count` is even, at least 2. */
typedef void picobnn_subset_core(const uint32_t *tables, const uint32_t *rows,
                                 const uint32_t *filters, uint32_t count, uint32_t *bits);

picobnn_subset_core picobnn_subset_thin;
picobnn_subset_core picobnn_subset_thin_halved;
picobnn_subset_core picobnn_subset_wide;
picobnn_subset_core picobnn_subset_wide_halved;

/* Any window: `places` are where each field finds its table, in words from `tables`, for the upper
 * and for the lower map row; 2 * PICOBNN_SUBSET_FIELDS per word of indices. */
typedef void picobnn_subset_core_any(const picobnn_subset_conv2d_layer *layer,
                                     const uint32_t *tables, const uint32_t *places,
                                     uint32_t *bits);

picobnn_subset_core_any picobnn_subset_any;
picobnn_subset_core_any picobnn_subset_any_halved;

#endif

#endif
