/* SPDX-License-Identifier: MIT-0 */
/*
 * The request loop: HELLO, INFO, PING, BYE here; uploads and runs in their own files.
 *
 * Contract: every whole request gets exactly one reply; an unknown command gets UNSUPPORTED. A
 * request that equals the previous one (sequence number, command and CRC) is a retransmit: the
 * stored reply is sent again and nothing is executed. A request of another session than the one
 * HELLO opened is not executed; its reply carries the device's session, 0 after a reset. A damaged
 * frame gets a NAK.
 */
#include "picobnn_harness.h"

static uint32_t reply_words[(PICOBNN_HEADER_BYTES + PICOBNN_HARNESS_MAX_PAYLOAD + 3u) / 4u];
static uint32_t bad_frames;
static uint16_t session;

void picobnn_harness_fail(picobnn_harness_reply *reply, uint8_t status, uint32_t detail)
{
    reply->status = status;
    picobnn_harness_put32(reply->payload + PICOBNN_ERROR_REPLY_DETAIL, detail);
    reply->payload_bytes = PICOBNN_ERROR_REPLY_BYTES;
}

static void picobnn_harness_copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (; bytes != 0u; bytes--) {
        *to++ = *from++;
    }
}

static void picobnn_harness_hello(const picobnn_harness_request *request,
                                  picobnn_harness_reply *reply)
{
    uint8_t *to = reply->payload;
    uint16_t capabilities = PICOBNN_CAPABILITY_LAYER_TRACE;
    uint32_t nonce;
    if (request->payload_bytes != PICOBNN_HELLO_REQUEST_BYTES) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_LEN, PICOBNN_HELLO_REQUEST_BYTES);
        return;
    }
    if (PICOBNN_UART_FLOW_CONTROL) {
        capabilities |= PICOBNN_CAPABILITY_FLOW_CONTROL;
    }
    if (PICOBNN_BOARD_EMULATED) {
        capabilities |= PICOBNN_CAPABILITY_EMULATED;
    }
    nonce = picobnn_harness_get32(request->payload + PICOBNN_HELLO_REQUEST_NONCE);
    session = (uint16_t)(nonce & 0xFFFFu);
    picobnn_board_boot.fault_count = 0;
    picobnn_harness_put32(to + PICOBNN_HELLO_REPLY_NONCE, nonce);
    to[PICOBNN_HELLO_REPLY_MAJOR] = PICOBNN_PROTOCOL_MAJOR;
    to[PICOBNN_HELLO_REPLY_MINOR] = PICOBNN_PROTOCOL_MINOR;
    picobnn_harness_put16(to + PICOBNN_HELLO_REPLY_CAPABILITIES, capabilities);
    picobnn_harness_put16(to + PICOBNN_HELLO_REPLY_MAX_PAYLOAD, PICOBNN_HARNESS_MAX_PAYLOAD);
    picobnn_harness_put16(to + PICOBNN_HELLO_REPLY_RX_RING, 0);
    picobnn_harness_put32(to + PICOBNN_HELLO_REPLY_BAUD, PICOBNN_UART_BAUD);
    picobnn_harness_put32(to + PICOBNN_HELLO_REPLY_CPUID, PICOBNN_REG(0xE000ED00u));
    picobnn_harness_put32(to + PICOBNN_HELLO_REPLY_CLOCK_HZ, PICOBNN_CLOCK_HZ);
    to[PICOBNN_HELLO_REPLY_TIMER_KIND] = picobnn_harness_timer_kind();
    to[PICOBNN_HELLO_REPLY_RESET_CAUSE] = (uint8_t)picobnn_board_reset_cause();
    picobnn_harness_put16(to + PICOBNN_HELLO_REPLY_STEP_COUNT, picobnn_harness_model.step_count);
    picobnn_harness_put32(to + PICOBNN_HELLO_REPLY_BOOT_COUNT, picobnn_board_boot.boot_count);
    picobnn_harness_copy(to + PICOBNN_HELLO_REPLY_BUILD_ID, picobnn_board_build_id(), 20);
    picobnn_harness_copy(to + PICOBNN_HELLO_REPLY_MODEL_HASH, picobnn_harness_model.model_hash, 8);
    reply->payload_bytes = PICOBNN_HELLO_REPLY_BYTES;
}

