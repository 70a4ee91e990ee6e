/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel for cores with vectors: the vectors of a block, and their count. Contracts
 * stand in picobnn_planes_mve_block.h.
 */
#include "picobnn_planes_mve_block.h"

#define PARTS PICOBNN_PLANES_MVE_PARTS

/* One tap of a block: where its bits lie in a plane, and which of them count. */
typedef struct {
    int32_t bit; /* of the first pixel; may lie outside the plane */
    picobnn_planes_mve_run run;
} tap_bits;

/* The planes of some channels, one by one. */
static uint32_t *gather_planes(const uint32_t *plane, uint32_t plane_words, uint32_t count,
                               uint32_t parts, const tap_bits *tap, uint32_t *words)
{
    for (; count != 0u; --count, plane += plane_words) {
        for (uint32_t part = 0u; part < parts; ++part) {
            const picobnn_planes_bit_place place =
                picobnn_planes_find_bits(tap->bit + 32 * (int32_t)part, plane_words);

            *words++ = picobnn_planes_read_bits(plane, place) & tap->run.mask[part];
        }
    }
    return words;
}

/* One tap of all channels. Vectors are read past the ends of a plane, but never past those of the
 * planes together: the channels at both ends for which they would are gathered one by one. */
static uint32_t *gather_tap(const uint32_t *planes, uint32_t plane_words, uint32_t channels,
                            uint32_t parts, const tap_bits *tap, uint32_t *words)
{
    const int32_t low = tap->bit >= 0 ? tap->bit / 32 : -((31 - tap->bit) / 32);
    const uint32_t side_by_side = PARTS / parts;
    const int32_t behind = (int32_t)(channels * plane_words) - low - (int32_t)parts;
    uint32_t first = low < 0 ? ((uint32_t)-low + plane_words - 1u) / plane_words : 0u;
    uint32_t end = behind <= 0 ? 0u : ((uint32_t)behind + plane_words - 1u) / plane_words;
    uint32_t count;

    end = end < channels ? end : channels;
    first = first < end ? first : end;
    count = (end - first) / side_by_side;
    end = first + count * side_by_side;
    words = gather_planes(planes, plane_words, first, parts, tap, words);
    if (count != 0u) {
        const uint32_t *const begin = planes + (int32_t)(first * plane_words) + low;

        if (parts == PARTS) {
            picobnn_planes_mve_gather_128(begin, words, count, &tap->run);
        } else {
            picobnn_planes_mve_gather_64(begin, words, count, &tap->run);
        }
        words += count * PARTS;
    }
    return gather_planes(planes + end * plane_words, plane_words, channels - end, parts, tap,
                         words);
}

/* The pixels of every part in columns of `span`. */
static void find_columns(const picobnn_planes_block_place *blocks, uint32_t parts, uint32_t width,
                         picobnn_span span, uint32_t *columns)
{
    for (uint32_t part = 0u; part < parts; ++part) {
        columns[part] = picobnn_planes_column_mask(blocks[part], width, span);
    }
}

/* Where phases are as wide as the map, a block lies in one piece. */
static uint32_t *gather_whole(const picobnn_conv2d_shape *shape,
                              const picobnn_planes_phased_map *map,
                              const picobnn_planes_block_place *blocks, uint32_t parts,
                              uint32_t *words)
{
    const int32_t width = shape->map_width;
    uint32_t columns[PARTS];
    tap_bits tap;

    tap.run.plane_bytes = 4u * map->plane_words;
    for (uint32_t part = 0u; part < parts; ++part) {
        *words++ = 0u;
    }
    for (uint32_t kx = 0u; kx < shape->kernel_width; ++kx) {
        const picobnn_planes_tap_place x = picobnn_planes_place_tap(
            kx, shape->pad_left, shape->stride_x, shape->in_width, shape->map_width);

        find_columns(blocks, parts, shape->map_width, x.span, columns);
        for (uint32_t ky = 0u; ky < shape->kernel_height; ++ky) {
            const picobnn_planes_tap_place y = picobnn_planes_place_tap(
                ky, shape->pad_top, shape->stride_y, shape->in_height, shape->map_height);
            const uint32_t *const planes =
                map->words + (y.phase * shape->stride_x + x.phase) * map->phase_words;

            for (uint32_t part = 0u; part < PARTS; ++part) {
                const picobnn_planes_block_place *const at = &blocks[part % parts];
                const int32_t lane = -(int32_t)at->column, row = (int32_t)at->row;

                tap.run.mask[part] = columns[part % parts] &
                                     picobnn_planes_lanes(lane + (y.span.begin - row) * width,
                                                          lane + (y.span.end - row) * width);
            }
            tap.bit =
                ((int32_t)blocks[0].row + y.shift) * width + (int32_t)blocks[0].column + x.shift;
            tap.run.shift = (uint32_t)tap.bit & 31u;
            words = gather_tap(planes, map->plane_words, shape->in_channels, parts, &tap, words);
        }
    }
    return words;
}

uint32_t *picobnn_planes_mve_gather_block(const picobnn_conv2d_shape *shape,
                                          const picobnn_planes_phased_map *map,
                                          const picobnn_planes_block_place *blocks, uint32_t parts,
                                          uint32_t *words, uint32_t *spare)
{
    uint32_t count = 0u;

    if (map->width == shape->map_width) {
        return gather_whole(shape, map, blocks, parts, words);
    }
    for (uint32_t part = 0u; part < parts; ++part) {
        count =
            (uint32_t)(picobnn_planes_gather_block(shape, map, blocks[part], 0u, spare) - spare);
        for (uint32_t i = 0u; i < count; ++i) {
            words[i * parts + part] = spare[i];
        }
    }
    return words + count * parts;
}

/* Sums of the lanes 0 to 63 and 64 to 127, to both. */
static void add_halves(uint32_t (*sums)[PARTS])
{
    uint32_t carries[2] = {0u, 0u};

    for (uint32_t weight = 0u; weight <= PICOBNN_PLANES_MAX_BITS; ++weight) {
        for (uint32_t part = 0u; part < 2u; ++part) {
            const uint32_t a = sums[weight][part], b = sums[weight][part + 2u];
            const uint32_t half = a ^ b;
            const uint32_t sum = half ^ carries[part];

            carries[part] = (a & b) | (half & carries[part]);
            sums[weight][part] = sum;
            sums[weight][part + 2u] = sum;
        }
    }
}

void picobnn_planes_mve_sum_block(const uint32_t *vectors, uint32_t count, uint32_t parts,
                                  uint32_t *carries, uint32_t (*sums)[PARTS])
{
    for (uint32_t i = 0u; i < PICOBNN_PLANES_MVE_SUMS * PARTS; ++i) {
        sums[i / PARTS][i % PARTS] = 0u;
    }
    for (uint32_t weight = 0u;; weight += 3u) {
        uint32_t groups = count / 8u;

        picobnn_planes_mve_count(vectors, groups, sums[weight], carries);
        if (groups == 1u) {
            for (uint32_t part = 0u; part < PARTS; ++part) {
                sums[weight + 3u][part] = carries[part];
            }
            break;
        }
        for (; groups % 8u != 0u; ++groups) {
            for (uint32_t part = 0u; part < PARTS; ++part) {
                carries[groups * PARTS + part] = 0u;
            }
        }
        vectors = carries;
        count = groups;
    }
    if (parts != PARTS) {
        add_halves(sums);
    }
}
