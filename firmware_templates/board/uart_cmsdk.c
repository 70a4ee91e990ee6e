/* SPDX-License-Identifier: MIT-0 */
/*
 * Polled driver of the Arm CMSDK APB UART (MPS2 and MPS3 boards).
 *
 * Contract: registers DATA 0, STATE 4 (bit 0 transmit full, bit 1 receive full), CTRL 8 (bit 0
 * transmit, bit 1 receive enable), BAUDDIV 0x10 (16 or more, clock / baud).
 */
#include "picobnn_board.h"

#define UART_DATA (PICOBNN_UART_BASE + 0x00u)
#define UART_STATE (PICOBNN_UART_BASE + 0x04u)
#define UART_CTRL (PICOBNN_UART_BASE + 0x08u)
#define UART_BAUDDIV (PICOBNN_UART_BASE + 0x10u)

void picobnn_board_uart_init(void)
{
    PICOBNN_REG(UART_BAUDDIV) = PICOBNN_CLOCK_HZ / PICOBNN_UART_BAUD;
    PICOBNN_REG(UART_CTRL) = 3u;
}

void picobnn_board_uart_write(uint8_t byte)
{
    while ((PICOBNN_REG(UART_STATE) & 1u) != 0u) {
    }
    PICOBNN_REG(UART_DATA) = byte;
}

uint8_t picobnn_board_uart_read(void)
{
    while ((PICOBNN_REG(UART_STATE) & 2u) == 0u) {
        __asm volatile("yield");
    }
    return (uint8_t)PICOBNN_REG(UART_DATA);
}
