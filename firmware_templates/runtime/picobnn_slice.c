/* SPDX-License-Identifier: MIT-0
 * picobnn slice kernel. Contract and the identity stand in the header.
 *
 * A row of positions reads a strip of kernel_height rows that stand in scratch with their padding,
 * column by column, so that the taps of a window are one run of words and nothing asks for the
 * border. Going down, each new row of the map takes the slot of the oldest one.
 */
#include "picobnn_slice.h"
#include "picobnn_adders.h"

#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_8M_MAIN__) ||      \
    defined(__ARM_ARCH_8_1M_MAIN__) || defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#define HAVE_ASSEMBLY 1
#else
#define HAVE_ASSEMBLY 0
#endif

#if HAVE_ASSEMBLY
/* The assembly knows this. */
typedef char job_is_fourteen_words[offsetof(picobnn_slice_job, count) == 52u ? 1 : -1];
#endif

static const uint32_t outside = 0u;

/* The walk over the map: what does not change, and which rows the strip holds. */
typedef struct {
    const picobnn_slice_conv2d_layer *layer;
    const uint32_t *input;
    const uint32_t *strip;
    uint32_t *slots;    /* those of the first column that comes from the map */
    uint32_t copied;    /* columns that come from the map */
    uint32_t row_words; /* of the map */
    uint32_t set_words; /* of a set of starts */
    uint32_t pad_top;
    uint32_t in_height;
    uint32_t height;   /* of the window */
    uint32_t has_core; /* the assembly runs it */
    uint32_t next;     /* row of the padded map that comes next */
    uint32_t slot;     /* where it goes: of the oldest row */
    picobnn_slice_job job;
} slice_walk;

/* Copies the job's row into its slot. */
static void copy_row(const slice_walk *walk)
{
    const picobnn_slice_job *job = &walk->job;
    const uint32_t *group_from = job->from;
    uint32_t *group_to = job->slot;

    for (uint32_t group = walk->layer->groups; group != 0u; --group) {
        const uint32_t *from = group_from;
        uint32_t *to = group_to;

        for (uint32_t x = job->count; x != 0u; --x) {
            *to = *from;
            from += job->from_step / 4u;
            to += walk->height;
        }
        group_from += job->from_group / 4u;
        group_to += job->strip_bytes / 4u;
    }
}

/* Lanes whose counters overflow under one window of the strip. */
PICOBNN_INLINE uint32_t count_window(const picobnn_conv2d_shape *shape, uint32_t planes,
                                     const uint32_t *strip, const uint32_t *weights,
                                     const uint32_t *starts)
{
    uint32_t count[PICOBNN_SLICE_MAX_PLANES];
    uint32_t extra = 0xFFFFFFFFu; /* the 1 that comes in */
    uint32_t overflow = 0u;

    for (uint32_t plane = 0u; plane < planes; ++plane) {
        count[plane] = starts[plane];
    }
    for (uint32_t x = shape->kernel_width; x != 0u; --x) {
        for (uint32_t y = 0u; y < shape->kernel_height; y += 2u) {
            const uint32_t first = strip[y] ^ weights[y];
            const uint32_t second =
                y + 1u < shape->kernel_height ? strip[y + 1u] ^ weights[y + 1u] : extra;
            uint32_t carry = picobnn_full_adder(&count[0], first, second);

            if (y + 1u == shape->kernel_height) {
                extra = 0u;
            }
            for (uint32_t plane = 1u; plane < planes; ++plane) {
                const uint32_t sum = count[plane] ^ carry;

                carry &= count[plane];
                count[plane] = sum;
            }
            overflow |= carry;
        }
        strip += shape->kernel_height;
        weights += 2u * shape->kernel_height - 1u;
    }
    for (uint32_t plane = 0u; plane < planes; ++plane) {
        extra &= count[plane];
    }
    return overflow | extra;
}

