/* SPDX-License-Identifier: MIT-0
 * picobnn rows kernels. Contracts and the identity stand in the header.
 *
 * A list per input column under the window: neighbouring positions share columns, so that a
 * position builds only the lists of the columns that are new to it. A column keeps its list; only
 * the kernel column that it meets, and with it the rows it selects from, changes.
 */
#include "picobnn_rows.h"

#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_8M_MAIN__) ||      \
    defined(__ARM_ARCH_8_1M_MAIN__) || defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#define HAVE_ASSEMBLY 1
#else
#define HAVE_ASSEMBLY 0
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL(times) _Pragma(#times)
#else
#define UNROLL(times)
#endif

/* Appends the row of every set bit: bit i selects the row 4 * i bytes behind `row`. */
PICOBNN_INLINE uint32_t *list_bits(uint32_t *next, uint32_t bits, uint32_t row)
{
    row += 124u;
#if defined(__GNUC__) && (defined(__ARM_FEATURE_CLZ) || !defined(__arm__))
    UNROLL(GCC unroll 32)
    for (uint32_t i = 0u; i < 32u; ++i) {
        uint32_t zeros;

        if (bits == 0u) {
            break;
        }
        zeros = (uint32_t)__builtin_clz(bits);
        bits &= ~(0x80000000u >> zeros);
        *next++ = row - 4u * zeros;
    }
#else
    UNROLL(GCC unroll 32)
    for (uint32_t i = 0u; i < 32u; ++i) {
        if ((bits & 0x80000000u) != 0u) {
            *next++ = row;
        }
        bits <<= 1;
        row -= 4u;
    }
#endif
    return next;
}

/* What selects rows: the set bits, or where `flip` is all ones the clear bits. */
typedef struct {
    uint32_t pixel_words;
    uint32_t row_bytes; /* of the rows of a pixel */
    uint32_t flip;
    uint32_t last_flip; /* flip without the padding bits of a pixel's last word */
} selector;

/* Appends the rows of `count` pixels, `pitch` words apart. */
static PICOBNN_NOINLINE uint32_t *list_pixels(uint32_t *next, const uint32_t *pixel, uint32_t pitch,
                                              uint32_t count, uint32_t row, const selector *select)
{
    const uint32_t flip = select->flip;
    const uint32_t last_flip = select->last_flip;
    const uint32_t row_bytes = select->row_bytes;

    for (; count != 0u; --count) {
        const uint32_t end = row + row_bytes;
        const uint32_t *word = pixel;

        do {
            const uint32_t bits = *word++ ^ (end - row <= 128u ? last_flip : flip);

            next = list_bits(next, bits, row);
            row += 128u;
        } while (row < end);
        row = end;
        pixel += pitch;
    }
    return next;
}

/* Pads a list with rows of zeros to a multiple of 8; returns its end. */
PICOBNN_INLINE uint32_t *end_list(const uint32_t *begin, uint32_t *next, uint32_t zero_row)
{
    while (((uint32_t)(next - begin) & 7u) != 0u) {
        *next++ = zero_row;
    }
    return next;
}

PICOBNN_INLINE uint32_t byte_offset(const uint32_t *from, const uint32_t *to)
{
    return 4u * (uint32_t)(to - from);
}

/* Set bits of `count` words. */
static PICOBNN_NOINLINE uint32_t count_ones(const uint32_t *words, uint32_t count)
{
    uint32_t ones = 0u;

    while (count != 0u) {
        uint32_t bytes = 0u; /* four sums of at most 31 * 8 */

        for (uint32_t i = count < 31u ? count : 31u; i != 0u; --i) {
            uint32_t word = *words++;

            --count;
            word -= (word >> 1) & 0x55555555u;
            word = (word & 0x33333333u) + ((word >> 2) & 0x33333333u);
            bytes += (word + (word >> 4)) & 0x0F0F0F0Fu;
        }
        bytes = (bytes & 0x00FF00FFu) + ((bytes >> 8) & 0x00FF00FFu);
        ones += (bytes & 0xFFFFu) + (bytes >> 16);
    }
    return ones;
}

static selector make_selector(const picobnn_rows_filters *filters, const uint32_t *input,
                              uint32_t pixels, uint32_t channels)
{
    selector select;

    select.pixel_words = (channels + 31u) / 32u;
    select.row_bytes = 4u * channels;
    select.flip =
        count_ones(input, pixels * select.pixel_words) > filters->flip_above ? 0xFFFFFFFFu : 0u;
    select.last_flip = select.flip >> (31u & (0u - channels));
    return select;
}

/* The job of a layer but for the addend; scratch from `words` on: words, carries, lists. */
static picobnn_rows_job make_job(const picobnn_rows_filters *filters, const uint32_t *scratch,
                                 uint32_t *words, const selector *select)
{
    picobnn_rows_job job;

    job.memory = scratch;
    job.weights = filters->weights;
    job.starts = filters->starts;
    if (select->flip != 0u) {
        job.starts += filters->start_sets * filters->groups * filters->planes;
    }
    job.words = words;
    job.carries = words + filters->groups;
    job.addend = 0u;
    job.planes = filters->planes;
    job.groups = filters->groups;
    job.group_bytes = 4u * filters->segments * (filters->segment_rows + 1u);
    job.invert = ~select->flip;
    return job;
}

void picobnn_rows_dense_bits(const picobnn_rows_dense_layer *layer, const uint32_t *input,
                             uint32_t *output, uint32_t *scratch)
{
    const picobnn_rows_filters *filters = &layer->filters;
    const selector select = make_selector(filters, input, layer->pixels, layer->channels);
    picobnn_rows_job job = make_job(filters, scratch, scratch + 4, &select);
    picobnn_rows_segment *segment = (picobnn_rows_segment *)scratch;
    uint32_t *list = job.carries + filters->carry_words;
    uint32_t *next = list_pixels(list, input, select.pixel_words, layer->pixels, 0u, &select);

    job.addend = 0u - (uint32_t)(next - list);
    job.words = output;
    next = end_list(list, next, 4u * filters->segment_rows);
    segment->begin = byte_offset(scratch, list);
    segment->last_16 = byte_offset(scratch, next) - 64u;
    segment->rows = 0u;
    scratch[3] = 0u;
    picobnn_rows_add(&job);
    if (filters->flips != NULL) {
        picobnn_flip_words(output, filters->flips, filters->groups);
    }
}

/* The columns under the window: a ring of lists, the oldest at `slot`. */
typedef struct {
    const picobnn_rows_conv2d_layer *layer;
    const uint32_t *input;
    const uint32_t *zero_pixel;
    picobnn_rows_segment *segments;
    uint32_t *counts; /* rows that each list selects, without padding */
    uint32_t *lists;
    selector select;
    uint32_t outside_selects; /* padding is -1 and clear bits select */
    uint32_t column_bytes;    /* weights of one kernel column */
    uint32_t slot;
    int32_t end; /* the first column that has no list yet */
    uint32_t selected;
} ring;

/* Builds the list of input column x in the oldest slot, the kernel rows over the input rows from
 * `top`; both may lie in the padding. */
static PICOBNN_NOINLINE void list_column(ring *columns, int32_t top, int32_t x)
{
    const picobnn_conv2d_shape *shape = &columns->layer->shape;
    const selector *select = &columns->select;
    const uint32_t pitch = shape->in_width * select->pixel_words;
    const uint32_t slot = columns->slot;
    uint32_t *list = columns->lists + slot * columns->layer->filters.list_words;
    uint32_t *next = list;
    picobnn_span rows = picobnn_clip(top, shape->kernel_height, shape->in_height);

    if ((uint32_t)x >= shape->in_width || rows.end <= rows.begin) {
        rows.begin = rows.end = top;
    }
    if (columns->outside_selects) {
        next = list_pixels(next, columns->zero_pixel, 0u, (uint32_t)(rows.begin - top), 0u, select);
    }
    if (rows.end != rows.begin) {
        next = list_pixels(
            next, columns->input + (uint32_t)rows.begin * pitch + (uint32_t)x * select->pixel_words,
            pitch, (uint32_t)(rows.end - rows.begin),
            (uint32_t)(rows.begin - top) * select->row_bytes, select);
    }
    if (columns->outside_selects) {
        next = list_pixels(next, columns->zero_pixel, 0u,
                           (uint32_t)(top + shape->kernel_height - rows.end),
                           (uint32_t)(rows.end - top) * select->row_bytes, select);
    }
    columns->selected += (uint32_t)(next - list) - columns->counts[slot];
    columns->counts[slot] = (uint32_t)(next - list);
    next = end_list(list, next, columns->column_bytes - 4u);
    columns->segments[slot].last_16 = byte_offset((const uint32_t *)columns->segments, next) - 64u;
    columns->slot = slot + 1u == columns->layer->filters.segments ? 0u : slot + 1u;
}

/* Moves the window to the position at input row `top`, column `left`, which is right of the last.
 */
PICOBNN_INLINE void move_window(ring *columns, int32_t top, int32_t left)
{
    const uint32_t count = columns->layer->filters.segments;
    const int32_t end = left + (int32_t)count;
    uint32_t rows = 0u;
    uint32_t slot;

    for (int32_t x = columns->end > left ? columns->end : left; x < end; ++x) {
        list_column(columns, top, x);
    }
    columns->end = end;
    slot = columns->slot;
    for (uint32_t kx = count; kx != 0u; --kx) {
        columns->segments[slot].rows = rows;
        rows += columns->column_bytes;
        slot = slot + 1u == count ? 0u : slot + 1u;
    }
}

/* Runs the positions of accumulator row y that a pool window covers; merges them into the row of
 * output pixels. Without a pool they are the output pixels. */
static void add_row(ring *columns, picobnn_rows_job *job, uint32_t y, uint32_t *output)
{
    const picobnn_rows_conv2d_layer *layer = columns->layer;
    const picobnn_rows_filters *filters = &layer->filters;
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t *starts = job->starts;
    uint32_t *const words = job->words;
    const uint32_t is_pooled = shape->pool_height != 1u || shape->pool_width != 1u;
    const int32_t top = (int32_t)(y * shape->stride_y) - shape->pad_top;
    int32_t left = -(int32_t)shape->pad_left;
    uint32_t out_x = 0u;
    int32_t window = -(int32_t)shape->pool_pad_left; /* where the pool window of out_x begins */

    columns->end = left;
    for (int32_t x = 0; x < shape->map_width; ++x, left += shape->stride_x) {
        while (window + shape->pool_width <= x) {
            window += shape->pool_stride_x;
            output += filters->groups;
            ++out_x;
        }
        if (out_x >= shape->out_width) {
            break;
        }
        if (window > x) {
            continue;
        }
        move_window(columns, top, left);
        job->addend = 0u - columns->selected;
        if (layer->row_sets != NULL) {
            const uint32_t set = (uint32_t)layer->row_sets[y] + layer->column_sets[x];

            job->starts = starts + set * filters->groups * filters->planes;
        }
        if (!is_pooled) {
            job->words = output;
        }
        picobnn_rows_add(job);
        if (filters->flips != NULL) {
            picobnn_flip_words(job->words, filters->flips, filters->groups);
        }
        if (is_pooled) {
            uint32_t *pixel = output;
            int32_t begin = window;

            for (uint32_t i = out_x; i < shape->out_width && begin <= x; ++i) {
                for (uint32_t group = 0u; group < filters->groups; ++group) {
                    *pixel++ |= words[group];
                }
                begin += shape->pool_stride_x;
            }
        }
    }
    job->starts = starts;
    job->words = words;
}

void picobnn_rows_conv2d_bits(const picobnn_rows_conv2d_layer *layer, const uint32_t *input,
                              uint32_t *output, uint32_t *scratch)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const picobnn_rows_filters *filters = &layer->filters;
    const uint32_t row_words = shape->out_width * filters->groups;
    picobnn_rows_job job;
    ring columns;
    int32_t pool_top = -(int32_t)shape->pool_pad_top;
    uint32_t *next = scratch + 3u * filters->segments;

    columns.layer = layer;
    columns.input = input;
    columns.segments = (picobnn_rows_segment *)scratch;
    columns.select = make_selector(filters, input, (uint32_t)shape->in_height * shape->in_width,
                                   shape->in_channels);
    columns.outside_selects = columns.select.flip & ~(0u - layer->pad_is_zero);
    columns.column_bytes = 4u * (filters->segment_rows + 1u);
    columns.slot = 0u;
    columns.selected = 0u;
    *next++ = 0u;
    columns.counts = next;
    next += filters->segments;
    columns.zero_pixel = next;
    for (uint32_t i = columns.select.pixel_words; i != 0u; --i) {
        *next++ = 0u;
    }
    job = make_job(filters, scratch, next, &columns.select);
    columns.lists = job.carries + filters->carry_words;
    for (uint32_t slot = 0u; slot < filters->segments; ++slot) {
        columns.counts[slot] = 0u;
        columns.segments[slot].begin =
            byte_offset(scratch, columns.lists + slot * filters->list_words);
    }
    for (uint32_t out_y = shape->out_height; out_y != 0u; --out_y) {
        const picobnn_span rows = picobnn_clip(pool_top, shape->pool_height, shape->map_height);

        for (uint32_t i = 0u; i < row_words; ++i) {
            output[i] = 0u;
        }
        for (int32_t y = rows.begin; y < rows.end; ++y) {
            add_row(&columns, &job, (uint32_t)y, output);
        }
        if (filters->final_flips != NULL) {
            for (uint32_t x = 0u; x < shape->out_width; ++x) {
                picobnn_flip_words(output + x * filters->groups, filters->final_flips,
                                   filters->groups);
            }
        }
        output += row_words;
        pool_top += shape->pool_stride_y;
    }
}

