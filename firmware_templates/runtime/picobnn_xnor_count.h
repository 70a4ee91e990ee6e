/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels: how the differing bits of a few words are counted. Part of the kernels
 * xnor, xnor_general and gaps; not for applications.
 *
 * No Cortex-M has a popcount instruction: nine words at a time go through carry-save adders and
 * nibble sums. Full adders (5 operations) turn three words into a sum and a carry word, so that
 * nine words cost three adders and two counts of three words each.
 */
#ifndef PICOBNN_XNOR_COUNT_H
#define PICOBNN_XNOR_COUNT_H

#include "picobnn_runtime.h"

#if defined(__GNUC__) && defined(__arm__)
/* Keeps a value in a register: GCC would rather split `x & (y >> 1)` into two instructions. */
#define KEEP_IN_REGISTER(value) __asm__("" : "+r"(value))
/* Keeps loads behind this point, so that nine words never need nine registers at once. */
#define FENCE() __asm__ volatile("" : : : "memory")
#else
#define KEEP_IN_REGISTER(value) ((void)(value))
#define FENCE() ((void)0)
#endif

#if defined(__GNUC__) && defined(__thumb2__)
/* Masks are immediate operands, and all registers serve. */
#define HAS_IMMEDIATES 1
/* Wants six loaded values at once: loads one behind the other take a cycle less each. */
#define PIN(a, b, c, d, e, f)                                                                      \
    __asm__ volatile("" : : "r"(a), "r"(b), "r"(c), "r"(d), "r"(e), "r"(f))
#else
#define HAS_IMMEDIATES 0
#define PIN(a, b, c, d, e, f) ((void)0)
#endif

typedef struct {
    uint32_t m5, m3, mf; /* every second bit, two of four, four of eight */
} masks;

#if defined(__GNUC__) && defined(__thumb__) && !defined(__thumb2__)
/* Keeps the masks in r8 to r12, which few instructions reach: in a loop GCC would rather give them
 * three of the eight registers that compute. */
#define KEEP_MASKS_ASIDE(m)                                                                        \
    do {                                                                                           \
        __asm__("" : "+h"((m).m5));                                                                \
        __asm__("" : "+h"((m).m3));                                                                \
        __asm__("" : "+h"((m).mf));                                                                \
    } while (0)
#else
#define KEEP_MASKS_ASIDE(m) ((void)(m))
#endif

/* Two running counts in 16-bit halves, or one count where USADA8 exists; see total(). */
PICOBNN_INLINE uint32_t add_bytes(uint32_t count, uint32_t bytes)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP)
    uint32_t result;

    __asm__("usada8 %0, %1, %2, %3" : "=r"(result) : "r"(bytes), "r"(0u), "r"(count));
    return result;
#else
    return count + (bytes & 0x00FF00FFu) + ((bytes >> 8) & 0x00FF00FFu);
#endif
}

PICOBNN_INLINE uint32_t total(uint32_t count)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP)
    return count;
#else
    return (count & 0xFFFFu) + (count >> 16);
#endif
}

/* total() of add_bytes() where no byte is above 127. */
PICOBNN_INLINE uint32_t total_of_few(uint32_t bytes)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP)
    return add_bytes(0u, bytes);
#else
    const uint32_t pairs = bytes + (bytes >> 8);

    return (pairs & 0xFFu) + ((pairs >> 16) & 0xFFu);
#endif
}

/* Adds a and b to the sum, bit by bit; returns the carries. Five operations. */
PICOBNN_INLINE uint32_t full_adder(uint32_t *sum, uint32_t a, uint32_t b)
{
    uint32_t s = *sum;
#if HAS_IMMEDIATES
    const uint32_t half = a ^ b;

    *sum = half ^ s;
    return (a & b) | (half & s);
#else
    /* In place: with two operands per instruction there is no copy to make. */
    b ^= a;
    KEEP_IN_REGISTER(b);
    a &= ~b;
    KEEP_IN_REGISTER(a);
    s ^= b;
    KEEP_IN_REGISTER(s);
    b &= ~s;
    *sum = s;
    return a | b;
#endif
}

/* The two halves of every field added; `mask` holds the low ones, `bits` wide. */
PICOBNN_INLINE uint32_t add_halves(uint32_t fields, uint32_t mask, uint32_t bits)
{
    uint32_t low = fields & mask;

    KEEP_IN_REGISTER(low);
    return low + ((fields - low) >> bits);
}

/* Number of ones of three words, per byte (0 to 24). */
PICOBNN_INLINE uint32_t count_three(uint32_t a, uint32_t b, uint32_t c, masks m)
{
    /* Bits of c fill the pairs of a and b up: at most 3 per pair, 12 per nibble. */
    const uint32_t even = a - (m.m5 & (a >> 1)) + (c & m.m5);
    const uint32_t odd = b - (m.m5 & (b >> 1)) + (m.m5 & (c >> 1));
#if HAS_IMMEDIATES
    uint32_t even_high = even & 0xCCCCCCCCu, odd_high = odd & 0xCCCCCCCCu, high;
    uint32_t sum = (even & 0x33333333u) + (odd & 0x33333333u);

    (void)m;
    KEEP_IN_REGISTER(even_high);
    sum += even_high >> 2;
    KEEP_IN_REGISTER(odd_high);
    KEEP_IN_REGISTER(sum);
    sum += odd_high >> 2;
    high = sum & 0xF0F0F0F0u;
    KEEP_IN_REGISTER(high);
    return (sum & 0x0F0F0F0Fu) + (high >> 4);
#else
    return add_halves(add_halves(even, m.m3, 2u) + add_halves(odd, m.m3, 2u), m.mf, 4u);
#endif
}

typedef struct {
    uint32_t a, b, c;
} triple;

/* Differing bits of three words; `ahead`: with all six loads first. */
PICOBNN_INLINE triple differ(const uint32_t *w, const uint32_t *x, uint32_t ahead)
{
    triple t;
    uint32_t w0 = w[0], x0 = x[0], w1 = w[1], x1 = x[1], w2, x2;

    if (ahead) {
        w2 = w[2];
        x2 = x[2];
        PIN(w0, x0, w1, x1, w2, x2);
    } else {
        PIN(w0, x0, w1, x1, w0, x0);
        w2 = w[2];
        x2 = x[2];
    }
    t.a = w0 ^ x0;
    t.b = w1 ^ x1;
    t.c = w2 ^ x2;
    return t;
}

/* Differing bits of nine words, per byte (0 to 72). */
PICOBNN_INLINE uint32_t count_nine(const uint32_t *w, const uint32_t *x, masks m)
{
    uint32_t s0, s1, s2, c0, c1, c2;
    triple t;

    FENCE();
    t = differ(w, x, 1u);
    s0 = t.c;
    c0 = full_adder(&s0, t.a, t.b);
    FENCE();
    t = differ(w + 3, x + 3, 1u);
    s1 = t.c;
    c1 = full_adder(&s1, t.a, t.b);
    FENCE();
    t = differ(w + 6, x + 6, 0u);
    s2 = t.c;
    c2 = full_adder(&s2, t.a, t.b);
    FENCE();
    return count_three(s0, s1, s2, m) + 2u * count_three(c0, c1, c2, m);
}

PICOBNN_INLINE masks make_masks(void)
{
    masks m = {0x55555555u, 0x33333333u, 0x0F0F0F0Fu};

    KEEP_IN_REGISTER(m.m5);
    KEEP_IN_REGISTER(m.m3);
    KEEP_IN_REGISTER(m.mf);
    return m;
}

#endif
