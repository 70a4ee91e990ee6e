/* SPDX-License-Identifier: MIT-0
 * picobnn rows kernels. Contracts and the identity stand in the header.
 *
 * Every input column under the window has a list of the rows that it selects, built once and used
 * by all positions of a row that see the column. The rows of kernel column kx stand kx *
 * column_bytes behind those of kernel column 0. An entry of column x, counted from the left
 * padding, holds x * column_bytes + the row within the kernel column; at the position whose window
 * begins at column `left`, weights - left * column_bytes is the base of all entries, whatever their
 * column. So the lists of neighbouring columns stand one behind the other and are read as one.
 *
 * The lists go round in a buffer: a column that may not fit behind the last one starts again at the
 * front, and a window over that seam reads two lists. Behind the last list and before the seam
 * stand 7 entries of rows of zeros, as the adder reads multiples of 8.
 */
#include "picobnn_rows.h"

#define PADDING 7u

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

/* The job of a layer but for the addend and what select_bits sets; scratch from the third segment
 * on: its 0, words, carries, lists. */
static picobnn_rows_job make_job(const picobnn_rows_filters *filters, uint32_t *scratch)
{
    picobnn_rows_job job;

    job.memory = scratch;
    job.weights = filters->weights;
    job.starts = filters->starts;
    job.words = scratch + PICOBNN_ROWS_SEGMENT_WORDS;
    job.carries = job.words + filters->groups;
    job.addend = 0u;
    job.planes = filters->planes;
    job.groups = filters->groups;
    job.group_bytes = 4u * filters->segments * (filters->segment_rows + 1u);
    job.invert = 0u;
    return job;
}

/* From here on the set bits select, or where `clear` the clear ones. */
PICOBNN_INLINE void select_bits(const picobnn_rows_filters *filters, picobnn_rows_selector *select,
                                picobnn_rows_job *job, uint32_t channels, uint32_t clear)
{
    const uint32_t flip = clear ? 0xFFFFFFFFu : 0u;

    select->flip = flip;
    select->last_flip = flip >> (31u & (0u - channels));
    job->invert = ~flip;
    job->starts = filters->starts;
    if (clear) {
        job->starts += filters->start_sets * filters->groups * filters->planes;
    }
}

PICOBNN_INLINE void pad_list(uint32_t *next, uint32_t zero_row)
{
    next[0] = zero_row;
    next[1] = zero_row;
    next[2] = zero_row;
    next[3] = zero_row;
    next[4] = zero_row;
    next[5] = zero_row;
    next[6] = zero_row;
}

/* The segment of the list from begin to end; `rows` is the base of its entries. */
PICOBNN_INLINE void set_segment(uint32_t *segment, const uint32_t *memory, const uint32_t *begin,
                                const uint32_t *end, uint32_t rows)
{
    const uint32_t words = ((uint32_t)(end - begin) + PADDING) & ~PADDING;

    segment[0] = 4u * (uint32_t)(begin - memory);
    segment[1] = segment[0] + 4u * words - 64u;
    segment[2] = rows;
}

/* Runs `count` dense layers of the same weights, over `pixels` pixels each, that stand one behind
 * the other; each has its set or its clear bits select, whichever are fewer. */
static PICOBNN_NOINLINE void run_dense(const picobnn_rows_filters *filters, uint32_t count,
                                       uint32_t pixels, uint32_t channels, const uint32_t *input,
                                       uint32_t *output, uint32_t *scratch)
{
    const uint32_t words = pixels * ((channels + 31u) / 32u);
    picobnn_rows_selector select = {4u * channels, 0u, 0u, 0u};
    picobnn_rows_job job = make_job(filters, scratch);
    uint32_t *list = job.carries + filters->carry_words;

    scratch[3] = 0u;
    job.words = output;
    for (; count != 0u; --count) {
        const uint32_t ones = count_ones(input, words);
        uint32_t *end;

        select_bits(filters, &select, &job, channels, 2u * ones > filters->segment_rows);
        end = picobnn_rows_list(list, input, pixels, 0u, &select);
        pad_list(end, 4u * filters->segment_rows);
        set_segment(scratch, scratch, list, end, 0u);
        job.addend = 0u - (uint32_t)(end - list);
        filters->add(&job);
        if (filters->flips != NULL) {
            picobnn_flip_words(job.words, filters->flips, filters->groups);
        }
        input += words;
        job.words += filters->groups;
    }
}