/* Any window and any number of planes. */
static PICOBNN_NOINLINE void run_any(const picobnn_slice_conv2d_layer *layer,
                                     const picobnn_slice_job *job)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t filter_words = shape->kernel_width * (2u * shape->kernel_height - 1u);
    const uint32_t *strip = job->strip;
    const uint32_t *weights = job->weights;
    const uint32_t *starts = job->starts;

    for (uint32_t group = 0u; group < job->groups; ++group) {
        const uint32_t *column = strip;
        uint32_t *output = job->output + group;

        for (uint32_t x = job->positions; x != 0u; --x) {
            *output =
                count_window(shape, layer->planes, column, weights, starts) ^ starts[layer->planes];
            column += job->step_bytes / 4u;
            output += job->groups;
        }
        strip += job->strip_bytes / 4u;
        weights += filter_words;
        starts += layer->planes + 1u;
    }
}

static PICOBNN_NOINLINE void run_job(slice_walk *walk)
{
#if HAVE_ASSEMBLY
    if (walk->has_core) {
        picobnn_slice_3x3(&walk->job);
        return;
    }
#endif
    copy_row(walk);
    if (walk->job.positions != 0u) { /* before the first there are no starts to point at */
        run_any(walk->layer, &walk->job);
    }
}

/* Makes the next row of the padded map the one that the job copies. */
PICOBNN_INLINE void set_row(slice_walk *walk)
{
    const uint32_t y = walk->next - walk->pad_top; /* rows above the map wrap */
    const uint32_t slot = walk->slot;

    walk->job.from = &outside;
    walk->job.from_step = 0u;
    walk->job.from_group = 0u;
    if (y < walk->in_height) {
        walk->job.from = walk->input + y * walk->row_words;
        walk->job.from_step = walk->job.pixel_bytes;
        walk->job.from_group = 4u;
    }
    walk->job.slot = walk->slots + slot;
    walk->job.count = walk->copied;
    walk->slot = slot + 1u == walk->height ? 0u : slot + 1u;
    ++walk->next;
}

/* Runs row `y` of the positions. The rows under its windows go into the strip as far as they are
 * not there, the last of them with the first job. */
PICOBNN_INLINE void run_row(slice_walk *walk, uint32_t y, uint32_t *output)
{
    const picobnn_slice_conv2d_layer *layer = walk->layer;
    const uint32_t top = y * layer->shape.stride_y;
    const uint32_t bottom = top + walk->height;
    const uint32_t *strip = walk->strip;
    const uint32_t *starts = layer->starts;
    const uint32_t *weights = layer->weights;
    const uint16_t *span = layer->spans;

    if (top >= walk->next || bottom < walk->next) {
        walk->next = top;
        walk->slot = 0u;
    }
    walk->job.positions = 0u;
    while (walk->next + 1u < bottom) {
        set_row(walk);
        run_job(walk);
    }
    walk->job.count = 0u;
    if (walk->next != bottom) {
        set_row(walk);
    }
    if (walk->slot != 0u) {
        weights += walk->height - walk->slot;
    }
    if (layer->row_sets != NULL) {
        starts += layer->row_sets[y] * walk->set_words;
    }
    for (uint32_t left = layer->span_count;;) {
        const uint32_t positions = *span++;

        walk->job.strip = strip;
        walk->job.weights = weights;
        walk->job.starts = starts + *span++ * walk->set_words;
        walk->job.output = output;
        walk->job.positions = positions;
        run_job(walk);
        if (--left == 0u) {
            return;
        }
        walk->job.count = 0u;
        strip += positions * (walk->job.step_bytes / 4u);
        output += positions * layer->groups;
    }
}

