/* SPDX-License-Identifier: MIT-0 */
/*
 * BEGIN, DATA, END: an image from the host into the image buffer.
 *
 * Contract: the image counts as loaded only after END found the CRC-32 of the buffer itself, not of
 * the bytes on the wire, equal to what BEGIN announced. DATA may repeat bytes but may not leave a
 * gap.
 */
#include "picobnn_harness.h"

static uint32_t expected_crc;
static uint32_t contiguous;
static uint8_t transfer;
static uint8_t open;
static uint8_t loaded;

int picobnn_harness_image_loaded(void)
{
    return loaded != 0u;
}

void picobnn_harness_begin(const picobnn_harness_request *request, picobnn_harness_reply *reply)
{
    const uint32_t size = picobnn_harness_model.image_tensor->bytes;
    if (request->payload_bytes != PICOBNN_BEGIN_REQUEST_BYTES) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_LEN, PICOBNN_BEGIN_REQUEST_BYTES);
    } else if (request->payload[PICOBNN_BEGIN_REQUEST_TENSOR] != PICOBNN_TENSOR_IMAGE) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_NO_TENSOR,
                             request->payload[PICOBNN_BEGIN_REQUEST_TENSOR]);
    } else if (picobnn_harness_get32(request->payload + PICOBNN_BEGIN_REQUEST_TOTAL) != size) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_SHAPE_MISMATCH, size);
    } else {
        expected_crc = picobnn_harness_get32(request->payload + PICOBNN_BEGIN_REQUEST_CRC);
        contiguous = 0;
        transfer = request->payload[PICOBNN_BEGIN_REQUEST_TRANSFER];
        open = 1;
        loaded = 0;
        reply->payload[PICOBNN_BEGIN_REPLY_TRANSFER] = transfer;
        reply->payload[PICOBNN_BEGIN_REPLY_RESERVED] = 0;
        reply->payload_bytes = PICOBNN_BEGIN_REPLY_BYTES;
    }
}

void picobnn_harness_data(const picobnn_harness_request *request, picobnn_harness_reply *reply)
{
    const uint32_t size = picobnn_harness_model.image_tensor->bytes;
    uint32_t offset;
    uint32_t bytes;
    uint32_t i;
    if (request->payload_bytes < PICOBNN_DATA_REQUEST_BYTES) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_LEN, PICOBNN_DATA_REQUEST_BYTES);
        return;
    }
    if (open == 0u || request->payload[PICOBNN_DATA_REQUEST_TRANSFER] != transfer) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_ARG, transfer);
        return;
    }
    offset = picobnn_harness_get32(request->payload + PICOBNN_DATA_REQUEST_OFFSET);
    bytes = (uint32_t)(request->payload_bytes - PICOBNN_DATA_REQUEST_BYTES);
    if (offset > contiguous || bytes > size - offset) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_OUT_OF_RANGE, contiguous);
        return;
    }
    for (i = 0; i < bytes; i++) {
        picobnn_harness_model.image[offset + i] = request->payload[PICOBNN_DATA_REQUEST_BYTES + i];
    }
    if (offset + bytes > contiguous) {
        contiguous = offset + bytes;
    }
    picobnn_harness_put32(reply->payload + PICOBNN_DATA_REPLY_CONTIGUOUS, contiguous);
    reply->payload_bytes = PICOBNN_DATA_REPLY_BYTES;
}

void picobnn_harness_end(const picobnn_harness_request *request, picobnn_harness_reply *reply)
{
    const uint32_t size = picobnn_harness_model.image_tensor->bytes;
    uint32_t crc;
    if (request->payload_bytes != PICOBNN_END_REQUEST_BYTES) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_LEN, PICOBNN_END_REQUEST_BYTES);
        return;
    }
    if (open == 0u || request->payload[PICOBNN_END_REQUEST_TRANSFER] != transfer) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_ARG, transfer);
        return;
    }
    if (contiguous != size) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_OUT_OF_RANGE, contiguous);
        return;
    }
    crc = picobnn_harness_crc(0, picobnn_harness_model.image, size);
    open = 0;
    if (crc != expected_crc) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_CRC, crc);
        return;
    }
    loaded = 1;
    picobnn_harness_put32(reply->payload + PICOBNN_END_REPLY_CRC, crc);
    reply->payload_bytes = PICOBNN_END_REPLY_BYTES;
}
