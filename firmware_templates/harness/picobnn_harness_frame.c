/* SPDX-License-Identifier: MIT-0 */
/*
 * Frames on the serial port: 00 | COBS(header, payload, CRC-32) | 00.
 *
 * Contract: one receive buffer; a frame is valid until the next receive. Between frames the
 * receiver drops text; an empty frame is no frame. A frame that is damaged or too long is reported
 * with valid = 0. COBS is decoded while bytes arrive and encoded while they leave, so that no
 * second buffer is needed.
 */
#include "picobnn_harness.h"

#define BUFFER_BYTES (PICOBNN_HEADER_BYTES + PICOBNN_HARNESS_MAX_PAYLOAD + PICOBNN_CRC_BYTES)

static uint32_t receive_words[(BUFFER_BYTES + 3u) / 4u];

/* CRC-32 of IEEE 802.3, reflected: equal to zlib's crc32. Start with 0. */
uint32_t picobnn_harness_crc(uint32_t crc, const void *data, size_t bytes)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *byte = data;
    crc = ~crc;
    for (; bytes != 0u; bytes--) {
        crc ^= *byte++;
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

uint16_t picobnn_harness_get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | (bytes[1] << 8));
}

uint32_t picobnn_harness_get32(const uint8_t *bytes)
{
    return (uint32_t)picobnn_harness_get16(bytes) |
           ((uint32_t)picobnn_harness_get16(bytes + 2) << 16);
}

void picobnn_harness_put16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value & 0xFFu);
    bytes[1] = (uint8_t)(value >> 8);
}

void picobnn_harness_put32(uint8_t *bytes, uint32_t value)
{
    picobnn_harness_put16(bytes, (uint16_t)(value & 0xFFFFu));
    picobnn_harness_put16(bytes + 2, (uint16_t)(value >> 16));
}

void picobnn_harness_put64(uint8_t *bytes, uint64_t value)
{
    picobnn_harness_put32(bytes, (uint32_t)(value & 0xFFFFFFFFu));
    picobnn_harness_put32(bytes + 4, (uint32_t)(value >> 32));
}

/* Waits for the 00 that opens a frame, then for its first byte: text and empty frames are skipped.
 */
static uint8_t picobnn_harness_first_code(void)
{
    uint8_t byte;
    while (picobnn_board_uart_read() != 0u) {
    }
    do {
        byte = picobnn_board_uart_read();
    } while (byte == 0u);
    return byte;
}

/* Decodes one COBS body up to and including its closing 00. Returns the size, or 0 when it is
 * damaged or too long. */
static size_t picobnn_harness_decode(uint8_t *buffer)
{
    size_t size = 0;
    int whole = 1;
    uint8_t code = picobnn_harness_first_code();
    for (;;) {
        uint8_t left = (uint8_t)(code - 1u);
        uint8_t next = 0;
        for (; left != 0u; left--) {
            next = picobnn_board_uart_read();
            if (next == 0u) {
                return 0;
            }
            if (size < BUFFER_BYTES) {
                buffer[size++] = next;
            } else {
                whole = 0;
            }
        }
        next = picobnn_board_uart_read();
        if (next == 0u) {
            return whole ? size : 0u;
        }
        if (code != 0xFFu) {
            if (size < BUFFER_BYTES) {
                buffer[size++] = 0;
            } else {
                whole = 0;
            }
        }
        code = next;
    }
}

void picobnn_harness_receive(picobnn_harness_frame *frame)
{
    uint8_t *buffer = (uint8_t *)receive_words;
    const size_t size = picobnn_harness_decode(buffer);
    frame->bytes = buffer;
    frame->size = 0;
    frame->crc = 0;
    frame->valid = 0;
    if (size >= PICOBNN_HEADER_BYTES + PICOBNN_CRC_BYTES) {
        frame->size = size - PICOBNN_CRC_BYTES;
        frame->crc = picobnn_harness_get32(buffer + frame->size);
        frame->valid = picobnn_harness_crc(0, buffer, frame->size) == frame->crc;
    }
}

void picobnn_harness_send(const uint8_t *bytes, size_t size)
{
    uint8_t crc[PICOBNN_CRC_BYTES];
    const size_t total = size + PICOBNN_CRC_BYTES;
    size_t at = 0;
    picobnn_harness_put32(crc, picobnn_harness_crc(0, bytes, size));
    picobnn_board_uart_write(0);
    for (;;) {
        size_t end = at;
        int full;
        while (end < total && end - at < 254u &&
               (end < size ? bytes[end] : crc[end - size]) != 0u) {
            end++;
        }
        full = end - at == 254u;
        picobnn_board_uart_write((uint8_t)(end - at + 1u));
        for (; at < end; at++) {
            picobnn_board_uart_write(at < size ? bytes[at] : crc[at - size]);
        }
        if (at == total) {
            break;
        }
        if (!full) {
            at++; /* the zero that the block stands for */
        }
    }
    picobnn_board_uart_write(0);
}
