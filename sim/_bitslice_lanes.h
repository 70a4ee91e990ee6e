/* SPDX-License-Identifier: Apache-2.0 */
/* The bit-sliced kernels for one vector width. Included by _bitslice.h once per width, with
 * VECTOR (the type, one image per bit), SPLAT (one uint64 in every part), LANES_NAME (suffix) and
 * LANES_TARGET. Contract: maps and scratch are aligned to VECTOR; offsets stay inside the window;
 * counters are wide enough.
 */

#define VECTOR_BYTES ((int64_t)sizeof(VECTOR))
#define LANES ((int64_t)sizeof(VECTOR) * 8)
#if defined(__GNUC__)
#define INLINE LANES_TARGET static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

enum { LANES_NAME(bitslice_lanes) = (int)sizeof(VECTOR) * 8 };

#include "_bitslice_counters.h"

/* Images (count, bytes) -> eight planes per byte; lanes beyond count are 0. */
LANES_TARGET static void LANES_NAME(load_images)(const uint8_t *images, int64_t count,
                                                 int64_t bytes, VECTOR *planes)
{
    for (int64_t group = 0; group < LANES / 8; group++) {
        const int64_t here = count - group * 8 < 8 ? count - group * 8 : 8;
        for (int64_t at = 0; at < bytes; at++) {
            uint64_t block = 0;
            for (int64_t lane = 0; lane < here; lane++)
                block |= (uint64_t)images[(group * 8 + lane) * bytes + at] << (8 * lane);
            block = bitslice_transpose8(block);
            for (int plane = 0; plane < 8; plane++)
                ((uint8_t *)&planes[at * 8 + plane])[group] = (uint8_t)(block >> (8 * plane));
        }
    }
}

/* A map of bits -> uint8 0/1 (count, elements). */
LANES_TARGET static void LANES_NAME(store_bits)(const VECTOR *map, int64_t elements, int64_t count,
                                                uint8_t *output)
{
    for (int64_t first = 0; first < elements; first += 64) {
        const int64_t last = first + 64 < elements ? first + 64 : elements;
        for (int64_t lane = 0; lane < count; lane++)
            for (int64_t at = first; at < last; at++)
                output[lane * elements + at] =
                    (((const uint8_t *)&map[at])[lane >> 3] >> (lane & 7)) & 1;
    }
}

/* The window at (y, x) of a map of bits, taps in ky, kx, i order, then one vector of zeros; 0
 * outside the map. */
LANES_TARGET static const VECTOR *LANES_NAME(gather_bits)(const bitslice_step *step,
                                                          const VECTOR *map, int32_t y, int32_t x,
                                                          VECTOR *words)
{
    const bitslice_window *window = &step->window;
    const int32_t channels = step->in_channels;
    VECTOR *to = words;
    if (step->taps == window->in_height * window->in_width * channels &&
        window->rows * window->columns == 1 && window->pad_top == 0 && window->pad_left == 0 &&
        window->height == window->in_height)
        return map; /* the window is the map: dense layers */
    for (int32_t ky = 0; ky < window->height; ky++) {
        const int32_t row = y * window->stride_y - window->pad_top + ky;
        for (int32_t kx = 0; kx < window->width; kx++, to += channels) {
            const int32_t column = x * window->stride_x - window->pad_left + kx;
            if (row < 0 || row >= window->in_height || column < 0 || column >= window->in_width)
                memset(to, 0, (size_t)(channels * VECTOR_BYTES));
            else
                memcpy(to, map + ((int64_t)row * window->in_width + column) * channels,
                       (size_t)(channels * VECTOR_BYTES));
        }
    }
    *to = SPLAT((uint64_t)0);
    return words;
}

/* Subset sums of the image window at (y, x): per group of taps 2^group entries; outside the image
 * the zero point. */
