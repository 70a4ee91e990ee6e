/* SPDX-License-Identifier: Apache-2.0
 * Unit tests of the runtime in plain C; run by tests/c/test_runtime.py, on the host with
 * sanitizers.
 */
#include "picobnn_direct.h"
#include "picobnn_runtime.h"
#include "picobnn_xnor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void check(int passed, const char *what, int line)
{
    if (!passed) {
        printf("line %d: %s\n", line, what);
        ++failures;
    }
}

#define CHECK(condition) check((condition) != 0, #condition, __LINE__)

static void test_argmax(void)
{
    static const int32_t ties[] = {-5, 7, 3, 7, 7};
    static const int32_t extremes[] = {INT32_MIN, INT32_MIN, INT32_MAX};

    CHECK(picobnn_argmax(ties, 5u) == 1u);
    CHECK(picobnn_argmax(ties, 1u) == 0u);
    CHECK(picobnn_argmax(extremes, 2u) == 0u);
    CHECK(picobnn_argmax(extremes, 3u) == 2u);
}

static void test_crc32(void)
{
    static const char digits[] = "123456789";
    uint32_t crc = picobnn_crc32(0u, digits, 9u);

    CHECK(crc == 0xCBF43926u);
    CHECK(picobnn_crc32(picobnn_crc32(0u, digits, 4u), digits + 4, 5u) == crc);
    CHECK(picobnn_crc32(0u, NULL, 0u) == 0u);
}

static void test_status_texts(void)
{
    int status;

    for (status = 0; status <= 6; ++status) {
        CHECK(strlen(picobnn_status_str((picobnn_status)status)) > 1u);
    }
}

/* The number of differing bits, the slow way. */
static uint32_t differing(uint32_t a, uint32_t b)
{
    uint32_t count = 0u, bit;

    for (bit = 0u; bit < 32u; ++bit) {
        count += ((a ^ b) >> bit) & 1u;
    }
    return count;
}

static uint32_t random_word(void)
{
    static uint32_t state = 1u;

    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* The loop that the code generator would name. */
static picobnn_xnor_compare *loop_for(uint32_t words)
{
    if (words <= 8u) {
        return words == 2u ? picobnn_xnor_compare_2 : picobnn_xnor_compare_few;
    }
    if (words % 18u == 0u) {
        return picobnn_xnor_compare_18;
    }
    return words == 9u ? picobnn_xnor_compare_9 : picobnn_xnor_compare_any;
}

/* Dense layers of 1 to 40 words against the slow count; exact heap blocks, so that a sanitizer sees
 * every access outside. */
static void test_dense_of_every_length(void)
{
    enum { FILTERS = 35 };
    uint32_t words;

    for (words = 1u; words <= 40u; ++words) {
        uint32_t *weights = (uint32_t *)malloc(FILTERS * words * sizeof(uint32_t));
        uint32_t *input = (uint32_t *)malloc(words * sizeof(uint32_t));
        uint16_t *limits = (uint16_t *)malloc(FILTERS * sizeof(uint16_t));
        uint32_t *output = (uint32_t *)malloc(2u * sizeof(uint32_t));
        picobnn_xnor_dense_layer layer;
        uint32_t i, k;

        CHECK(weights != NULL && input != NULL && limits != NULL && output != NULL);
        for (i = 0u; i < FILTERS * words; ++i) {
            weights[i] = random_word();
        }
        for (i = 0u; i < words; ++i) {
            input[i] = i % 3u == 0u ? ~weights[i] : random_word();
        }
        for (i = 0u; i < FILTERS; ++i) {
            limits[i] = (uint16_t)(32u * words - 20u + random_word() % 41u);
        }
        memset(&layer, 0, sizeof layer);
        layer.pixels = 1u;
        layer.channels = 32u * words;
        layer.filters.count = FILTERS;
        layer.filters.words = words;
        layer.filters.taps = 32u * words;
        layer.filters.weights = weights;
        layer.filters.compare = loop_for(words);
        layer.filters.limits = limits;
        picobnn_xnor_dense_bits(&layer, input, output, NULL);
        for (i = 0u; i < FILTERS; ++i) {
            uint32_t count = 0u;

            for (k = 0u; k < words; ++k) {
                count += differing(weights[i * words + k], input[k]);
            }
            CHECK(((output[i / 32u] >> (i % 32u)) & 1u) == (2u * count < limits[i]));
        }
        CHECK(output[1] >> (FILTERS - 32) == 0u);
        free(weights);
        free(input);
        free(limits);
        free(output);
    }
}

/* One pixel, one tap per filter: the compare at its ends. */
static void test_direct_ends(void)
{
    static const uint32_t weights[4] = {1u, 1u, 0u, 0u};
    static const int32_t thresholds[4] = {255, 256, -255, -254};
    static const uint32_t flips[1] = {8u};
    const uint8_t image[1] = {255u};
    uint32_t scratch[16], output[1] = {0xFFFFFFFFu};
    picobnn_direct_conv2d_layer layer;

    memset(&layer, 0, sizeof layer);
    layer.shape.in_height = layer.shape.in_width = layer.shape.in_channels = 1u;
    layer.shape.kernel_height = layer.shape.kernel_width = 1u;
    layer.shape.stride_y = layer.shape.stride_x = 1u;
    layer.shape.map_height = layer.shape.map_width = 1u;
    layer.shape.pool_height = layer.shape.pool_width = 1u;
    layer.shape.pool_stride_y = layer.shape.pool_stride_x = 1u;
    layer.shape.out_height = layer.shape.out_width = 1u;
    layer.count = 4u;
    layer.taps = 1u;
    layer.weights = weights;
    layer.thresholds = thresholds;
    layer.final_flips = flips;
    picobnn_direct_conv2d_bits(&layer, image, output, scratch);
    CHECK(output[0] == (1u | 4u | 8u));
}

int main(void)
{
    test_argmax();
    test_crc32();
    test_status_texts();
    test_dense_of_every_length();
    test_direct_ends();
    if (failures != 0) {
        printf("%d failures\n", failures);
    }
    return failures != 0;
}
