/* SPDX-License-Identifier: MIT-0
 * Bits of planes, and what the parts of the planes kernel call of each other. Not for applications.
 */
#ifndef PICOBNN_PLANES_MAP_H
#define PICOBNN_PLANES_MAP_H

#include "picobnn_planes.h"

/* Bits begin .. end - 1 of a word, where they meet 0 .. 31. */
PICOBNN_INLINE uint32_t picobnn_planes_lanes(int32_t begin, int32_t end)
{
    const picobnn_span span = picobnn_clip(begin, end - begin, 32);

    if (span.end <= span.begin) {
        return 0u;
    }
    return (0xFFFFFFFFu >> (32 - (span.end - span.begin))) << span.begin;
}

/* The words that hold 32 bits of a plane from any bit on; outside the plane, any of its words. */
typedef struct {
    uint32_t low, high, shift;
} picobnn_planes_bit_place;

PICOBNN_INLINE picobnn_planes_bit_place picobnn_planes_find_bits(int32_t bit, uint32_t plane_words)
{
    const int32_t word = bit >= 0 ? bit / 32 : -((31 - bit) / 32);
    const int32_t last = (int32_t)plane_words - 1;
    picobnn_planes_bit_place place;

    place.low = (uint32_t)(word < 0 ? 0 : word > last ? last : word);
    place.high = (uint32_t)(word < -1 ? 0 : word >= last ? last : word + 1);
    place.shift = (uint32_t)bit & 31u;
    return place;
}

PICOBNN_INLINE uint32_t picobnn_planes_read_bits(const uint32_t *plane,
                                                 picobnn_planes_bit_place place)
{
    return plane[place.low] >> place.shift | plane[place.high] << 1 << (31u - place.shift);
}

/* Sets bits in a plane of zeros; value has no bits from `count` on. */
PICOBNN_INLINE void picobnn_planes_write_bits(uint32_t *plane, uint32_t bit, uint32_t value,
                                              uint32_t count)
{
    const uint32_t shift = bit & 31u;

    plane[bit / 32u] |= value << shift;
    if (shift + count > 32u) {
        plane[bit / 32u + 1u] |= value >> (32u - shift);
    }
}

/* Bits 0, 2, 4, ... as bits 0, 1, 2, ... */
PICOBNN_INLINE uint32_t picobnn_planes_every_second(uint32_t bits)
{
    bits &= 0x55555555u;
    bits = (bits | bits >> 1) & 0x33333333u;
    bits = (bits | bits >> 2) & 0x0F0F0F0Fu;
    bits = (bits | bits >> 4) & 0x00FF00FFu;
    return (bits | bits >> 8) & 0xFFFFu;
}

/* Rows 0, 2, 4, ... of 16 bits in rows of `width` bits, 1 to 8: 8 bits. */
PICOBNN_INLINE uint32_t picobnn_planes_even_rows(uint32_t bits, uint32_t width)
{
    uint32_t result = 0u;

    for (uint32_t place = 0u; place < 8u; place += width) {
        result |= (bits & ((1u << width) - 1u)) << place;
        bits >>= 2u * width;
    }
    return result;
}

/* 32 output pixels: the first is at (row, column). */
typedef struct {
    uint32_t row, column;
} picobnn_planes_block_place;

PICOBNN_INLINE void picobnn_planes_next_block(picobnn_planes_block_place *block, uint32_t width)
{
    block->column += 32u;
    while (block->column >= width) {
        block->column -= width;
        ++block->row;
    }
}

/* Where a tap row or column lies: output position p reads position p + shift of a phase, for p in
 * span; elsewhere it reads padding. */
typedef struct {
    picobnn_span span;
    int32_t shift;
    uint32_t phase;
} picobnn_planes_tap_place;

picobnn_planes_tap_place picobnn_planes_place_tap(uint32_t tap, uint32_t pad, uint32_t stride,
                                                  uint32_t size, uint32_t positions);

/* The pixels of the block in columns of `span`. */
uint32_t picobnn_planes_column_mask(picobnn_planes_block_place block, uint32_t width,
                                    picobnn_span span);

/* All words of a block: a zero word, then the taps down the columns of the window, one word per
 * channel; with `run` not 0 a zero word stands behind every `run` channels and behind the last of a
 * tap. Returns their end. */
uint32_t *picobnn_planes_gather_block(const picobnn_conv2d_shape *shape,
                                      const picobnn_planes_phased_map *map,
                                      picobnn_planes_block_place block, uint32_t run,
                                      uint32_t *words);

/* The words, a multiple of 16, counted per pixel: bit planes of the counts, lowest first,
 * PICOBNN_PLANES_MAX_BITS + 1 of them. carries: count / 16 words, rounded up to 16. */
void picobnn_planes_sum_words(const uint32_t *words, uint32_t count, uint32_t *carries,
                              uint32_t *sums);

/* The classes of the pixels of a block, at most 32; returns their end. */
picobnn_planes_class *picobnn_planes_find_classes(const uint8_t *row_classes,
                                                  const uint8_t *column_classes, uint32_t width,
                                                  picobnn_planes_block_place block, uint32_t pixels,
                                                  picobnn_planes_class *classes);

PICOBNN_INLINE uint32_t picobnn_planes_has_pool(const picobnn_conv2d_shape *shape)
{
    return shape->pool_height != 1u || shape->pool_width != 1u || shape->pool_stride_y != 1u ||
           shape->pool_stride_x != 1u;
}

/* From the map of all filters to the output: every plane through the pool, whose windows are at
 * most 32 wide and wider and higher than its padding, the flips behind it, null without a pool, and
 * clear padding bits. Without a pool planes is output. */
void picobnn_planes_finish(const picobnn_conv2d_shape *shape, const uint32_t *planes,
                           const uint32_t *final_flips, uint32_t count, uint32_t *output);

#endif