void picobnn_rows_dense_bits(const picobnn_rows_dense_layer *layer, const uint32_t *input,
                             uint32_t *output, uint32_t *scratch)
{
    run_dense(&layer->filters, 1u, layer->pixels, layer->channels, input, output, scratch);
}

/* The lists of the columns under the window, for one row of positions. Columns count from the left
 * padding. */
typedef struct {
    picobnn_rows_selector select;
    uint32_t pixel_words;
    uint32_t width; /* of the map */
    uint32_t pad_left;
    uint32_t kernel_width;
    uint32_t column_bytes;
    uint32_t outside_selects;      /* in this row padding is -1 and clear bits select */
    const uint32_t *input;         /* first input row under the window */
    const uint32_t *row_ones;      /* per input row: set bits, each as often as windows see it */
    uint32_t above, inside, below; /* kernel rows over the map and over the padding */
    uint32_t *memory;              /* the job's */
    uint32_t *lists;
    uint32_t *limit;  /* no list begins behind it */
    uint32_t *end;    /* of the last list */
    uint32_t *seam;   /* end of the last list before the front */
    uint32_t *begins; /* per column under the window: where its list begins, from `lists` */
    uint32_t slot;    /* of the oldest column */
    uint32_t next;    /* the first column that has no list yet */
} window;

/* Appends `count` consecutive rows. */
static PICOBNN_NOINLINE uint32_t *list_all(uint32_t *next, uint32_t count, uint32_t row)
{
    for (; count != 0u; --count) {
        *next++ = row;
        row += 4u;
    }
    return next;
}

/* The list of a column whose rows start at `row`, where the padding selects rows too; x is its
 * place on the map or beyond. */
static PICOBNN_NOINLINE uint32_t *list_padded_column(const window *view, uint32_t *next, uint32_t x,
                                                     uint32_t row)
{
    const uint32_t channels = view->select.row_bytes / 4u;

    if (x >= view->width || view->inside == 0u) {
        return list_all(next, view->column_bytes / 4u - 1u, row);
    }
    next = list_all(next, view->above * channels, row);
    row += view->above * view->select.row_bytes;
    next = picobnn_rows_list(next, view->input + x * view->pixel_words, view->inside, row,
                             &view->select);
    row += view->inside * view->select.row_bytes;
    return list_all(next, view->below * channels, row);
}

/* Builds the list of a column; columns left of the map wrap to large places. */
PICOBNN_INLINE uint32_t *list_column(const window *view, uint32_t *next, uint32_t column)
{
    const uint32_t x = column - view->pad_left;
    const uint32_t row = column * view->column_bytes;

    if (view->outside_selects) {
        return list_padded_column(view, next, x, row);
    }
    if (x >= view->width || view->inside == 0u) {
        return next;
    }
    return picobnn_rows_list(next, view->input + x * view->pixel_words, view->inside,
                             row + view->above * view->select.row_bytes, &view->select);
}

/* Per row of the map: its set bits, each as often as the windows of a row of positions see it. */
static void count_rows(const picobnn_rows_conv2d_layer *layer, const uint32_t *input,
                       uint32_t pixel_words, uint32_t *row_ones)
{
    for (uint32_t y = layer->shape.in_height; y != 0u; --y) {
        const uint16_t *run = layer->column_runs;
        uint32_t ones = 0u;

        for (uint32_t x = layer->shape.in_width; x != 0u; x -= run[-2]) {
            const uint32_t words = run[0] * pixel_words;

            if (run[1] != 0u) {
                ones += run[1] * count_ones(input, words);
            }
            input += words;
            run += 2;
        }
        *row_ones++ = ones;
    }
}