LANES_TARGET static void LANES_NAME(gather_sums)(const bitslice_step *step, const VECTOR *map,
                                                 int32_t y, int32_t x, int32_t zero_point,
                                                 VECTOR *table)
{
    const bitslice_window *window = &step->window;
    const int32_t channels = step->in_channels;
    const VECTOR none = SPLAT((uint64_t)0);
    for (int32_t tap = 0; tap < step->taps; tap++) {
        const int32_t row =
            y * window->stride_y - window->pad_top + tap / (channels * window->width);
        const int32_t column =
            x * window->stride_x - window->pad_left + tap / channels % window->width;
        const int32_t member = tap % step->group;
        VECTOR *group = table + ((int64_t)(tap / step->group) << step->group) * BITSLICE_ENTRY_BITS;
        VECTOR *own = group + ((int64_t)BITSLICE_ENTRY_BITS << member);
        if (row < 0 || row >= window->in_height || column < 0 || column >= window->in_width)
            for (int i = 0; i < 8; i++)
                own[i] = SPLAT((uint64_t)0 - (uint64_t)(zero_point >> i & 1));
        else
            memcpy(own,
                   map +
                       (((int64_t)row * window->in_width + column) * channels + tap % channels) * 8,
                   (size_t)(8 * VECTOR_BYTES));
        for (int i = 8; i < BITSLICE_ENTRY_BITS; i++)
            own[i] = none;
        for (int32_t subset = 1; subset < 1 << member; subset++) {
            const VECTOR *other = group + (int64_t)subset * BITSLICE_ENTRY_BITS;
            VECTOR *both = own + (int64_t)subset * BITSLICE_ENTRY_BITS;
            VECTOR carry = none;
            for (int i = 0; i < BITSLICE_ENTRY_BITS; i++) {
                VECTOR next, sum = own[i];
                FULL_ADD(next, sum, other[i], carry);
                both[i] = sum;
                carry = next;
            }
        }
    }
}

/* One output channel at one position: its lanes into every pool window that covers the position. */
INLINE void LANES_NAME(emit_bits)(const bitslice_step *step, VECTOR lanes, int32_t channel,
                                  const int32_t *cover, VECTOR *map)
{
    const VECTOR flip = SPLAT(step->flip[channel]);
    const VECTOR value = step->is_pooled && !step->pools_bits ? lanes : lanes ^ flip;
    for (int32_t y = cover[0]; y <= cover[1]; y++)
        for (int32_t x = cover[2]; x <= cover[3]; x++)
            map[((int64_t)y * step->pool.columns + x) * step->out_channels + channel] |= value;
}

/* One output channel at one position, scaled: int32 into (count, elements) at element + channel. */
INLINE void LANES_NAME(emit_integers)(const bitslice_step *step, const VECTOR *counter,
                                      const int64_t *totals, int32_t border, int32_t channel,
                                      int64_t element, int64_t count, int32_t *output)
{
    int64_t sums[BITSLICE_MOST_LANES];
    const int64_t elements = (int64_t)step->window.rows * step->window.columns * step->out_channels;
    const int64_t constant = step->constant[(int64_t)border * step->out_channels + channel];
    LANES_NAME(to_integers)(counter, step->counter_bits, sums);
    for (int64_t lane = 0; lane < count; lane++) {
        const int64_t accumulator =
            step->gain * sums[lane] + step->total_gain * totals[lane] + constant;
        output[lane * elements + element + channel] =
            (int32_t)(accumulator * step->multiplier[channel] + step->bias[channel]);
    }
}

/* The total of one list of S. */
LANES_TARGET static void LANES_NAME(sum_all)(const bitslice_step *step, const char *words,
                                             int32_t list, VECTOR *total)
{
    static const uint64_t none[BITSLICE_MOST_BITS] = {0};
    VECTOR sum[BITSLICE_MOST_BITS];
    const int bits = step->counter_bits + step->shift;
    const uint32_t *starts = step->starts + step->out_channels + list;
    const uint32_t *offsets = step->offsets + starts[0];
    const uint32_t count = starts[1] - starts[0];
    if (step->is_input)
        LANES_NAME(count_entries)(words, offsets, count, step->initial_total, bits, total);
    else if (!step->multiplied)
        LANES_NAME(count_words)(words, offsets, count, step->initial_total, bits, total);
    else {
        LANES_NAME(count_words)(words, offsets, count, none, step->sum_bits, sum);
        LANES_NAME(multiply)(step, sum, bits, total);
    }
}

