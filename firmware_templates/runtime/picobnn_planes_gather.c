/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel: the words of 32 output pixels from the planes of the input. Contracts
 * stand in picobnn_planes.h and picobnn_planes_map.h.
 */
#include "picobnn_planes_map.h"

/* One phase of a plane: every stride-th row and column. */
static void take_phase(const picobnn_conv2d_shape *shape, const uint32_t *plane, uint32_t phase_y,
                       uint32_t phase_x, const picobnn_planes_phased_map *map, uint32_t *phase)
{
    const uint32_t in_words = ((uint32_t)shape->in_height * shape->in_width + 31u) / 32u;
    const uint32_t step = shape->stride_x == 1u ? 32u : 16u;
    uint32_t begin = 0u;

    for (uint32_t i = 0u; i < map->plane_words; ++i) {
        phase[i] = 0u;
    }
    for (uint32_t y = phase_y; y < shape->in_height; y += shape->stride_y, begin += map->width) {
        const uint32_t end = (y + 1u) * shape->in_width;
        uint32_t to = begin;

        for (uint32_t from = y * shape->in_width + phase_x; from < end; from += 32u, to += step) {
            const uint32_t left = begin + map->width - to; /* no word behind the phase is touched */
            uint32_t bits =
                picobnn_planes_read_bits(plane, picobnn_planes_find_bits((int32_t)from, in_words));

            bits &= picobnn_planes_lanes(0, (int32_t)(end - from));
            picobnn_planes_write_bits(phase, to,
                                      step == 32u ? bits : picobnn_planes_every_second(bits),
                                      left < step ? left : step);
        }
    }
}

/* Word `index` of the phases (0, phase_x) and (1, phase_x) of a plane whose rows, 2 to 32 pixels
 * wide, do not cross words: one word of each comes from four words of the plane. */
PICOBNN_INLINE void split_words(const uint32_t *plane, uint32_t in_words, uint32_t width,
                                uint32_t index, uint32_t phase_x, uint32_t *upper, uint32_t *lower)
{
    uint32_t above = 0u, below = 0u;

    for (uint32_t i = 0u; i < 4u && 4u * index + i < in_words; ++i) {
        const uint32_t bits = picobnn_planes_every_second(plane[4u * index + i] >> phase_x);

        if (width == 16u) {
            const uint32_t placed = bits << 8u * (i & 2u);

            above |= (i & 1u) != 0u ? 0u : placed;
            below |= (i & 1u) != 0u ? placed : 0u;
        } else {
            above |= picobnn_planes_even_rows(bits, width) << 8u * i;
            below |= picobnn_planes_even_rows(bits >> width, width) << 8u * i;
        }
    }
    upper[index] = above;
    lower[index] = below;
}

/* All four phases of such a plane. */
static void split_plane(const uint32_t *plane, uint32_t in_words,
                        const picobnn_planes_phased_map *map, uint32_t *phases)
{
    uint32_t *const lower = phases + 2u * map->phase_words;

    for (uint32_t index = 0u; index < map->plane_words; ++index) {
        split_words(plane, in_words, map->width, index, 0u, phases, lower);
        split_words(plane, in_words, map->width, index, 1u, phases + map->phase_words,
                    lower + map->phase_words);
    }
}

picobnn_planes_phased_map picobnn_planes_one_phase(const picobnn_conv2d_shape *shape,
                                                   const uint32_t *input, uint32_t *scratch)
{
    picobnn_planes_phased_map map;

    (void)scratch;
    map.words = input;
    map.width = shape->in_width;
    map.plane_words = ((uint32_t)shape->in_height * shape->in_width + 31u) / 32u;
    map.phase_words = shape->in_channels * map.plane_words;
    return map;
}

picobnn_planes_phased_map picobnn_planes_split_phases(const picobnn_conv2d_shape *shape,
                                                      const uint32_t *input, uint32_t *scratch)
{
    const uint32_t height = (shape->in_height + shape->stride_y - 1u) / shape->stride_y;
    const uint32_t in_words = ((uint32_t)shape->in_height * shape->in_width + 31u) / 32u;
    picobnn_planes_phased_map map;

    map.words = scratch;
    map.width = (shape->in_width + shape->stride_x - 1u) / shape->stride_x;
    map.plane_words = (height * map.width + 31u) / 32u;
    map.phase_words = shape->in_channels * map.plane_words;
    if (shape->stride_y == 2u && shape->stride_x == 2u && shape->in_width > 1u &&
        32u % shape->in_width == 0u) {
        for (uint32_t channel = 0u; channel < shape->in_channels; ++channel) {
            split_plane(input + channel * in_words, in_words, &map, scratch);
            scratch += map.plane_words;
        }
        return map;
    }
    for (uint32_t phase_y = 0u; phase_y < shape->stride_y; ++phase_y) {
        for (uint32_t phase_x = 0u; phase_x < shape->stride_x; ++phase_x) {
            for (uint32_t channel = 0u; channel < shape->in_channels; ++channel) {
                take_phase(shape, input + channel * in_words, phase_y, phase_x, &map, scratch);
                scratch += map.plane_words;
            }
        }
    }
    return map;
}

