/* SPDX-License-Identifier: MIT-0
 * picobnn runtime: status texts, CRC-32, argmax. Contracts stand in the header.
 */
#include "picobnn_runtime.h"

#if !defined(PICOBNN_NO_STRINGS)
const char *picobnn_status_str(picobnn_status status)
{
    switch (status) {
    case PICOBNN_OK:
        return "ok";
    case PICOBNN_ERROR_ARENA:
        return "arena is null, misaligned or too small";
    case PICOBNN_ERROR_INPUT:
        return "input is null";
    case PICOBNN_ERROR_WEIGHTS:
        return "weights are damaged";
    case PICOBNN_ERROR_SELF_TEST:
        return "self test failed";
    case PICOBNN_STOPPED:
        return "stopped by the layer hook";
    }
    return "unknown status";
}
#endif

uint32_t picobnn_crc32(uint32_t crc, const void *data, size_t bytes)
{
    static const uint32_t nibble_crc[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *next = (const uint8_t *)data;

    crc = ~crc;
    for (; bytes != 0u; --bytes) {
        crc ^= *next++;
        crc = (crc >> 4) ^ nibble_crc[crc & 15u];
        crc = (crc >> 4) ^ nibble_crc[crc & 15u];
    }
    return ~crc;
}

uint32_t picobnn_argmax(const int32_t *logits, uint32_t count)
{
    uint32_t best = 0u;

    for (uint32_t i = 1u; i < count; ++i) {
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    return best;
}