/* ORs a row of positions into the output pixels whose pool windows hold them. */
static PICOBNN_NOINLINE void merge_row(const picobnn_slice_conv2d_layer *layer, const uint32_t *row,
                                       uint32_t *output)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t groups = layer->groups;
    int32_t left = -(int32_t)shape->pool_pad_left;

    for (uint32_t x = shape->out_width; x != 0u; --x) {
        const picobnn_span columns = picobnn_clip(left, shape->pool_width, shape->map_width);
        const uint32_t *word = row + (uint32_t)columns.begin * groups;

        for (uint32_t count = (uint32_t)(columns.end - columns.begin); count != 0u; --count) {
            for (uint32_t group = 0u; group < groups; ++group) {
                output[group] |= *word++;
            }
        }
        output += groups;
        left += shape->pool_stride_x;
    }
}

static PICOBNN_NOINLINE void clear_words(uint32_t *words, uint32_t count)
{
    for (; count != 0u; --count) {
        *words++ = 0u;
    }
}

/* Stands before the first row, with the padding left and right of the map in the strip. */
static PICOBNN_NOINLINE void start_walk(slice_walk *walk, const picobnn_slice_conv2d_layer *layer,
                                        const uint32_t *input, uint32_t *strip)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t height = shape->kernel_height;
    const uint32_t group_words = layer->columns * height;
    const uint32_t left = shape->pad_left < layer->columns ? shape->pad_left : layer->columns;
    uint32_t right = layer->columns - left;

    walk->copied = right < shape->in_width ? right : shape->in_width;
    right -= walk->copied;
    walk->layer = layer;
    walk->input = input;
    walk->strip = strip;
    walk->slots = strip + left * height;
    walk->row_words = shape->in_width * layer->groups;
    walk->set_words = layer->groups * (layer->planes + 1u);
    walk->pad_top = shape->pad_top;
    walk->in_height = shape->in_height;
    walk->height = height;
    walk->has_core =
        height == 3u && shape->kernel_width == 3u && layer->planes == 3u && shape->stride_x <= 2u;
    walk->next = 0u;
    walk->slot = 0u;
    walk->job.strip_bytes = 4u * group_words;
    walk->job.pixel_bytes = 4u * layer->groups;
    walk->job.step_bytes = 4u * shape->stride_x * height;
    walk->job.groups = layer->groups;
    for (uint32_t group = layer->groups; group != 0u; --group) {
        clear_words(strip, left * height);
        clear_words(strip + (left + walk->copied) * height, right * height);
        strip += group_words;
    }
}

static PICOBNN_NOINLINE void flip_row(const picobnn_slice_conv2d_layer *layer, uint32_t *output)
{
    for (uint32_t x = layer->shape.out_width; x != 0u; --x) {
        picobnn_flip_words(output, layer->final_flips, layer->groups);
        output += layer->groups;
    }
}

void picobnn_slice_conv2d_bits(const picobnn_slice_conv2d_layer *layer, const uint32_t *input,
                               uint32_t *output, uint32_t *scratch)
{
    const picobnn_conv2d_shape *shape = &layer->shape;
    const uint32_t is_pooled = shape->pool_height != 1u || shape->pool_width != 1u ||
                               shape->pool_stride_y != 1u || shape->pool_stride_x != 1u;
    const uint32_t row_words = shape->out_width * layer->groups;
    uint32_t *row = scratch + layer->groups * layer->columns * shape->kernel_height;
    slice_walk walk;
    int32_t pool_top = -(int32_t)shape->pool_pad_top;

    start_walk(&walk, layer, input, scratch);
    for (uint32_t out_y = shape->out_height; out_y != 0u; --out_y) {
        const picobnn_span span = picobnn_clip(pool_top, shape->pool_height, shape->map_height);

        if (is_pooled) {
            clear_words(output, row_words);
        }
        for (int32_t y = span.begin; y < span.end; ++y) {
            run_row(&walk, (uint32_t)y, is_pooled ? row : output);
            if (is_pooled) {
                merge_row(layer, row, output);
            }
        }
        if (layer->final_flips != NULL) {
            flip_row(layer, output);
        }
        output += row_words;
        pool_top += shape->pool_stride_y;
    }
}