/* Stands at the row of positions whose windows begin at input row `top`, in front of the first, and
 * has the bits select of which the row's windows hold fewer: with s set bits in them, of taps that
 * count, s or taps - s rows are added. A padding of -1 is clear. */
static void start_row(window *view, picobnn_rows_job *job, const picobnn_rows_conv2d_layer *layer,
                      const uint32_t *input, int32_t top)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const picobnn_span rows = picobnn_clip(top, shape->kernel_height, shape->in_height);
    const uint32_t pitch = view->width * view->pixel_words;
    uint32_t ones = 0u;
    uint32_t clear;

    view->above = shape->kernel_height;
    view->inside = 0u;
    if (rows.begin < rows.end) {
        view->above = (uint32_t)(rows.begin - top);
        view->inside = (uint32_t)(rows.end - rows.begin);
        view->input = input + (uint32_t)rows.begin * pitch;
        for (int32_t y = rows.begin; y < rows.end; ++y) {
            ones += view->row_ones[y];
        }
    }
    view->below = shape->kernel_height - view->above - view->inside;
    clear =
        2u * ones > layer->row_taps * (layer->pad_is_zero ? view->inside : shape->kernel_height);
    view->outside_selects = clear && !layer->pad_is_zero;
    select_bits(&layer->filters, &view->select, job, shape->in_channels, clear);
    view->end = view->lists;
    view->slot = 0u;
    view->next = 0u;
}

/* Moves the window to column `left`, right of the last, and sets the segments; returns the number
 * of selected rows. */
static PICOBNN_NOINLINE uint32_t move_window(window *view, uint32_t left)
{
    const uint32_t count = view->kernel_width;
    const uint32_t column_bytes = view->column_bytes;
    const uint32_t base = 0u - left * column_bytes;
    uint32_t column = view->next > left ? view->next : left;
    uint32_t slot = view->slot;
    uint32_t *end = view->end;
    uint32_t *begin;
    uint32_t *segment = view->memory;
    uint32_t selected;

    for (; column != left + count; ++column) {
        if (end > view->limit) {
            view->seam = end;
            pad_list(end, column * column_bytes - 4u);
            end = view->lists;
        }
        view->begins[slot] = (uint32_t)(end - view->lists);
        ++slot;
        if (slot == count) {
            slot = 0u;
        }
        end = list_column(view, end, column);
    }
    pad_list(end, column * column_bytes - 4u);
    view->next = column;
    view->slot = slot;
    view->end = end;
    begin = view->lists + view->begins[slot];
    selected = (uint32_t)(end - begin);
    if (begin > end) {
        selected = (uint32_t)(view->seam - begin) + (uint32_t)(end - view->lists);
        set_segment(segment, view->memory, begin, view->seam, base);
        begin = view->lists;
        segment += 3;
    }
    set_segment(segment, view->memory, begin, end, base);
    segment[3] = 0u;
    return selected;
}

/* ORs the words of a position into the output pixels whose pool windows hold it, from `pixel` on;
 * `begin` is where the window of the first one begins. */
PICOBNN_INLINE void merge_position(const picobnn_rows_conv2d_layer *layer, const uint32_t *words,
                                   uint32_t *pixel, uint32_t pixels, int32_t begin, int32_t x)
{
    const uint32_t groups = layer->filters.groups;

    for (; pixels != 0u && begin <= x; --pixels) {
        for (uint32_t group = 0u; group < groups; ++group) {
            *pixel++ |= words[group];
        }
        begin += layer->shape.pool_stride_x;
    }
}

/* Runs the positions of accumulator row y that a pool window covers; merges them into the row of
 * output pixels. Without a pool they are the output pixels. */
