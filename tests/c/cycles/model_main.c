/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the generated model "model" twice on a fixed image, marks its steps, and ends the emulator.
 * Exit code: 0, or 1 when the model does not answer PICOBNN_OK. */
#include "model.h"

void *memset(void *to, int value, size_t bytes);
void *memcpy(void *to, const void *from, size_t bytes);

static uint32_t arena[(MODEL_ARENA_BYTES + 3) / 4];
static volatile uint32_t place;

extern uint32_t stack_top[];
void picobnn_harness_reset(void);
void picobnn_harness_mark(uint32_t number);
int picobnn_layer_hook(uint32_t step, const void *output, uint32_t output_bytes);

__attribute__((section(".vectors"), used)) const void *const vectors[] = {
    stack_top,
    (const void *)picobnn_harness_reset,
};

/* The image has no C library; gcc calls these. */
void *memset(void *to, int value, size_t bytes)
{
    volatile uint8_t *bytes_to = to;
    while (bytes-- != 0u) {
        *bytes_to++ = (uint8_t)value;
    }
    return to;
}

void *memcpy(void *to, const void *from, size_t bytes)
{
    volatile uint8_t *bytes_to = to;
    const uint8_t *bytes_from = from;
    while (bytes-- != 0u) {
        *bytes_to++ = *bytes_from++;
    }
    return to;
}

__attribute__((noinline, noclone)) void picobnn_harness_mark(uint32_t number)
{
    place = number;
}

/* The checksum belongs to the hook and must not be counted. */
int picobnn_layer_hook(uint32_t step, const void *output, uint32_t output_bytes)
{
    picobnn_harness_mark(step + 1u);
    place = picobnn_crc32(0, output, output_bytes);
    return 0;
}

static __attribute__((noreturn)) void picobnn_harness_exit(uint32_t code)
{
    uint32_t block[2] = {0x20026u, code};
    register uint32_t operation __asm__("r0") = 0x20u; /* SYS_EXIT_EXTENDED */
    register const uint32_t *parameters __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(operation) : "r"(parameters) : "memory");
    for (;;) {
    }
}

void picobnn_harness_reset(void)
{
    uint8_t *image = model_input(arena);
    uint32_t repeat;
    picobnn_status status = PICOBNN_OK;

    for (repeat = 0; repeat < 2u && status == PICOBNN_OK; repeat++) {
        uint32_t i;
        for (i = 0; i < MODEL_INPUT_BYTES; i++) {
            image[i] = (uint8_t)(i * 37u);
        }
        picobnn_harness_mark(0);
        status = model_run(arena, sizeof arena, image);
    }
    picobnn_harness_exit(status == PICOBNN_OK ? 0u : 1u);
}