/* Kind TENSOR: 0 is the image, 1 the result. Kind STEP: the output of step index. */
static const picobnn_harness_tensor *picobnn_harness_find(uint8_t kind, uint16_t index)
{
    const picobnn_harness_binding *model = &picobnn_harness_model;
    if (kind == PICOBNN_INFO_KIND_STEP && index < model->step_count) {
        return &model->steps[index];
    }
    if (kind == PICOBNN_INFO_KIND_TENSOR && index == PICOBNN_TENSOR_IMAGE) {
        return model->image_tensor;
    }
    if (kind == PICOBNN_INFO_KIND_TENSOR && index == PICOBNN_TENSOR_LOGITS) {
        return &model->steps[model->step_count - 1];
    }
    return 0;
}

static void picobnn_harness_info(const picobnn_harness_request *request,
                                 picobnn_harness_reply *reply)
{
    const picobnn_harness_tensor *tensor;
    const char *name;
    uint8_t *to = reply->payload;
    uint16_t index;
    if (request->payload_bytes != PICOBNN_INFO_REQUEST_BYTES) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_LEN, PICOBNN_INFO_REQUEST_BYTES);
        return;
    }
    index = picobnn_harness_get16(request->payload + PICOBNN_INFO_REQUEST_INDEX);
    tensor = picobnn_harness_find(request->payload[PICOBNN_INFO_REQUEST_KIND], index);
    if (tensor == 0) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_NO_TENSOR, picobnn_harness_model.step_count);
        return;
    }
    to[PICOBNN_INFO_REPLY_KIND] = request->payload[PICOBNN_INFO_REQUEST_KIND];
    to[PICOBNN_INFO_REPLY_RESERVED] = 0;
    picobnn_harness_put16(to + PICOBNN_INFO_REPLY_INDEX, index);
    to[PICOBNN_INFO_REPLY_ELEMENT] = tensor->element;
    to[PICOBNN_INFO_REPLY_LAYOUT] = tensor->layout;
    picobnn_harness_put16(to + PICOBNN_INFO_REPLY_HEIGHT, tensor->height);
    picobnn_harness_put16(to + PICOBNN_INFO_REPLY_WIDTH, tensor->width);
    picobnn_harness_put16(to + PICOBNN_INFO_REPLY_CHANNELS, tensor->channels);
    picobnn_harness_put32(to + PICOBNN_INFO_REPLY_SIZE_BYTES, tensor->bytes);
    picobnn_harness_put32(to + PICOBNN_INFO_REPLY_MACS, tensor->macs);
    reply->payload_bytes = PICOBNN_INFO_REPLY_BYTES;
    for (name = tensor->name; *name != 0 && reply->payload_bytes < PICOBNN_HARNESS_MAX_PAYLOAD;
         name++) {
        to[reply->payload_bytes++] = (uint8_t)*name;
    }
}

static void picobnn_harness_dispatch(const picobnn_harness_request *request,
                                     picobnn_harness_reply *reply)
{
    switch (request->command) {
    case PICOBNN_COMMAND_HELLO:
        picobnn_harness_hello(request, reply);
        break;
    case PICOBNN_COMMAND_INFO:
        picobnn_harness_info(request, reply);
        break;
    case PICOBNN_COMMAND_BEGIN:
        picobnn_harness_begin(request, reply);
        break;
    case PICOBNN_COMMAND_DATA:
        picobnn_harness_data(request, reply);
        break;
    case PICOBNN_COMMAND_END:
        picobnn_harness_end(request, reply);
        break;
    case PICOBNN_COMMAND_RUN:
        picobnn_harness_run(request, reply);
        break;
    case PICOBNN_COMMAND_STAT:
        picobnn_harness_stat(request, reply);
        break;
    case PICOBNN_COMMAND_LAYERS:
        picobnn_harness_layers(request, reply);
        break;
    case PICOBNN_COMMAND_READ:
        picobnn_harness_read(request, reply);
        break;
    case PICOBNN_COMMAND_PING:
        picobnn_harness_put32(reply->payload + PICOBNN_PING_REPLY_BAD_FRAMES, bad_frames);
        reply->payload_bytes = PICOBNN_PING_REPLY_BYTES;
        break;
    case PICOBNN_COMMAND_BYE:
        session = 0;
        break;
    default:
        picobnn_harness_fail(reply, PICOBNN_STATUS_UNSUPPORTED, request->command);
        break;
    }
}