static void add_row(const picobnn_rows_conv2d_layer *layer, window *view, picobnn_rows_job *job,
                    uint32_t y, uint32_t is_pooled, uint32_t *output)
{
    const picobnn_rows_filters *filters = &layer->filters;
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t *starts = job->starts;
    uint32_t *const words = job->words;
    const uint32_t groups = filters->groups;
    uint32_t left = 0u;
    uint32_t pixels = shape->out_width;             /* left to do */
    int32_t begin = -(int32_t)shape->pool_pad_left; /* of the next output pixel's pool window */

    for (int32_t x = 0; x < shape->map_width; ++x, left += shape->stride_x) {
        while (begin + shape->pool_width <= x) {
            begin += shape->pool_stride_x;
            output += groups;
            --pixels;
            if (pixels == 0u) {
                break;
            }
        }
        if (pixels == 0u) {
            break;
        }
        if (begin > x) {
            continue;
        }
        job->addend = 0u - move_window(view, left);
        if (layer->row_sets != NULL) {
            const uint32_t set = (uint32_t)layer->row_sets[y] + layer->column_sets[x];

            job->starts = starts + set * groups * filters->planes;
        }
        if (!is_pooled) {
            job->words = output;
        }
        filters->add(job);
        if (filters->flips != NULL) {
            picobnn_flip_words(job->words, filters->flips, groups);
        }
        if (is_pooled) {
            merge_position(layer, words, output, pixels, begin, x);
        }
    }
    job->starts = starts;
    job->words = words;
}

/* A 1x1 window that visits every pixel once, without a pool: every pixel is the input of a dense
 * layer. The generator refuses wider strides that padding below or to the right gives these
 * sizes. */
PICOBNN_INLINE uint32_t is_pointwise(const picobnn_conv2d_shape *shape)
{
    return shape->kernel_height == 1u && shape->kernel_width == 1u && shape->pool_height == 1u &&
           shape->pool_width == 1u && shape->out_height == shape->in_height &&
           shape->out_width == shape->in_width && shape->map_height == shape->in_height &&
           shape->map_width == shape->in_width && shape->pad_top == 0u && shape->pad_left == 0u;
}

void picobnn_rows_conv2d_bits(const picobnn_rows_conv2d_layer *layer, const uint32_t *input,
                              uint32_t *output, uint32_t *scratch)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const picobnn_rows_filters *filters = &layer->filters;
    const uint32_t is_pooled = shape->pool_height != 1u || shape->pool_width != 1u;
    const uint32_t row_words = shape->out_width * filters->groups;
    const uint32_t pixel_words = (shape->in_channels + 31u) / 32u;
    picobnn_rows_job job;
    window view;
    uint32_t *row_ones;
    int32_t pool_top = -(int32_t)shape->pool_pad_top;

    if (filters->final_flips == NULL && is_pointwise(shape)) {
        run_dense(filters, (uint32_t)shape->in_height * shape->in_width, 1u, shape->in_channels,
                  input, output, scratch);
        return;
    }
    view.select.row_bytes = 4u * shape->in_channels;
    view.select.gap_bytes = 4u * (shape->in_width - 1u) * pixel_words;
    view.pixel_words = pixel_words;
    view.width = shape->in_width;
    view.pad_left = shape->pad_left;
    view.kernel_width = shape->kernel_width;
    view.column_bytes = 4u * (filters->segment_rows + 1u);
    view.memory = scratch;
    job = make_job(filters, scratch);
    view.begins = job.carries + filters->carry_words;
    row_ones = view.begins + filters->segments;
    count_rows(layer, input, pixel_words, row_ones);
    view.row_ones = row_ones;
    view.lists = row_ones + shape->in_height;
    view.limit = view.lists + filters->list_words - filters->segment_rows - PADDING;
    view.seam = view.lists;
    for (uint32_t out_y = shape->out_height; out_y != 0u; --out_y) {
        const picobnn_span rows = picobnn_clip(pool_top, shape->pool_height, shape->map_height);

        if (is_pooled) {
            for (uint32_t i = 0u; i < row_words; ++i) {
                output[i] = 0u;
            }
        }
        for (int32_t y = rows.begin; y < rows.end; ++y) {
            start_row(&view, &job, layer, input, y * shape->stride_y - shape->pad_top);
            add_row(layer, &view, &job, (uint32_t)y, is_pooled, output);
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
