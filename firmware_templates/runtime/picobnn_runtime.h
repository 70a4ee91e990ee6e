/* SPDX-License-Identifier: MIT-0
 * picobnn runtime: what every generated model needs, whatever its kernels.
 *
 * Contract: no heap, no recursion, no stdio, no floating point, no state; every function is
 * reentrant. Several models in one firmware share one copy of the runtime.
 */
#ifndef PICOBNN_RUNTIME_H
#define PICOBNN_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

/* Generated code refuses to compile against another version. */
#define PICOBNN_RUNTIME_VERSION 1

/* Puts a table into its own linker section, so that the map file names it and unused ones can go.
 */
#if defined(__GNUC__) && defined(__ELF__)
#define PICOBNN_SECTION(name) __attribute__((section(name)))
#else
#define PICOBNN_SECTION(name)
#endif

/* The same with the alignment that kernels ask of their tables, whatever the element and -O. */
#if defined(__GNUC__)
#define PICOBNN_TABLE(name) PICOBNN_SECTION(name) __attribute__((aligned(4)))
#else
#define PICOBNN_TABLE(name) PICOBNN_SECTION(name)
#endif

/* Marks an inner loop. Its section .text.picobnn_hot.* is code like any other until a linker script
 * puts it into RAM: where flash has wait states, these loops are what gains. */
#define PICOBNN_HOT(name) PICOBNN_SECTION(".text.picobnn_hot." #name)

/* `value`, a constant; above `limit` the code does not compile. */
#define PICOBNN_AT_MOST(value, limit)                                                              \
    ((uint32_t)((value) + 0u * sizeof(char[(value) <= (limit) ? 1 : -1])))

/* Kernels rely on these being inlined, at -Os too. */
#if defined(__GNUC__)
#define PICOBNN_INLINE static inline __attribute__((always_inline))
#define PICOBNN_NOINLINE __attribute__((noinline))
#else
#define PICOBNN_INLINE static inline
#define PICOBNN_NOINLINE
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    PICOBNN_OK = 0,
    PICOBNN_ERROR_ARENA = 1,     /* arena is null, not 4-byte aligned or too small */
    PICOBNN_ERROR_INPUT = 2,     /* input is null */
    PICOBNN_ERROR_WEIGHTS = 3,   /* CRC of the weight tables differs: flash is damaged */
    PICOBNN_ERROR_SELF_TEST = 4, /* the golden vector gave another result */
    PICOBNN_STOPPED = 5          /* the layer hook asked to stop */
} picobnn_status;

#if !defined(PICOBNN_NO_STRINGS)
/* A short English text for people; never null. */
const char *picobnn_status_str(picobnn_status status);
#endif

/* CRC-32 as in zlib and Ethernet (reflected 0xEDB88320). Start with crc = 0; chain calls for
 * data in pieces. data may have any alignment and may be null when bytes is 0. Takes 64 bytes of
 * flash for its table. */
uint32_t picobnn_crc32(uint32_t crc, const void *data, size_t bytes);

/* Index of the largest of count >= 1 logits; ties go to the lower index. */
uint32_t picobnn_argmax(const int32_t *logits, uint32_t count);

#if defined(PICOBNN_LAYER_HOOK)
/* Defined by the application in builds with -DPICOBNN_LAYER_HOOK. Called after every step with the
 * step's output as stored; a non-zero result stops the run with PICOBNN_STOPPED. */
int picobnn_layer_hook(uint32_t step, const void *output, uint32_t output_bytes);
#endif

#ifdef __cplusplus
}
#endif

#endif
