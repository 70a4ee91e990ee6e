/* SPDX-License-Identifier: MIT-0 */
/*
 * RUN, STAT, LAYERS, READ, and the hook that the generated model calls after every step.
 *
 * Contract: the times of STAT are those of the last RUN; its warm-up runs are not timed. Without
 * LAYER_TRACE the hook notes where the step's output lies and nothing else. With it the hook also
 * takes time and CRC-32, and leaves its own time out of the next step's; the times of STAT then
 * include the hook and are not for publication. Nothing is sent while the model runs.
 */
#include "picobnn_harness.h"

typedef struct {
    uint64_t minimum;
    uint64_t maximum;
    uint64_t sum;
    uint32_t count;
} picobnn_harness_times;

static picobnn_harness_times times;
static uint64_t step_start;
static const void *output_data;
static uint32_t output_bytes_now;
static uint32_t last_step;
static uint16_t stop_after;
static uint8_t tracing;
static uint8_t finished;
static volatile uint32_t mark_place;

__attribute__((noinline)) void picobnn_harness_mark(uint32_t place)
{
    mark_place = place;
}

static void picobnn_harness_trace(uint32_t step, const void *output, uint32_t output_bytes,
                                  uint32_t ticks)
{
    picobnn_harness_layer *layer = &picobnn_harness_model.layers[step];
    if (layer->count == 0u || ticks < layer->minimum) {
        layer->minimum = ticks;
    }
    if (ticks > layer->maximum) {
        layer->maximum = ticks;
    }
    layer->sum += ticks;
    layer->count++;
    layer->crc = picobnn_harness_crc(0, output, output_bytes);
}

int picobnn_layer_hook(uint32_t step, const void *output, uint32_t output_bytes)
{
    picobnn_harness_mark(step + 1u);
    output_data = output;
    output_bytes_now = output_bytes;
    last_step = step;
    if (tracing != 0u && step < picobnn_harness_model.step_count) {
        const uint64_t now = picobnn_harness_timer_now();
        picobnn_harness_trace(step, output, output_bytes, (uint32_t)(now - step_start));
        step_start = picobnn_harness_timer_now();
    }
    return step == stop_after;
}

static picobnn_status picobnn_harness_run_once(void)
{
    picobnn_harness_mark(0);
    return picobnn_harness_model.run(picobnn_harness_model.arena, picobnn_harness_model.arena_bytes,
                                     picobnn_harness_model.image);
}

static picobnn_status picobnn_harness_run_timed(void)
{
    picobnn_status status;
    uint64_t ticks;
    const uint64_t start = picobnn_harness_timer_now();
    step_start = start;
    status = picobnn_harness_run_once();
    ticks = picobnn_harness_timer_now() - start;
    if (times.count == 0u || ticks < times.minimum) {
        times.minimum = ticks;
    }
    if (ticks > times.maximum) {
        times.maximum = ticks;
    }
    times.sum += ticks;
    times.count++;
    return status;
}

static void picobnn_harness_clear(void)
{
    static const picobnn_harness_layer no_layer;
    static const picobnn_harness_times no_times;
    uint16_t step;
    times = no_times;
    finished = 0;
    output_data = 0;
    output_bytes_now = 0;
    last_step = 0;
    for (step = 0; step < picobnn_harness_model.step_count; step++) {
        picobnn_harness_model.layers[step] = no_layer;
    }
}

void picobnn_harness_run(const picobnn_harness_request *request, picobnn_harness_reply *reply)
{
    picobnn_status status = PICOBNN_OK;
    uint16_t flags;
    uint16_t warm_up;
    uint32_t repeats;
    if (request->payload_bytes != PICOBNN_RUN_REQUEST_BYTES) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_LEN, PICOBNN_RUN_REQUEST_BYTES);
        return;
    }
    warm_up = picobnn_harness_get16(request->payload + PICOBNN_RUN_REQUEST_WARM_UP);
    flags = picobnn_harness_get16(request->payload + PICOBNN_RUN_REQUEST_FLAGS);
    repeats = picobnn_harness_get32(request->payload + PICOBNN_RUN_REQUEST_REPEATS);
    stop_after = picobnn_harness_get16(request->payload + PICOBNN_RUN_REQUEST_STOP_AFTER_STEP);
    if (!picobnn_harness_image_loaded()) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_NOT_LOADED, 0);
        return;
    }
    if ((flags & ~PICOBNN_RUN_FLAG_LAYER_TRACE) != 0u) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_UNSUPPORTED, flags);
        return;
    }
    if (repeats == 0u ||
        (stop_after != PICOBNN_LIMIT_NO_STEP && stop_after >= picobnn_harness_model.step_count)) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_ARG, picobnn_harness_model.step_count);
        return;
    }
    picobnn_harness_clear();
    tracing = 0;
    for (; warm_up != 0u && (status == PICOBNN_OK || status == PICOBNN_STOPPED); warm_up--) {
        status = picobnn_harness_run_once();
    }
    tracing = (flags & PICOBNN_RUN_FLAG_LAYER_TRACE) != 0u;
    for (; repeats != 0u && (status == PICOBNN_OK || status == PICOBNN_STOPPED); repeats--) {
        status = picobnn_harness_run_timed();
    }
    tracing = 0;
    if (status == PICOBNN_ERROR_ARENA) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_ARENA_TOO_SMALL,
                             (uint32_t)picobnn_harness_model.arena_bytes);
        return;
    }
    if (status != PICOBNN_OK && status != PICOBNN_STOPPED) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_MODEL_FAULT,
                             ((uint32_t)status << 16) | last_step);
        return;
    }
    finished = status == PICOBNN_OK;
    picobnn_harness_put32(reply->payload + PICOBNN_RUN_REPLY_REPEATS, times.count);
    picobnn_harness_put16(reply->payload + PICOBNN_RUN_REPLY_STEPS_RUN, (uint16_t)(last_step + 1u));
    picobnn_harness_put16(reply->payload + PICOBNN_RUN_REPLY_STOPPED, status == PICOBNN_STOPPED);
    reply->payload_bytes = PICOBNN_RUN_REPLY_BYTES;
}

