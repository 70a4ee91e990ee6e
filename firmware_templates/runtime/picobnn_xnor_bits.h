/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels: runs of bits without gaps, as patches are gathered. Part of picobnn_xnor.c
 * and picobnn_xnor_general.c.
 */
#ifndef PICOBNN_XNOR_BITS_H
#define PICOBNN_XNOR_BITS_H

#include "picobnn_runtime.h"

/* Appends runs of bits without gaps. */
typedef struct {
    uint32_t *next;
    uint32_t word, fill; /* fill: bits used of word, 0 to 31 */
} bit_writer;

/* count is 1 to 32; the bits of value above count are 0. */
PICOBNN_INLINE void append_bits(bit_writer *writer, uint32_t value, uint32_t count)
{
    const uint32_t fill = writer->fill;

    writer->word |= value << fill;
    writer->fill += count;
    if (writer->fill >= 32u) {
        *writer->next++ = writer->word;
        writer->fill -= 32u;
        writer->word = (value >> 1) >> (31u - fill);
    }
}

PICOBNN_INLINE uint32_t *end_bits(bit_writer *writer)
{
    if (writer->fill != 0u) {
        *writer->next++ = writer->word;
    }
    return writer->next;
}

#endif
