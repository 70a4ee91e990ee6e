/* SPDX-License-Identifier: MIT-0 */
/*
 * The board layer: what the firmware around a model needs of a board.
 *
 * Contract: single threaded, polled, no interrupt but SysTick. picobnn_board_config.h (rendered for
 * the board) gives the addresses and the clock. Registers are reached with PICOBNN_REG.
 */
#ifndef PICOBNN_BOARD_H
#define PICOBNN_BOARD_H

#include <stdint.h>

#include "picobnn_board_config.h"

#define PICOBNN_REG(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* Why the core started; the values are those of PICOBNN_RESET_CAUSE_ in picobnn_protocol.h. */
enum { PICOBNN_BOARD_COLD = 1, PICOBNN_BOARD_WARM = 2, PICOBNN_BOARD_FAULT = 3 };

/* Survives a reset as long as the RAM does. */
typedef struct {
    uint32_t magic;
    uint32_t boot_count;  /* starts since power-on, this one included */
    uint32_t fault_count; /* faults in a row; the harness clears it at HELLO */
    uint32_t faulted;     /* the last start followed a fault */
} picobnn_board_record;

extern picobnn_board_record picobnn_board_boot;

/* PICOBNN_BOARD_COLD, _WARM or _FAULT for this start. */
uint32_t picobnn_board_reset_cause(void);

/* The 20 bytes of the image's GNU build id. */
const uint8_t *picobnn_board_build_id(void);

/* Serial port: 8N1 at PICOBNN_UART_BAUD. read and write block. */
void picobnn_board_uart_init(void);
void picobnn_board_uart_write(uint8_t byte);
uint8_t picobnn_board_uart_read(void);

/* Interrupt handler of SysTick. The harness defines it; where it is not linked, an application that
 * starts SysTick does. The default returns. */
void picobnn_harness_systick_handler(void);

int main(void);

#endif