#if !HAVE_ASSEMBLY
/* s += a + b per bit; returns the carry. */
PICOBNN_INLINE uint32_t full_adder(uint32_t *s, uint32_t a, uint32_t b)
{
    const uint32_t half = a ^ b;
    const uint32_t carry = (a & b) | (*s & half);

    *s ^= half;
    return carry;
}

void picobnn_rows_add(const picobnn_rows_job *job)
{
    const uint32_t *memory = job->memory;
    const uint32_t *weights = job->weights;
    const uint32_t *starts = job->starts;

    for (uint32_t group = 0u; group < job->groups; ++group) {
        uint32_t count[16] = {0u};
        uint32_t carry = 0u;

        for (uint32_t plane = 0u; plane < job->planes; ++plane) {
            count[plane] = starts[plane];
        }
        for (const uint32_t *segment = memory; *segment != 0u; segment += 3) {
            const uint32_t *next = memory + segment[0] / 4u;
            const uint32_t *end = memory + (segment[1] + 64u) / 4u;
            const uint32_t *rows = weights + segment[2] / 4u;

            for (; next != end; next += 4) {
                uint32_t low = full_adder(&count[1], rows[next[0] / 4u], rows[next[1] / 4u]);
                uint32_t high = full_adder(&count[1], rows[next[2] / 4u], rows[next[3] / 4u]);

                carry = full_adder(&count[2], low, high);
                for (uint32_t plane = 3u; carry != 0u && plane < job->planes; ++plane) {
                    const uint32_t sum = count[plane] ^ carry;

                    carry &= count[plane];
                    count[plane] = sum;
                }
            }
        }
        carry = 0u;
        for (uint32_t plane = 0u; plane + 1u < job->planes; ++plane) {
            carry = full_adder(&count[plane], carry, 0u - ((job->addend >> plane) & 1u));
        }
        carry ^= count[job->planes - 1u] ^ (0u - ((job->addend >> (job->planes - 1u)) & 1u));
        job->words[group] = carry ^ job->invert;
        weights += job->group_bytes / 4u;
        starts += job->planes;
    }
}
#endif
