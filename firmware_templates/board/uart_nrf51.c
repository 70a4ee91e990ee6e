/* SPDX-License-Identifier: MIT-0 */
/*
 * Polled driver of the nRF51 UART (micro:bit: transmit on P0.24, receive on P0.25).
 *
 * Contract: 115200 baud only, which is the one rate of the register constant below. The receive
 * event is cleared before the byte is read, because reading raises it again while the six-byte
 * queue holds more.
 */
#include "picobnn_board.h"

#define UART_START_RX (PICOBNN_UART_BASE + 0x000u)
#define UART_START_TX (PICOBNN_UART_BASE + 0x008u)
#define UART_RX_READY (PICOBNN_UART_BASE + 0x108u)
#define UART_TX_READY (PICOBNN_UART_BASE + 0x11Cu)
#define UART_ENABLE (PICOBNN_UART_BASE + 0x500u)
#define UART_PIN_TX (PICOBNN_UART_BASE + 0x50Cu)
#define UART_PIN_RX (PICOBNN_UART_BASE + 0x514u)
#define UART_RX_BYTE (PICOBNN_UART_BASE + 0x518u)
#define UART_TX_BYTE (PICOBNN_UART_BASE + 0x51Cu)
#define UART_BAUD_RATE (PICOBNN_UART_BASE + 0x524u)
#define BAUD_115200 0x01D7E000u

typedef char picobnn_uart_nrf51_knows_115200_baud_only[PICOBNN_UART_BAUD == 115200u ? 1 : -1];

void picobnn_board_uart_init(void)
{
    PICOBNN_REG(UART_PIN_TX) = 24u;
    PICOBNN_REG(UART_PIN_RX) = 25u;
    PICOBNN_REG(UART_BAUD_RATE) = BAUD_115200;
    PICOBNN_REG(UART_ENABLE) = 4u;
    PICOBNN_REG(UART_START_TX) = 1u;
    PICOBNN_REG(UART_START_RX) = 1u;
    PICOBNN_REG(UART_RX_READY) = 0u;
}

void picobnn_board_uart_write(uint8_t byte)
{
    PICOBNN_REG(UART_TX_READY) = 0u;
    PICOBNN_REG(UART_TX_BYTE) = byte;
    while (PICOBNN_REG(UART_TX_READY) == 0u) {
    }
}

uint8_t picobnn_board_uart_read(void)
{
    while (PICOBNN_REG(UART_RX_READY) == 0u) {
        __asm volatile("yield");
    }
    PICOBNN_REG(UART_RX_READY) = 0u;
    return (uint8_t)PICOBNN_REG(UART_RX_BYTE);
}