LANES_TARGET static void LANES_NAME(run_position)(const bitslice_step *step, const char *words,
                                                  int32_t border, const int32_t *cover,
                                                  int64_t count, VECTOR *map, int32_t *output)
{
    VECTOR counter[BITSLICE_MOST_BITS], total[BITSLICE_MOST_BITS];
    int64_t totals[BITSLICE_MOST_LANES];
    const int bits = step->counter_bits, shift = step->shift;
    const int64_t element =
        ((int64_t)cover[0] * step->window.columns + cover[2]) * step->out_channels;
    const uint32_t *starts = step->starts;
    const uint64_t *initial = step->initial + (int64_t)border * step->out_channels * (bits + shift);
    int32_t list = -1;
    void (*sum)(const char *, const uint32_t *, uint32_t, const uint64_t *, int, VECTOR *) =
        step->is_input ? LANES_NAME(count_entries) : LANES_NAME(count_words);
    for (int32_t channel = 0; channel < step->out_channels; channel++, initial += bits + shift) {
        const uint32_t first = starts[channel];
        if (step->total_of[channel] != list) {
            list = step->total_of[channel];
            LANES_NAME(sum_all)(step, words, list, total);
            if (step->is_scaled)
                LANES_NAME(to_integers)(total, bits + shift, totals);
        }
        sum(words, step->offsets + first, starts[channel + 1] - first, initial + shift, bits,
            counter);
        if (step->is_scaled) {
            LANES_NAME(emit_integers)(step, counter, totals, border, channel, element, count,
                                      output);
        } else {
            const VECTOR lanes = LANES_NAME(at_least)(initial, shift, counter, total, bits);
            LANES_NAME(emit_bits)(step, lanes, channel, cover, map);
        }
    }
}

LANES_TARGET static void LANES_NAME(run_step)(const bitslice_step *step, int32_t zero_point,
                                              const VECTOR *from, VECTOR *scratch, int64_t count,
                                              VECTOR *map, int32_t *output)
{
    const bitslice_window *pool = &step->pool;
    const int64_t elements = (int64_t)pool->rows * pool->columns * step->out_channels;
    if (!step->is_scaled)
        memset(map, 0, (size_t)((elements + 1) * VECTOR_BYTES));
    for (int32_t y = 0; y < step->window.rows; y++) {
        int32_t cover[4] = {y, y, 0, 0};
        if (step->is_pooled)
            bitslice_cover(y, pool->height, pool->stride_y, pool->pad_top, pool->rows, &cover[0],
                           &cover[1]);
        for (int32_t x = 0; x < step->window.columns; x++) {
            const void *words = scratch;
            int32_t border;
            cover[2] = cover[3] = x;
            if (step->is_pooled)
                bitslice_cover(x, pool->width, pool->stride_x, pool->pad_left, pool->columns,
                               &cover[2], &cover[3]);
            if (cover[0] > cover[1] || cover[2] > cover[3])
                continue; /* between the windows of a pool */
            if (step->is_input)
                LANES_NAME(gather_sums)(step, from, y, x, zero_point, scratch);
            else
                words = LANES_NAME(gather_bits)(step, from, y, x, scratch);
            border = step->row_class[y] * step->column_classes + step->column_class[x];
            LANES_NAME(run_position)(step, (const char *)words, border, cover, count, map, output);
        }
    }
    if (step->is_pooled && !step->pools_bits)
        for (int64_t at = 0; at < elements; at++)
            map[at] ^= SPLAT(step->flip[at % step->out_channels]);
}

/* One block of at most LANES images. outputs[i]: where step i's output goes (uint8 bits or int32),
 * or NULL. */
LANES_TARGET static void LANES_NAME(bitslice_run)(const bitslice_program *program,
                                                  const uint8_t *images, int64_t count,
                                                  char *workspace, void **outputs)
{
    VECTOR *scratch = (VECTOR *)(workspace + program->scratch_offset);
    VECTOR *planes = (VECTOR *)(workspace + program->map_offsets[0]);
    LANES_NAME(load_images)(images, count, program->image_bytes, planes);
    for (int32_t index = 0; index < program->step_count; index++) {
        const bitslice_step *step = &program->steps[index];
        const VECTOR *from = (const VECTOR *)(workspace + program->map_offsets[step->input]);
        VECTOR *map = (VECTOR *)(workspace + program->map_offsets[step->output]);
        if (step->is_scaled && outputs[index] == NULL)
            continue; /* no step reads integers */
        LANES_NAME(run_step)(step, program->zero_point, from, scratch, count, map, outputs[index]);
        if (!step->is_scaled && outputs[index] != NULL) {
            const int64_t elements = program->map_vectors[step->output];
            LANES_NAME(store_bits)(map, elements, count, outputs[index]);
        }
    }
}

#undef VECTOR_BYTES
#undef LANES
#undef INLINE
#undef FULL_ADD
#undef VECTOR
#undef SPLAT
#undef LANES_NAME
#undef LANES_TARGET
