/* SPDX-License-Identifier: MIT-0 */
/*
 * The serial harness around one model: receives an image, runs the model, tells results, times and
 * checksums. docs/serial-protocol.md of picobnn describes the bytes on the wire.
 *
 * Contract: single threaded; the model's arena and the image live for ever; the image lies outside
 * the arena, so that a run can be repeated and the image read back. picobnn_harness_model.c,
 * rendered for a model, defines picobnn_harness_model. Every function of the harness is called
 * picobnn_harness_*, so that counts per function can leave them out.
 */
#ifndef PICOBNN_HARNESS_H
#define PICOBNN_HARNESS_H

#include <stddef.h>
#include <stdint.h>

#include "picobnn_board.h"
#include "picobnn_protocol.h"
#include "picobnn_runtime.h"

/* A tensor as INFO tells it: the image, or the output of a step. */
typedef struct {
    const char *name;
    uint8_t element; /* PICOBNN_ELEMENT_ */
    uint8_t layout;  /* PICOBNN_LAYOUT_ */
    uint16_t height;
    uint16_t width;
    uint16_t channels;
    uint32_t bytes; /* as stored */
    uint32_t macs;  /* of the step that writes it; 0 for the image */
} picobnn_harness_tensor;

/* What the trace keeps of one step. Ticks of the board's timer; crc is of the last run. */
typedef struct {
    uint64_t sum;
    uint32_t count;
    uint32_t minimum;
    uint32_t maximum;
    uint32_t crc;
} picobnn_harness_layer;

/* A model as the harness sees it. steps and layers have step_count entries. */
typedef struct {
    picobnn_status (*run)(void *arena, size_t arena_bytes, const uint8_t *input);
    const uint8_t *model_hash;
    void *arena;
    size_t arena_bytes;
    uint8_t *image;
    const picobnn_harness_tensor *image_tensor;
    const picobnn_harness_tensor *steps;
    picobnn_harness_layer *layers;
    uint16_t step_count;
} picobnn_harness_binding;

extern const picobnn_harness_binding picobnn_harness_model;

/* A request that arrived whole, and the reply being built. payload points into the receive buffer.
 */
typedef struct {
    uint8_t command;
    const uint8_t *payload;
    size_t payload_bytes;
} picobnn_harness_request;

typedef struct {
    uint8_t status;
    uint8_t *payload; /* room for PICOBNN_HARNESS_MAX_PAYLOAD */
    size_t payload_bytes;
} picobnn_harness_reply;

/* picobnn_harness.c: serves requests for ever. */
void picobnn_harness_serve(void);

/* picobnn_harness_frame.c: frames on the serial port. */
typedef struct {
    uint8_t *bytes; /* header and payload, CRC cut off */
    size_t size;
    uint32_t crc;
    int valid; /* 0: damaged, bytes mean nothing */
} picobnn_harness_frame;

void picobnn_harness_receive(picobnn_harness_frame *frame);
void picobnn_harness_send(const uint8_t *bytes, size_t size);
uint32_t picobnn_harness_crc(uint32_t crc, const void *data, size_t bytes);
uint16_t picobnn_harness_get16(const uint8_t *bytes);
uint32_t picobnn_harness_get32(const uint8_t *bytes);
void picobnn_harness_put16(uint8_t *bytes, uint16_t value);
void picobnn_harness_put32(uint8_t *bytes, uint32_t value);
void picobnn_harness_put64(uint8_t *bytes, uint64_t value);
void picobnn_harness_fail(picobnn_harness_reply *reply, uint8_t status, uint32_t detail);

/* picobnn_harness_timer.c: a 64-bit tick counter. kind is one of PICOBNN_TIMER_. */
void picobnn_harness_timer_start(void);
uint8_t picobnn_harness_timer_kind(void);
uint64_t picobnn_harness_timer_now(void);

/* picobnn_harness_upload.c: BEGIN, DATA, END. */
void picobnn_harness_begin(const picobnn_harness_request *request, picobnn_harness_reply *reply);
void picobnn_harness_data(const picobnn_harness_request *request, picobnn_harness_reply *reply);
void picobnn_harness_end(const picobnn_harness_request *request, picobnn_harness_reply *reply);
int picobnn_harness_image_loaded(void);

/* picobnn_harness_run.c: RUN, STAT, LAYERS, READ and the layer hook. */
void picobnn_harness_run(const picobnn_harness_request *request, picobnn_harness_reply *reply);
void picobnn_harness_stat(const picobnn_harness_request *request, picobnn_harness_reply *reply);
void picobnn_harness_layers(const picobnn_harness_request *request, picobnn_harness_reply *reply);
void picobnn_harness_read(const picobnn_harness_request *request, picobnn_harness_reply *reply);

/* Marks a place in the run for an emulator's plugin: 0 before the model, step + 1 after each step.
 */
void picobnn_harness_mark(uint32_t place);

/* Called by the generated model after every step; non-zero stops the run. */
int picobnn_layer_hook(uint32_t step, const void *output, uint32_t output_bytes);

#endif
