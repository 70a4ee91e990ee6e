/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel: gathers the words of a block, counts them, calls the core, pools planes.
 * Contracts stand in the header.
 */
#include "picobnn_planes.h"

/* Bits begin .. end - 1 of a word, where they meet 0 .. 31. */
PICOBNN_INLINE uint32_t lanes(int32_t begin, int32_t end)
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
} bit_place;

static bit_place find_bits(int32_t bit, uint32_t plane_words)
{
    const int32_t word = bit >= 0 ? bit / 32 : -((31 - bit) / 32);
    const int32_t last = (int32_t)plane_words - 1;
    bit_place place;

    place.low = (uint32_t)(word < 0 ? 0 : word > last ? last : word);
    place.high = (uint32_t)(word < -1 ? 0 : word >= last ? last : word + 1);
    place.shift = (uint32_t)bit & 31u;
    return place;
}

PICOBNN_INLINE uint32_t read_bits(const uint32_t *plane, bit_place place)
{
    return plane[place.low] >> place.shift | plane[place.high] << 1 << (31u - place.shift);
}

/* Sets bits in a plane of zeros; value has no bits from `count` on. */
PICOBNN_INLINE void write_bits(uint32_t *plane, uint32_t bit, uint32_t value, uint32_t count)
{
    const uint32_t shift = bit & 31u;

    plane[bit / 32u] |= value << shift;
    if (shift + count > 32u) {
        plane[bit / 32u + 1u] |= value >> (32u - shift);
    }
}

/* Bits 0, 2, 4, ... as bits 0, 1, 2, ... */
PICOBNN_INLINE uint32_t every_second(uint32_t bits)
{
    bits &= 0x55555555u;
    bits = (bits | bits >> 1) & 0x33333333u;
    bits = (bits | bits >> 2) & 0x0F0F0F0Fu;
    bits = (bits | bits >> 4) & 0x00FF00FFu;
    return (bits | bits >> 8) & 0xFFFFu;
}

/* The input as the kernel reads it: by phases, each like a map with stride 1. */
typedef struct {
    const uint32_t *words; /* [phase_y][phase_x][channel][plane_words] */
    uint32_t width, plane_words, phase_words;
} phased_map;

/* One phase of a plane: every stride-th row and column. */
static void take_phase(const picobnn_conv2d_shape *shape, const uint32_t *plane, uint32_t phase_y,
                       uint32_t phase_x, const phased_map *map, uint32_t *phase)
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
            uint32_t bits = read_bits(plane, find_bits((int32_t)from, in_words));

            bits &= lanes(0, (int32_t)(end - from));
            write_bits(phase, to, step == 32u ? bits : every_second(bits), step);
        }
    }
}

