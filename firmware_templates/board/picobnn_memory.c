/* SPDX-License-Identifier: MIT-0 */
/*
 * The four memory functions that a compiler may call from freestanding code. The linker drops those
 * that nothing calls.
 *
 * Contract: as in C99. Words are moved when both ends are word aligned. This file is compiled with
 * -fno-tree-loop-distribute-patterns, or the loops below would become calls of themselves.
 */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict target, const void *restrict source, size_t bytes);
void *memmove(void *target, const void *source, size_t bytes);
void *memset(void *target, int value, size_t bytes);
int memcmp(const void *left, const void *right, size_t bytes);

typedef uint32_t __attribute__((may_alias)) word;

/* From the lowest byte to the highest, so the target may overlap the source from below. */
static void copy_upwards(uint8_t *to, const uint8_t *from, size_t bytes)
{
    if ((((uintptr_t)to | (uintptr_t)from) & 3u) == 0u) {
        for (; bytes >= 4u; bytes -= 4u, to += 4, from += 4) {
            *(word *)(void *)to = *(const word *)(const void *)from;
        }
    }
    for (; bytes != 0u; bytes--) {
        *to++ = *from++;
    }
}

void *memcpy(void *restrict target, const void *restrict source, size_t bytes)
{
    copy_upwards(target, source, bytes);
    return target;
}

void *memmove(void *target, const void *source, size_t bytes)
{
    uint8_t *to = target;
    const uint8_t *from = source;
    if ((uintptr_t)to - (uintptr_t)from >= bytes) {
        copy_upwards(to, from, bytes);
        return target;
    }
    while (bytes != 0u) {
        bytes--;
        to[bytes] = from[bytes];
    }
    return target;
}

void *memset(void *target, int value, size_t bytes)
{
    uint8_t *to = target;
    const uint32_t pattern = 0x01010101u * (uint8_t)value;
    if (((uintptr_t)to & 3u) == 0u) {
        for (; bytes >= 4u; bytes -= 4u, to += 4) {
            *(word *)(void *)to = pattern;
        }
    }
    for (; bytes != 0u; bytes--) {
        *to++ = (uint8_t)value;
    }
    return target;
}

int memcmp(const void *left, const void *right, size_t bytes)
{
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (; bytes != 0u; bytes--, a++, b++) {
        if (*a != *b) {
            return (int)*a - (int)*b;
        }
    }
    return 0;
}