picobnn_planes_tap_place picobnn_planes_place_tap(uint32_t tap, uint32_t pad, uint32_t stride,
                                                  uint32_t size, uint32_t positions)
{
    const int32_t offset = (int32_t)tap - (int32_t)pad;
    picobnn_planes_tap_place place;

    place.phase = (uint32_t)offset & (stride - 1u);
    place.shift = (offset - (int32_t)place.phase) / (int32_t)stride;
    place.span = picobnn_clip(-place.shift, (int32_t)((size + stride - 1u - place.phase) / stride),
                              (int32_t)positions);
    return place;
}

uint32_t picobnn_planes_column_mask(picobnn_planes_block_place block, uint32_t width,
                                    picobnn_span span)
{
    uint32_t mask = 0u;

    if (span.begin == 0 && span.end == (int32_t)width) {
        return 0xFFFFFFFFu;
    }
    for (int32_t lane = -(int32_t)block.column; lane < 32; lane += (int32_t)width) {
        mask |= picobnn_planes_lanes(lane + span.begin, lane + span.end);
    }
    return mask;
}

/* One word per plane: 32 bits from `bit` on, under a mask. */
static void gather_words(const uint32_t *plane, uint32_t plane_words, uint32_t count, int32_t bit,
                         uint32_t mask, uint32_t *words)
{
    const picobnn_planes_bit_place place = picobnn_planes_find_bits(bit, plane_words);
    picobnn_planes_run run;

    if (mask == 0u) {
        for (; count != 0u; --count) {
            *words++ = 0u;
        }
        return;
    }
    run.high_bytes = 4u * (place.high - place.low);
    run.plane_bytes = 4u * plane_words;
    run.shift = place.shift;
    run.mask = mask;
    picobnn_planes_gather(plane + place.low, words, count, &run);
}

/* The same, added to words that are there. */
static void merge_words(const uint32_t *plane, uint32_t plane_words, uint32_t count, int32_t bit,
                        uint32_t mask, uint32_t *words)
{
    const picobnn_planes_bit_place place = picobnn_planes_find_bits(bit, plane_words);

    for (; count != 0u; --count, plane += plane_words) {
        *words++ |= picobnn_planes_read_bits(plane, place) & mask;
    }
}

/* One tap of a run of planes. Where a phase is as wide as the output, the 32 pixels lie in one
 * piece; elsewhere each row is a piece. */
static void gather_tap(const picobnn_conv2d_shape *shape, const picobnn_planes_phased_map *map,
                       const uint32_t *plane, uint32_t count, picobnn_planes_block_place block,
                       picobnn_planes_tap_place y, picobnn_planes_tap_place x, uint32_t columns,
                       uint32_t *words)
{
    const int32_t width = shape->map_width, pitch = (int32_t)map->width;
    const int32_t row = (int32_t)block.row;
    int32_t lane = -(int32_t)block.column;

    if (width == pitch) {
        const uint32_t rows = picobnn_planes_lanes(lane + (y.span.begin - row) * width,
                                                   lane + (y.span.end - row) * width);

        gather_words(plane, map->plane_words, count,
                     (row + y.shift) * pitch + (int32_t)block.column + x.shift, rows & columns,
                     words);
        return;
    }
    gather_words(plane, map->plane_words, count, 0, 0u, words);
    for (int32_t position = row; lane < 32; lane += width, ++position) {
        const uint32_t mask = picobnn_planes_lanes(lane + x.span.begin, lane + x.span.end);

        if (position >= y.span.begin && position < y.span.end && mask != 0u) {
            merge_words(plane, map->plane_words, count,
                        (position + y.shift) * pitch + x.shift - lane, mask, words);
        }
    }
}

uint32_t *picobnn_planes_gather_block(const picobnn_conv2d_shape *shape,
                                      const picobnn_planes_phased_map *map,
                                      picobnn_planes_block_place block, uint32_t run,
                                      uint32_t *words)
{
    *words++ = 0u;
    for (uint32_t kx = 0u; kx < shape->kernel_width; ++kx) {
        const picobnn_planes_tap_place x = picobnn_planes_place_tap(
            kx, shape->pad_left, shape->stride_x, shape->in_width, shape->map_width);
        const uint32_t columns = picobnn_planes_column_mask(block, shape->map_width, x.span);

        for (uint32_t ky = 0u; ky < shape->kernel_height; ++ky) {
            const picobnn_planes_tap_place y = picobnn_planes_place_tap(
                ky, shape->pad_top, shape->stride_y, shape->in_height, shape->map_height);
            const uint32_t *plane =
                map->words + (y.phase * shape->stride_x + x.phase) * map->phase_words;

            for (uint32_t left = shape->in_channels; left != 0u;) {
                const uint32_t count = run != 0u && run < left ? run : left;

                gather_tap(shape, map, plane, count, block, y, x, columns, words);
                words += count;
                if (run != 0u) {
                    *words++ = 0u;
                }
                plane += count * map->plane_words;
                left -= count;
            }
        }
    }
    return words;
}
