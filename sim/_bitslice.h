/* SPDX-License-Identifier: Apache-2.0 */
/* The bit-sliced executor in C: a program as tables, and the two entry points made from
 * _bitslice_lanes.h.
 *
 * A map holds one vector per element (H, W, C order); lane l of it is image l of the block: bit l %
 * 8 of byte l / 8. The image holds eight vectors per element, plane k being bit k of the byte.
 * Every map is followed by one vector of zeros. With s the sum of the window's selected values, S
 * the sum of all that count for the channel and D a constant of the channel, a step's bit is
 * 2^k s + r S >= D, computed as 2^k (s + c) + low >= total: c and low are the counters' initial
 * value, total is bias - r S, or bias + r (2^sum_bits - 1 - S) where r is positive. bitslice.py
 * makes the tables. Nothing here allocates; the caller gives a workspace.
 */
#ifndef PICOBNN_SIM_BITSLICE_H
#define PICOBNN_SIM_BITSLICE_H

#include <stdint.h>
#include <string.h>

#define BITSLICE_MOST_BITS 56  /* of a counter */
#define BITSLICE_ENTRY_BITS 10 /* of a sum of up to four bytes */
#define BITSLICE_MOST_LANES 256

typedef struct {
    int32_t height, width, stride_y, stride_x, pad_top, pad_left; /* of the window */
    int32_t in_height, in_width, rows, columns; /* of the map read, and of the positions */
} bitslice_window;

typedef struct {
    int32_t is_input, is_scaled, is_pooled, pools_bits;
    int32_t input, output; /* tensors */
    int32_t in_channels, out_channels, taps;
    bitslice_window window, pool;
    int32_t counter_bits;     /* of s + c */
    int32_t shift;            /* k; total has counter_bits + k bits */
    int32_t multiplied;       /* 0: S is counted straight into total (r is -1 or 0) */
    int32_t sum_bits;         /* of S where multiplied */
    uint32_t ratio_size;      /* |r| where multiplied */
    int32_t complemented;     /* r is positive */
    int32_t total_lists;      /* lists of S */
    const int32_t *total_of;  /* (out_channels,): each channel's list; equal ones together */
    int32_t group;            /* input step: taps per subset table */
    int32_t column_classes;   /* border classes along x */
    const int32_t *row_class; /* (rows,), (columns,): which constants a position uses */
    const int32_t *column_class;
    const uint32_t *offsets; /* all channels' selected words, then those of S; in window bytes */
    const uint32_t *starts;  /* (out_channels + total_lists + 1,) into offsets */
    const uint64_t *initial; /* (classes, out_channels, k + counter_bits): low, then c, as masks */
    const uint64_t *initial_total; /* (counter_bits + k,): bias as masks */
    const uint64_t *flip;          /* (out_channels,) masks */
    const int64_t *constant; /* scaled: (classes, out_channels), acc = gain s + total_gain S + it */
    const int32_t *multiplier, *bias;
    int64_t gain, total_gain;
} bitslice_step;

typedef struct {
    int32_t step_count, zero_point;
    int64_t image_bytes;
    const bitslice_step *steps;
    const int64_t *map_offsets; /* (tensors,) bytes into the workspace */
    const int64_t *map_vectors; /* (tensors,) */
    int64_t scratch_offset;     /* bytes into the workspace */
} bitslice_program;

static inline uint64_t bitslice_transpose8(uint64_t x)
{
    uint64_t t;
    t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAu;
    x ^= t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCu;
    x ^= t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0u;
    return x ^ t ^ (t << 28);
}

/* Pool positions p with p * stride - pad <= at < p * stride - pad + size, inside 0 .. count - 1. */
static inline void bitslice_cover(int32_t at, int32_t size, int32_t stride, int32_t pad,
                                  int32_t count, int32_t *first, int32_t *last)
{
    const int32_t low = at + pad - size + 1;
    const int32_t high = (at + pad) / stride;
    *first = low <= 0 ? 0 : (low + stride - 1) / stride;
    *last = high < count ? high : count - 1;
}

#if defined(__GNUC__)
typedef uint64_t bitslice_v128 __attribute__((vector_size(16)));
#define VECTOR bitslice_v128
#define SPLAT(x) ((bitslice_v128){(x), (x)})
#else
#define VECTOR uint64_t
#define SPLAT(x) (x)
#endif
#define LANES_NAME(name) name##_portable
#define LANES_TARGET
#include "_bitslice_lanes.h"

#if defined(__GNUC__) && defined(__x86_64__)
#define BITSLICE_HAS_AVX2 1
typedef uint64_t bitslice_v256 __attribute__((vector_size(32)));
#define VECTOR bitslice_v256
#define SPLAT(x) ((bitslice_v256){(x), (x), (x), (x)})
#define LANES_NAME(name) name##_avx2
#define LANES_TARGET __attribute__((target("avx2")))
#include "_bitslice_lanes.h"

static inline int bitslice_cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}
#else
#define BITSLICE_HAS_AVX2 0
#define bitslice_run_avx2 bitslice_run_portable
#define bitslice_lanes_avx2 bitslice_lanes_portable
static inline int bitslice_cpu_has_avx2(void)
{
    return 0;
}
#endif

#endif