static uint8_t picobnn_harness_type(uint8_t frame_type)
{
    return (uint8_t)((PICOBNN_PROTOCOL_MAJOR << 5) | frame_type);
}

/* A frame that answers no request: NAK, or the event that tells that the device has started. */
static void picobnn_harness_announce(uint8_t frame_type, uint8_t status, uint32_t detail)
{
    uint8_t bytes[PICOBNN_HEADER_BYTES + PICOBNN_ERROR_REPLY_BYTES];
    bytes[PICOBNN_HEADER_TYPE] = picobnn_harness_type(frame_type);
    bytes[PICOBNN_HEADER_SEQ] = 0;
    bytes[PICOBNN_HEADER_COMMAND] = 0;
    bytes[PICOBNN_HEADER_STATUS] = status;
    picobnn_harness_put16(bytes + PICOBNN_HEADER_SESSION, session);
    picobnn_harness_put32(bytes + PICOBNN_HEADER_BYTES, detail);
    picobnn_harness_send(bytes, sizeof bytes);
}

/* Executes one whole request. Returns the size of the reply in bytes[]. */
static size_t picobnn_harness_execute(const picobnn_harness_frame *frame, uint8_t *bytes)
{
    const uint8_t *header = frame->bytes;
    picobnn_harness_request request;
    picobnn_harness_reply reply;
    request.command = header[PICOBNN_HEADER_COMMAND];
    request.payload = header + PICOBNN_HEADER_BYTES;
    request.payload_bytes = frame->size - PICOBNN_HEADER_BYTES;
    reply.status = PICOBNN_STATUS_OK;
    reply.payload = bytes + PICOBNN_HEADER_BYTES;
    reply.payload_bytes = 0;
    if (request.command != PICOBNN_COMMAND_HELLO &&
        (session == 0u || picobnn_harness_get16(header + PICOBNN_HEADER_SESSION) != session)) {
        picobnn_harness_fail(&reply, PICOBNN_STATUS_BAD_ARG, session);
    } else {
        picobnn_harness_dispatch(&request, &reply);
    }
    bytes[PICOBNN_HEADER_TYPE] = picobnn_harness_type(PICOBNN_FRAME_RESPONSE);
    bytes[PICOBNN_HEADER_SEQ] = header[PICOBNN_HEADER_SEQ];
    bytes[PICOBNN_HEADER_COMMAND] = request.command;
    bytes[PICOBNN_HEADER_STATUS] = reply.status;
    picobnn_harness_put16(bytes + PICOBNN_HEADER_SESSION, session);
    return PICOBNN_HEADER_BYTES + reply.payload_bytes;
}

void picobnn_harness_serve(void)
{
    uint8_t *bytes = (uint8_t *)reply_words;
    picobnn_harness_frame frame;
    uint32_t last_crc = 0;
    size_t reply_size = 0;
    picobnn_board_uart_init();
    picobnn_harness_timer_start();
    picobnn_harness_announce(PICOBNN_FRAME_EVENT, PICOBNN_STATUS_OK, picobnn_board_boot.boot_count);
    for (;;) {
        picobnn_harness_receive(&frame);
        if (!frame.valid) {
            picobnn_harness_announce(PICOBNN_FRAME_NAK, PICOBNN_STATUS_BAD_CRC, ++bad_frames);
        } else if (frame.bytes[PICOBNN_HEADER_TYPE] !=
                   picobnn_harness_type(PICOBNN_FRAME_REQUEST)) {
            picobnn_harness_announce(PICOBNN_FRAME_NAK, PICOBNN_STATUS_UNSUPPORTED, ++bad_frames);
        } else {
            /* The CRC covers sequence number, command and session: equal CRC and number is the same
             * request. */
            if (reply_size == 0u || frame.crc != last_crc ||
                frame.bytes[PICOBNN_HEADER_SEQ] != bytes[PICOBNN_HEADER_SEQ]) {
                reply_size = picobnn_harness_execute(&frame, bytes);
                last_crc = frame.crc;
            }
            picobnn_harness_send(bytes, reply_size);
        }
    }
}
