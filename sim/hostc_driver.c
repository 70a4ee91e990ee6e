/* SPDX-License-Identifier: Apache-2.0
 * Runs generated models over batches of images for sim/hostc.py, and copies every step's output.
 * Holds the trace pointer in a static variable: one call at a time.
 */
#include <string.h>

#include "picobnn_runtime.h"

#define DAMAGED_GUARD 100

typedef picobnn_status run_function(void *arena, size_t arena_bytes, const uint8_t *input);
typedef uint8_t *input_function(void *arena);
typedef const void *output_function(const void *arena);

int picobnn_host_run(run_function *run, input_function *input, output_function *output,
                     uint8_t *arena, size_t arena_bytes, size_t guard_bytes, const uint8_t *images,
                     size_t image_bytes, size_t count, uint8_t *results, size_t result_bytes,
                     uint8_t *trace);

static uint8_t *trace_next;

int picobnn_layer_hook(uint32_t step, const void *output, uint32_t output_bytes)
{
    (void)step;
    if (trace_next != NULL) {
        memcpy(trace_next, output, output_bytes);
        trace_next += output_bytes;
    }
    return 0;
}

/* The bytes behind the arena must stay as they are. trace: all steps' outputs per image, or null.
 */
int picobnn_host_run(run_function *run, input_function *input, output_function *output,
                     uint8_t *arena, size_t arena_bytes, size_t guard_bytes, const uint8_t *images,
                     size_t image_bytes, size_t count, uint8_t *results, size_t result_bytes,
                     uint8_t *trace)
{
    trace_next = trace;
    for (size_t image = 0u; image < count; ++image) {
        picobnn_status status;

        memcpy(input(arena), images, image_bytes);
        images += image_bytes;
        status = run(arena, arena_bytes, input(arena));
        if (status != PICOBNN_OK) {
            return (int)status;
        }
        memcpy(results, output(arena), result_bytes);
        results += result_bytes;
    }
    trace_next = NULL;
    for (size_t i = 0u; i < guard_bytes; ++i) {
        if (arena[arena_bytes + i] != 0xA5u) {
            return DAMAGED_GUARD;
        }
    }
    return (int)PICOBNN_OK;
}
