/* SPDX-License-Identifier: MIT-0
 * picobnn xnor kernels: filters beside a patch. Contracts stand in picobnn_xnor.h.
 *
 * The frequent lengths have loops of their own, which keep everything in registers.
 */
#include "picobnn_xnor_patch.h"

/* The hot loops. Each compares `lanes` (1 to 32) filters with one patch: bit 32 - lanes + i of the
 * result is 2 * mismatches < limits[i], the bits below are 0. A mark at bit lanes - 1 comes down as
 * results come in from the top: it counts the lanes. */

/* Nine words per filter: a 3x3 window over 32 channels. */
PICOBNN_HOT(xnor_compare_9)
uint32_t picobnn_xnor_compare_9(const uint32_t *w, const patch *x, const uint16_t *limits,
                                uint32_t lanes)
{
    const masks m = make_masks();
    const uint32_t *bits = x->bits;
    uint32_t result = 1u << (lanes - 1u);
    uint32_t is_last;

    do {
        const uint32_t mismatches = total_of_few(count_nine(w, bits, m));

        w += 9;
        is_last = result & 1u;
        result = picobnn_shift_in_sign(result, 2u * mismatches - *limits++);
    } while (!is_last);
    return result;
}

/* One to eight words per filter. */
PICOBNN_HOT(xnor_compare_few)
uint32_t picobnn_xnor_compare_few(const uint32_t *w, const patch *x, const uint16_t *limits,
                                  uint32_t lanes)
{
    masks m = make_masks();
    const uint32_t *bits = x->bits;
    const uint32_t words = x->words;
    uint32_t result = 1u << (lanes - 1u);
    uint32_t is_last;

    do {
        const uint32_t *next = bits;
        uint32_t bytes = 0u, left = words;

        for (; left >= 3u; left -= 3u) {
            const triple t = differ(w, next, 0u);

            KEEP_MASKS_ASIDE(m);
            bytes += count_three(t.a, t.b, t.c, m);
            w += 3;
            next += 3;
        }
        if (left != 0u) {
            const uint32_t even = *w++ ^ next[0];
            const uint32_t odd = left == 1u ? 0u : *w++ ^ next[1];

            bytes += count_three(even, odd, 0u, m);
        }
        is_last = result & 1u;
        result = picobnn_shift_in_sign(result, 2u * total_of_few(bytes) - *limits++);
    } while (!is_last);
    return result;
}

/* A multiple of eighteen words per filter: a 3x3 window over a multiple of 64 channels. */
PICOBNN_HOT(xnor_compare_18)
uint32_t picobnn_xnor_compare_18(const uint32_t *w, const patch *x, const uint16_t *limits,
                                 uint32_t lanes)
{
    const masks m = make_masks();
    const uint32_t *bits = x->bits, *end = bits + x->words;
    uint32_t result = 1u << (lanes - 1u);
    uint32_t is_last;

    do {
        const uint32_t *next = bits;
        uint32_t count = 0u;

        do {
            count = add_bytes(count, count_nine(w, next, m));
            count = add_bytes(count, count_nine(w + 9, next + 9, m));
            w += 18;
            next += 18;
            KEEP_IN_REGISTER(w);
            KEEP_IN_REGISTER(next);
        } while (next != end);
        is_last = result & 1u;
        result = picobnn_shift_in_sign(result, 2u * total(count) - *limits++);
    } while (!is_last);
    return result;
}

PICOBNN_HOT(xnor_compare_runs)
uint32_t picobnn_xnor_compare_runs(const uint32_t *w, const uint32_t *bits, uint32_t words,
                                   const uint16_t *limits, uint32_t lanes, uint32_t *sums)
{
    masks m = make_masks();
    uint32_t result = 0u;

    do {
        const uint32_t *x = bits;
        uint32_t count = 0u, left = words;

        for (; left >= 9u; left -= 9u) {
            count = add_bytes(count, count_nine(w, x, m));
            w += 9;
            x += 9;
            KEEP_IN_REGISTER(w);
            KEEP_IN_REGISTER(x);
        }
        for (; left >= 3u; left -= 3u) {
            const triple t = differ(w, x, 0u);

            KEEP_MASKS_ASIDE(m);
            count = add_bytes(count, count_three(t.a, t.b, t.c, m));
            w += 3;
            x += 3;
        }
        if (left != 0u) {
            const uint32_t even = *w++ ^ x[0];
            const uint32_t odd = left == 1u ? 0u : *w++ ^ x[1];

            count = add_bytes(count, count_three(even, odd, 0u, m));
        }
        count = total(count);
        if (limits != NULL) {
            result = picobnn_shift_in_sign(result, 2u * count - *limits++);
        } else {
            *sums++ += count;
        }
    } while (--lanes != 0u);
    return result;
}

/* The same as the hot loops in zero padding. */
PICOBNN_HOT(xnor_compare_at_border)
uint32_t picobnn_xnor_compare_at_border(const uint32_t *w, const patch *x, const uint16_t *limits,
                                        uint32_t lanes)
{
    uint32_t sums[32];
    uint32_t result = 0u;

    clear(sums, lanes);
    add_mismatches(w, x, lanes, sums);
    for (uint32_t lane = 0u; lane < lanes; ++lane) {
        result = picobnn_shift_in_sign(result, sums[lane] - limits[lane]);
    }
    return result;
}

PICOBNN_HOT(xnor_compare_any)
uint32_t picobnn_xnor_compare_any(const uint32_t *w, const patch *x, const uint16_t *limits,
                                  uint32_t lanes)
{
    return picobnn_xnor_compare_runs(w, x->bits, x->words, limits, lanes, NULL);
}

/* Two words per filter: a 1x1 window over 64 channels. Two filters at a time. */
PICOBNN_HOT(xnor_compare_2)
uint32_t picobnn_xnor_compare_2(const uint32_t *w, const patch *x, const uint16_t *limits,
                                uint32_t lanes)
{
    const masks m = make_masks();
    const uint32_t x0 = x->bits[0], x1 = x->bits[1];
    uint32_t result = 0u;

    if (lanes % 2u != 0u) {
        return picobnn_xnor_compare_few(w, x, limits, lanes);
    }
    do {
        uint32_t a = w[0], limit = limits[0], b = w[1];

        PIN(a, b, limit, a, b, limit);
        a = total_of_few(count_three(a ^ x0, b ^ x1, 0u, m));
        result = picobnn_shift_in_sign(result, 2u * a - limit);
        FENCE();
        a = w[2];
        limit = limits[1];
        b = w[3];
        PIN(a, b, limit, a, b, limit);
        a = total_of_few(count_three(a ^ x0, b ^ x1, 0u, m));
        result = picobnn_shift_in_sign(result, 2u * a - limit);
        w += 4;
        limits += 2;
        KEEP_IN_REGISTER(w);
        KEEP_IN_REGISTER(limits);
    } while ((lanes -= 2u) != 0u);
    return result;
}