void picobnn_harness_stat(const picobnn_harness_request *request, picobnn_harness_reply *reply)
{
    uint8_t *to = reply->payload;
    const uint64_t first = picobnn_harness_timer_now();
    const uint64_t second = picobnn_harness_timer_now();
    (void)request;
    picobnn_harness_put16(to + PICOBNN_STAT_REPLY_TIMER_KIND, picobnn_harness_timer_kind());
    picobnn_harness_put16(to + PICOBNN_STAT_REPLY_RESERVED, 0);
    picobnn_harness_put32(to + PICOBNN_STAT_REPLY_COUNT, times.count);
    picobnn_harness_put32(to + PICOBNN_STAT_REPLY_OVERHEAD, (uint32_t)(second - first));
    picobnn_harness_put64(to + PICOBNN_STAT_REPLY_MINIMUM, times.minimum);
    picobnn_harness_put64(to + PICOBNN_STAT_REPLY_MAXIMUM, times.maximum);
    picobnn_harness_put64(to + PICOBNN_STAT_REPLY_SUM, times.sum);
    reply->payload_bytes = PICOBNN_STAT_REPLY_BYTES;
}

void picobnn_harness_layers(const picobnn_harness_request *request, picobnn_harness_reply *reply)
{
    uint8_t *to = reply->payload + PICOBNN_LAYERS_REPLY_BYTES;
    uint16_t first;
    uint16_t step;
    if (request->payload_bytes != PICOBNN_LAYERS_REQUEST_BYTES) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_LEN, PICOBNN_LAYERS_REQUEST_BYTES);
        return;
    }
    first = picobnn_harness_get16(request->payload + PICOBNN_LAYERS_REQUEST_FIRST_STEP);
    if (first > picobnn_harness_model.step_count) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_OUT_OF_RANGE, picobnn_harness_model.step_count);
        return;
    }
    for (step = first; step < picobnn_harness_model.step_count; step++) {
        const picobnn_harness_layer *layer = &picobnn_harness_model.layers[step];
        if ((size_t)(to - reply->payload) + PICOBNN_LAYER_ROW_BYTES > PICOBNN_HARNESS_MAX_PAYLOAD) {
            break;
        }
        picobnn_harness_put32(to + PICOBNN_LAYER_ROW_COUNT, layer->count);
        picobnn_harness_put32(to + PICOBNN_LAYER_ROW_MINIMUM, layer->minimum);
        picobnn_harness_put32(to + PICOBNN_LAYER_ROW_MAXIMUM, layer->maximum);
        picobnn_harness_put64(to + PICOBNN_LAYER_ROW_SUM, layer->sum);
        picobnn_harness_put32(to + PICOBNN_LAYER_ROW_CRC, layer->crc);
        to += PICOBNN_LAYER_ROW_BYTES;
    }
    picobnn_harness_put16(reply->payload + PICOBNN_LAYERS_REPLY_FIRST_STEP, first);
    picobnn_harness_put16(reply->payload + PICOBNN_LAYERS_REPLY_ROWS, (uint16_t)(step - first));
    reply->payload_bytes = (size_t)(to - reply->payload);
}

void picobnn_harness_read(const picobnn_harness_request *request, picobnn_harness_reply *reply)
{
    const uint8_t *from = output_data;
    uint32_t size = output_bytes_now;
    uint32_t offset;
    uint32_t i;
    uint16_t length;
    uint8_t tensor;
    if (request->payload_bytes != PICOBNN_READ_REQUEST_BYTES) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_BAD_LEN, PICOBNN_READ_REQUEST_BYTES);
        return;
    }
    tensor = request->payload[PICOBNN_READ_REQUEST_TENSOR];
    offset = picobnn_harness_get32(request->payload + PICOBNN_READ_REQUEST_OFFSET);
    length = picobnn_harness_get16(request->payload + PICOBNN_READ_REQUEST_LENGTH);
    if (tensor == PICOBNN_TENSOR_IMAGE) {
        from = picobnn_harness_model.image;
        size = picobnn_harness_model.image_tensor->bytes;
    } else if (tensor != PICOBNN_TENSOR_LOGITS && tensor != PICOBNN_TENSOR_STEP_OUTPUT) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_NO_TENSOR, tensor);
        return;
    } else if (from == 0 || (tensor == PICOBNN_TENSOR_LOGITS && finished == 0u)) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_NOT_LOADED, last_step);
        return;
    }
    if (offset > size || length > size - offset ||
        length > PICOBNN_HARNESS_MAX_PAYLOAD - PICOBNN_READ_REPLY_BYTES) {
        picobnn_harness_fail(reply, PICOBNN_STATUS_OUT_OF_RANGE, size);
        return;
    }
    picobnn_harness_put32(reply->payload + PICOBNN_READ_REPLY_CRC,
                          picobnn_harness_crc(0, from + offset, length));
    for (i = 0; i < length; i++) {
        reply->payload[PICOBNN_READ_REPLY_BYTES + i] = from[offset + i];
    }
    reply->payload_bytes = PICOBNN_READ_REPLY_BYTES + (size_t)length;
}
