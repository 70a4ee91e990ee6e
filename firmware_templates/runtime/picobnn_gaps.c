/* SPDX-License-Identifier: MIT-0
 * picobnn gaps kernel. Contract and format stand in the header.
 *
 * An entry holds the words to go on and by how much to turn the word there so that the bit lands in
 * the sign: no position is kept.
 */
#include "picobnn_gaps.h"

#include "picobnn_xnor_count.h"

#define LAST_RUN 8u
#define WORDS_AT 5u

/* A word turned right by the low five bits of an entry; the bits above them make no difference. */
PICOBNN_INLINE uint32_t turned(uint32_t word, uint32_t entry)
{
#if defined(__GNUC__) && defined(__thumb2__)
    __asm__("ror %0, %0, %1" : "+r"(word) : "r"(entry));
    return word;
#elif defined(__GNUC__) && defined(__thumb__)
    __asm__(".syntax unified\n\trors %0, %1" : "+l"(word) : "l"(entry) : "cc");
    return word;
#else
    entry %= 32u;
    return (word >> entry) | (word << ((32u - entry) % 32u));
#endif
}

/* Where a filter's walk stands. */
typedef struct {
    const uint8_t *gaps;
    uint32_t word;  /* index into the input */
    uint32_t found; /* d so far */
} place;

/* Adds the sign. The sums of several entries are not added first, as GCC would. */
PICOBNN_INLINE void add_sign(place *at, uint32_t word)
{
    at->found += word >> 31;
    KEEP_IN_REGISTER(at->found);
}

/* Entry i. */
PICOBNN_INLINE void count_one(place *at, const uint32_t *input, uint32_t i)
{
    const uint32_t entry = at->gaps[i];

    at->word += entry >> WORDS_AT;
    add_sign(at, turned(input[at->word], entry));
}

/* Entries i to i + 3. */
PICOBNN_INLINE void count_four(place *at, const uint32_t *input, uint32_t i)
{
#if HAS_IMMEDIATES
    /* Registers hold four at once, and loads one behind the other take a cycle less each. */
    const uint32_t e0 = at->gaps[i], e1 = at->gaps[i + 1u];
    const uint32_t e2 = at->gaps[i + 2u], e3 = at->gaps[i + 3u];
    uint32_t w0, w1, w2, w3, x0, x1, x2, x3;

    PIN(e0, e1, e2, e3, e0, e1);
    w0 = at->word + (e0 >> WORDS_AT);
    w1 = w0 + (e1 >> WORDS_AT);
    w2 = w1 + (e2 >> WORDS_AT);
    w3 = w2 + (e3 >> WORDS_AT);
    PIN(w0, w1, w2, w3, w0, w1);
    x0 = input[w0];
    x1 = input[w1];
    x2 = input[w2];
    x3 = input[w3];
    PIN(x0, x1, x2, x3, x0, x1);
    at->word = w3;
    add_sign(at, turned(x0, e0));
    add_sign(at, turned(x1, e1));
    add_sign(at, turned(x2, e2));
    add_sign(at, turned(x3, e3));
#else
    count_one(at, input, i);
    count_one(at, input, i + 1u);
    count_one(at, input, i + 2u);
    count_one(at, input, i + 3u);
#endif
    FENCE();
}

/* The hot loop: d of one filter, whose runs begin at *gaps; moves *gaps behind them. */
static PICOBNN_NOINLINE PICOBNN_HOT(gaps_count)
uint32_t count_listed(const uint8_t **gaps, const uint32_t *input)
{
    place at = {*gaps, 0u, 0u};
    uint32_t rest;

    do {
        const uint8_t *end = at.gaps + 3u + 8u * at.gaps[0];

        rest = at.gaps[1];
        at.word += at.gaps[2];
        for (at.gaps += 3; at.gaps != end; at.gaps += 8) {
            count_four(&at, input, 0u);
            count_four(&at, input, 4u);
        }
        for (end += rest % LAST_RUN; at.gaps != end; ++at.gaps) {
            count_one(&at, input, 0u);
        }
    } while (rest < LAST_RUN);
    *gaps = at.gaps;
    return at.found;
}

/* Set bits of the input. */
static PICOBNN_NOINLINE PICOBNN_HOT(gaps_set)
uint32_t count_set(const uint32_t *input, uint32_t words)
{
    const masks m = make_masks();
    uint32_t count = 0u;

    for (; words >= 3u; words -= 3u) {
        count = add_bytes(count, count_three(input[0], input[1], input[2], m));
        input += 3;
    }
    if (words != 0u) {
        count = add_bytes(count, count_three(input[0], words == 1u ? 0u : input[1], 0u, m));
    }
    return total(count);
}

/* balance * p. */
static uint32_t balance_of(const picobnn_gaps_layer *layer, const uint32_t *input)
{
    return layer->balance == 0u ? 0u : layer->balance * count_set(input, layer->words);
}

void picobnn_gaps_bits(const picobnn_gaps_layer *layer, const uint32_t *input, uint32_t *output,
                       uint32_t *scratch)
{
    const uint32_t start = balance_of(layer, input);
    const int32_t *limits = layer->limits;
    const uint32_t *flips = layer->flips;
    const uint8_t *gaps = layer->gaps;

    (void)scratch;
    for (uint32_t left = layer->count; left != 0u;) {
        const uint32_t lanes = left < 32u ? left : 32u;
        uint32_t bits = 0u;

        for (uint32_t lane = lanes; lane != 0u; --lane) {
            const uint32_t sum = layer->factor * count_listed(&gaps, input) + start;

            bits = (bits >> 1) | (~(sum - (uint32_t)*limits++) & 0x80000000u);
        }
        bits >>= 32u - lanes;
        if (flips != NULL) {
            bits ^= *flips++;
        }
        *output++ = bits;
        left -= lanes;
    }
}

void picobnn_gaps_scale(const picobnn_gaps_layer *layer, const uint32_t *input, int32_t *output,
                        uint32_t *scratch)
{
    const uint32_t start = balance_of(layer, input);
    const uint8_t *gaps = layer->gaps;

    (void)scratch;
    for (uint32_t i = 0u; i < layer->count; ++i) {
        const uint32_t sum = layer->factor * count_listed(&gaps, input) + start;

        output[i] = (int32_t)(sum * (uint32_t)layer->multipliers[i] + (uint32_t)layer->biases[i]);
    }
}
