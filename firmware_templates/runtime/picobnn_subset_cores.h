/* SPDX-License-Identifier: MIT-0
 * Internal to the subset kernel: the filters of windows of three rows, and how cores differ.
 *
 * The functions run `count` (even, at least 2) filters on the tables of four image rows for two map
 * rows, and write per block of 16 filters one word for the upper and one for the lower map row:
 * compares of the left position in bits 0 to 15, of the right one in bits 16 to 31, bit i for
 * filter i of the block. _halved writes one word per block, the OR of the two. rows[0] to rows[3]
 * are where the tables of the image rows begin, in words from `tables`. Formats of the filters: see
 * picobnn_subset.h.
 */
#ifndef PICOBNN_SUBSET_CORES_H
#define PICOBNN_SUBSET_CORES_H

/* Thumb-2, M profile: the functions below are picobnn_subset_v7m.S. */
#if defined(__ARM_ARCH_PROFILE) && defined(__ARM_ARCH_ISA_THUMB)
#if __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB >= 2
#define PICOBNN_SUBSET_V7M 1
#endif
#endif
#if !defined(PICOBNN_SUBSET_V7M)
#define PICOBNN_SUBSET_V7M 0
#endif

#if !defined(__ASSEMBLER__)

#include <stdint.h>

#if defined(__GNUC__)
/* Keeps short loops from becoming calls of memset and memcpy. */
#define PICOBNN_SUBSET_KEEP_LOOP() __asm__ volatile("")
#else
#define PICOBNN_SUBSET_KEEP_LOOP() ((void)0)
#endif

typedef void picobnn_subset_core(const uint32_t *tables, const uint32_t *rows,
                                 const uint32_t *filters, uint32_t count, uint32_t *bits);

picobnn_subset_core picobnn_subset_thin;
picobnn_subset_core picobnn_subset_thin_halved;
picobnn_subset_core picobnn_subset_wide;
picobnn_subset_core picobnn_subset_wide_halved;

#endif

#endif