static phased_map split_phases(const picobnn_conv2d_shape *shape, const uint32_t *input,
                               uint32_t *scratch)
{
    const uint32_t height = (shape->in_height + shape->stride_y - 1u) / shape->stride_y;
    const uint32_t in_words = ((uint32_t)shape->in_height * shape->in_width + 31u) / 32u;
    phased_map map;

    map.words = input;
    map.width = (shape->in_width + shape->stride_x - 1u) / shape->stride_x;
    map.plane_words = (height * map.width + 31u) / 32u;
    map.phase_words = shape->in_channels * map.plane_words;
    if (shape->stride_y == 1u && shape->stride_x == 1u) {
        return map;
    }
    map.words = scratch;
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

/* Where a tap row or column lies: output position p reads position p + shift of a phase, for p in
 * span; elsewhere it reads padding. */
typedef struct {
    picobnn_span span;
    int32_t shift;
    uint32_t phase;
} tap_place;

static tap_place place_tap(uint32_t tap, uint32_t pad, uint32_t stride, uint32_t size,
                           uint32_t positions)
{
    const int32_t offset = (int32_t)tap - (int32_t)pad;
    tap_place place;

    place.phase = (uint32_t)offset & (stride - 1u);
    place.shift = (offset - (int32_t)place.phase) / (int32_t)stride;
    place.span = picobnn_clip(-place.shift, (int32_t)((size + stride - 1u - place.phase) / stride),
                              (int32_t)positions);
    return place;
}

/* 32 output pixels: the first is at (row, column). */
typedef struct {
    uint32_t row, column;
} block_place;

PICOBNN_INLINE void next_block(block_place *block, uint32_t width)
{
    block->column += 32u;
    while (block->column >= width) {
        block->column -= width;
        ++block->row;
    }
}

/* The pixels of the block in columns of `span`. */
static uint32_t column_mask(block_place block, uint32_t width, picobnn_span span)
{
    uint32_t mask = 0u;

    if (span.begin == 0 && span.end == (int32_t)width) {
        return 0xFFFFFFFFu;
    }
    for (int32_t lane = -(int32_t)block.column; lane < 32; lane += (int32_t)width) {
        mask |= lanes(lane + span.begin, lane + span.end);
    }
    return mask;
}

/* One word per plane: 32 bits from `bit` on, under a mask; zeros[count] follow. */
static void gather_words(const uint32_t *plane, uint32_t plane_words, uint32_t count, int32_t bit,
                         uint32_t mask, uint32_t *words)
{
    const bit_place place = find_bits(bit, plane_words);
    const uint32_t *low = plane + place.low;
    const uint32_t *high = plane + place.high;
    const uint32_t shift = place.shift;

    if (mask == 0u) {
        for (; count != 0u; --count) {
            *words++ = 0u;
        }
    } else if (shift == 0u) {
        for (; count != 0u; --count, low += plane_words) {
            *words++ = *low & mask;
        }
    } else {
        for (; count != 0u; --count, low += plane_words, high += plane_words) {
            *words++ = (*low >> shift | *high << (32u - shift)) & mask;
        }
    }
}

/* The same, added to words that are there. */
static void merge_words(const uint32_t *plane, uint32_t plane_words, uint32_t count, int32_t bit,
                        uint32_t mask, uint32_t *words)
{
    const bit_place place = find_bits(bit, plane_words);

    for (; count != 0u; --count, plane += plane_words) {
        *words++ |= read_bits(plane, place) & mask;
    }
}

/* One tap of a run of planes. Where a phase is as wide as the output, the 32 pixels lie in one
 * piece; elsewhere each row is a piece. */
static void gather_tap(const picobnn_conv2d_shape *shape, const phased_map *map,
                       const uint32_t *plane, uint32_t count, block_place block, tap_place y,
                       tap_place x, uint32_t columns, uint32_t *words)
{
    const int32_t width = shape->map_width, pitch = (int32_t)map->width;
    const int32_t row = (int32_t)block.row;
    int32_t lane = -(int32_t)block.column;

    if (width == pitch) {
        const uint32_t rows =
            lanes(lane + (y.span.begin - row) * width, lane + (y.span.end - row) * width);

        gather_words(plane, map->plane_words, count,
                     (row + y.shift) * pitch + (int32_t)block.column + x.shift, rows & columns,
                     words);
        return;
    }
    gather_words(plane, map->plane_words, count, 0, 0u, words);
    for (int32_t position = row; lane < 32; lane += width, ++position) {
        const uint32_t mask = lanes(lane + x.span.begin, lane + x.span.end);

        if (position >= y.span.begin && position < y.span.end && mask != 0u) {
            merge_words(plane, map->plane_words, count,
                        (position + y.shift) * pitch + x.shift - lane, mask, words);
        }
    }
}

/* All words of a block; see the order in the header. Returns their end. */
static uint32_t *gather_block(const picobnn_conv2d_shape *shape, const phased_map *map,
                              block_place block, uint32_t *words)
{
    *words++ = 0u;
    for (uint32_t kx = 0u; kx < shape->kernel_width; ++kx) {
        const tap_place x =
            place_tap(kx, shape->pad_left, shape->stride_x, shape->in_width, shape->map_width);
        const uint32_t columns = column_mask(block, shape->map_width, x.span);

        for (uint32_t ky = 0u; ky < shape->kernel_height; ++ky) {
            const tap_place y =
                place_tap(ky, shape->pad_top, shape->stride_y, shape->in_height, shape->map_height);
            const uint32_t *plane =
                map->words + (y.phase * shape->stride_x + x.phase) * map->phase_words;

            for (uint32_t left = shape->in_channels; left != 0u;) {
                const uint32_t run = left < PICOBNN_PLANES_RUN ? left : PICOBNN_PLANES_RUN;

                gather_tap(shape, map, plane, run, block, y, x, columns, words);
                words += run;
                *words++ = 0u;
                plane += run * map->plane_words;
                left -= run;
            }
        }
    }
    return words;
}

/* Start and parity of a pass from the count of all words. */
static void count_block(const uint32_t *words, uint32_t count, uint32_t *carries,
                        picobnn_planes_pass *pass)
{
    uint32_t sums[PICOBNN_PLANES_MAX_BITS + 1u] = {0u};

    for (uint32_t weight = 0u; weight < PICOBNN_PLANES_MAX_BITS; weight += 4u) {
        uint32_t groups = count / 16u;

        picobnn_planes_count(words, words + count, &sums[weight], carries);
        if (groups == 1u) {
            sums[weight + 4u] = carries[0];
            break;
        }
        for (; groups % 16u != 0u; ++groups) {
            carries[groups] = 0u;
        }
        words = carries;
        count = groups;
    }
    pass->even = ~sums[0];
    for (uint32_t bit = 0u; bit < PICOBNN_PLANES_MAX_BITS; ++bit) {
        pass->start[bit] = ~sums[bit + 1u];
    }
}

/* The classes of the pixels of a block; returns their end. */
static picobnn_planes_class *find_classes(const picobnn_planes_conv2d_layer *layer,
                                          block_place block, uint32_t pixels,
                                          picobnn_planes_class *classes)
{
    picobnn_planes_class *end = classes;
    uint32_t x = block.column, y = block.row;

    for (uint32_t lane = 0u; lane < pixels && lane < 32u; ++lane) {
        const uint32_t limit = 2u * ((uint32_t)layer->row_classes[y] + layer->column_classes[x]);
        picobnn_planes_class *it = classes;

        while (it != end && it->limit != limit) {
            ++it;
        }
        if (it == end) {
            end->limit = limit;
            end->mask = 0u;
            ++end;
        }
        it->mask |= 1u << lane;
        if (++x == layer->shape.map_width) {
            x = 0u;
            ++y;
        }
    }
    return end;
}

/* The OR of a pool window at `count` output pixels of a row, bits 0 .. count - 1. */
static uint32_t pool_row(const picobnn_conv2d_shape *shape, const uint32_t *plane,
                         uint32_t plane_words, picobnn_span rows, int32_t left, uint32_t count)
{
    uint32_t result = 0u;

    for (uint32_t px = 0u; px < shape->pool_width; ++px, ++left) {
        const uint32_t inside = lanes(-left, (int32_t)shape->map_width - left);

        for (int32_t y = rows.begin; y < rows.end; ++y) {
            result |=
                read_bits(plane, find_bits(y * shape->map_width + left, plane_words)) & inside;
        }
    }
    if (shape->pool_stride_x == 2u) {
        result = every_second(result);
    }
    return result & lanes(0, (int32_t)count);
}

/* One plane through the pool. */
static void pool_plane(const picobnn_conv2d_shape *shape, const uint32_t *plane,
                       uint32_t plane_words, uint32_t *output, uint32_t output_words)
{
    const uint32_t step = shape->pool_stride_x == 1u ? 32u : shape->pool_stride_x == 2u ? 16u : 1u;
    int32_t top = -(int32_t)shape->pool_pad_top;
    uint32_t begin = 0u;

    for (uint32_t i = 0u; i < output_words; ++i) {
        output[i] = 0u;
    }
    for (; begin < (uint32_t)shape->out_height * shape->out_width; begin += shape->out_width) {
        const picobnn_span rows = picobnn_clip(top, shape->pool_height, shape->map_height);
        int32_t left = -(int32_t)shape->pool_pad_left;

        for (uint32_t x = 0u; x < shape->out_width; x += step) {
            const uint32_t rest = shape->out_width - x;
            const uint32_t count = rest < step ? rest : step;

            write_bits(output, begin + x, pool_row(shape, plane, plane_words, rows, left, count),
                       count);
            left += (int32_t)(step * shape->pool_stride_x);
        }
        top += shape->pool_stride_y;
    }
}

PICOBNN_INLINE uint32_t has_pool(const picobnn_conv2d_shape *shape)
{
    return shape->pool_height != 1u || shape->pool_width != 1u || shape->pool_stride_y != 1u ||
           shape->pool_stride_x != 1u;
}

/* The flips behind a pool, and clear padding bits. */
static void finish_plane(uint32_t *plane, uint32_t plane_words, uint32_t flip, uint32_t pixels)
{
    for (uint32_t i = 0u; i < plane_words; ++i) {
        plane[i] ^= 0u - flip;
    }
    plane[plane_words - 1u] &= lanes(0, (int32_t)(pixels - 32u * (plane_words - 1u)));
}

void picobnn_planes_conv2d_bits(const picobnn_planes_conv2d_layer *layer, const uint32_t *input,
                                uint32_t *output, uint32_t *scratch)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t pixels = (uint32_t)shape->map_height * shape->map_width;
    const uint32_t map_words = (pixels + 31u) / 32u;
    const uint32_t out_pixels = (uint32_t)shape->out_height * shape->out_width;
    const uint32_t out_words = (out_pixels + 31u) / 32u;
    uint32_t *const words = scratch;
    uint32_t *const carries = words + layer->words;
    uint32_t *const phases = carries + (layer->words / 16u + 15u) / 16u * 16u;
    const phased_map map = split_phases(shape, input, phases);
    uint32_t *const maps =
        map.words == input ? phases
                           : phases + (uint32_t)shape->stride_y * shape->stride_x * map.phase_words;
    const uint32_t is_pooled = has_pool(shape);
    uint32_t *const planes = is_pooled ? maps : output;
    block_place block = {0u, 0u};
    picobnn_planes_class classes[32];
    picobnn_planes_pass pass;

    pass.filters = layer->filters;
    pass.lists = layer->lists;
    pass.words = words;
    pass.output_step = 4u * map_words;
    pass.count = layer->count;
    pass.limits = layer->limits;
    pass.limit_step = 2u * layer->classes;
    pass.classes = classes;
    pass.classes_end = classes;
    for (uint32_t word = 0u; word < map_words; ++word) {
        uint32_t *end = gather_block(shape, &map, block, words);

        while (end != words + layer->words) {
            *end++ = 0u;
        }
        count_block(words, layer->words, carries, &pass);
        if (layer->limits != NULL) {
            pass.classes_end = find_classes(layer, block, pixels - 32u * word, classes);
        }
        pass.output = planes + word;
        layer->core(&pass);
        next_block(&block, shape->map_width);
    }
    for (uint32_t filter = 0u; filter < layer->count; ++filter) {
        uint32_t flip = 0u;

        if (layer->final_flips != NULL) {
            flip = layer->final_flips[filter / 32u] >> (filter % 32u) & 1u;
        }
        if (is_pooled) {
            pool_plane(shape, planes + filter * map_words, map_words, output, out_words);
        }
        finish_plane(output, out_words, flip, out_pixels);
        output += out_words;
    }
}
