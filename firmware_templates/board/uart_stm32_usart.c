/* SPDX-License-Identifier: MIT-0 */
/*
 * Polled driver of the USART of STM32F1, F2 and F4.
 *
 * Contract: registers SR 0 (bit 5 received, bit 7 transmit empty), DR 4, BRR 8, CR1 0xC (bit 13
 * enable, bit 3 transmit, bit 2 receive). The peripheral clock is the core clock. Pins are not set
 * up here: an emulated board needs none.
 */
#include "picobnn_board.h"

#define USART_SR (PICOBNN_UART_BASE + 0x00u)
#define USART_DR (PICOBNN_UART_BASE + 0x04u)
#define USART_BRR (PICOBNN_UART_BASE + 0x08u)
#define USART_CR1 (PICOBNN_UART_BASE + 0x0Cu)

void picobnn_board_uart_init(void)
{
    PICOBNN_REG(PICOBNN_UART_ENABLE_REGISTER) |= PICOBNN_UART_ENABLE_MASK;
    PICOBNN_REG(USART_BRR) = (PICOBNN_CLOCK_HZ + PICOBNN_UART_BAUD / 2u) / PICOBNN_UART_BAUD;
    PICOBNN_REG(USART_CR1) = 0x200Cu;
}

void picobnn_board_uart_write(uint8_t byte)
{
    while ((PICOBNN_REG(USART_SR) & 0x80u) == 0u) {
    }
    PICOBNN_REG(USART_DR) = byte;
}

uint8_t picobnn_board_uart_read(void)
{
    while ((PICOBNN_REG(USART_SR) & 0x20u) == 0u) {
        __asm volatile("yield");
    }
    return (uint8_t)PICOBNN_REG(USART_DR);
}
