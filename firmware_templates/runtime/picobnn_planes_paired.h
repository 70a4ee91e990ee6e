/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel, two filters at a time: picobnn_planes_conv2d_bits with other cores, other
 * records of filters and other lists.
 *
 * Of the words that the filters of a couple add, about a third are common to both. Those are added
 * once; the counters are kept and go on from there twice. Which of its words a filter adds, the set
 * or the clear ones, and which filters make a couple is chosen so that few words remain.
 *
 * Contract as of picobnn_planes.h; cycles on Cortex-M4, modelled, per 32 multiply-accumulates with
 * padding of -1: 4.0 for 3x3x32 filters on 32 channels out, 3.4 for 3x3x64 on 64, 3.1 for 3x3x128
 * on 128, 3.8 for 1x1x64 on 128.
 */
#ifndef PICOBNN_PLANES_PAIRED_H
#define PICOBNN_PLANES_PAIRED_H

#include "picobnn_planes.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `filters` of the layer and of the pass: 8 words per couple of filters, for an odd count with the
 * last filter in both places.
 *   0, 1  list of the common words
 *   2     bytes from the word of filter 0 to that of the first filter, in the output before a pool
 *   3, 4  list of the words that only the first filter adds
 *   5     as 2, of the second filter
 *   6, 7  list of the words that only the second filter adds
 * List word 0: bits 31..24 groups of 16 entries - 1; 23..16 groups; 15..0 bytes by which the window
 * of indices advances per group. List word 1: bits 31..16 first word of the window, signed; 15 a
 * group of 8 follows; 14 the list is the common one; 12..1 constant; 0 halves round up where X is
 * odd. The lists stand one behind the other. `limits`: in the order of the couples, both places. */
#define PICOBNN_PLANES_PAIRED_WORDS 8u

/* As picobnn_planes_core_7 and so on; output_step of the pass is not read. */
picobnn_planes_core picobnn_planes_paired_core_7, picobnn_planes_paired_core_8,
    picobnn_planes_paired_core_9, picobnn_planes_paired_core_10, picobnn_planes_paired_core_11,
    picobnn_planes_paired_core_12;
picobnn_planes_core picobnn_planes_paired_classes_7, picobnn_planes_paired_classes_8,
    picobnn_planes_paired_classes_9, picobnn_planes_paired_classes_10,
    picobnn_planes_paired_classes_11, picobnn_planes_paired_classes_12;

/* As picobnn_planes_paired_core_7, where every list has 16 entries, counted from word 0: list words
 * 0 are 0, and of list words 1 only the constant is not. */
picobnn_planes_core picobnn_planes_paired_small;

#ifdef __cplusplus
}
#endif

#endif
