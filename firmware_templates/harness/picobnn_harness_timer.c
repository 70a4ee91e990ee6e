/* SPDX-License-Identifier: MIT-0 */
/*
 * A 64-bit tick counter: the DWT cycle counter where it counts, otherwise SysTick on the core
 * clock.
 *
 * Contract: picobnn_harness_timer_start tests that the counter counts, because some cores have none
 * and emulators read 0. SysTick interrupts once per 2^24 ticks to carry into the upper half;
 * nothing else interrupts. On a board built for an emulator SysTick is reported as such: its ticks
 * are virtual time, not latency.
 */
#include "picobnn_harness.h"

#define SYST_CSR 0xE000E010u
#define SYST_RVR 0xE000E014u
#define SYST_CVR 0xE000E018u
#define SYST_TOP 0x00FFFFFFu
#define SCB_DEMCR 0xE000EDFCu
#define DWT_CTRL 0xE0001000u
#define DWT_CYCCNT 0xE0001004u
#define DWT_LAR 0xE0001FB0u
#define SPINS 64u
#define SYSTICK_POLLS (1u << 20)

#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_8M_MAIN__) ||      \
    defined(__ARM_ARCH_8_1M_MAIN__)
#define HAS_DWT 1
#else
#define HAS_DWT 0
#endif

static uint8_t timer_kind = PICOBNN_TIMER_NONE;
static volatile uint32_t systick_wraps;

#if HAS_DWT
static uint32_t dwt_high;
static uint32_t dwt_last;

static uint64_t picobnn_harness_dwt_now(void)
{
    uint32_t mask;
    uint32_t low;
    uint32_t high;
    __asm volatile("mrs %0, primask\n cpsid i" : "=r"(mask)::"memory");
    low = PICOBNN_REG(DWT_CYCCNT);
    if (low < dwt_last) {
        dwt_high++;
    }
    dwt_last = low;
    high = dwt_high;
    __asm volatile("msr primask, %0" ::"r"(mask) : "memory");
    return ((uint64_t)high << 32) | low;
}

static int picobnn_harness_dwt_counts(void)
{
    uint32_t before;
    volatile uint32_t spin;
    PICOBNN_REG(SCB_DEMCR) |= 1u << 24;
    PICOBNN_REG(DWT_LAR) = 0xC5ACCE55u;
    PICOBNN_REG(DWT_CYCCNT) = 0;
    PICOBNN_REG(DWT_CTRL) |= 1u;
    before = PICOBNN_REG(DWT_CYCCNT);
    for (spin = 0; spin < SPINS; spin++) {
    }
    return PICOBNN_REG(DWT_CYCCNT) - before >= SPINS;
}
#endif

static uint64_t picobnn_harness_systick_now(void)
{
    uint32_t wraps;
    uint32_t value;
    do {
        wraps = systick_wraps;
        value = SYST_TOP - PICOBNN_REG(SYST_CVR);
    } while (wraps != systick_wraps);
    return ((uint64_t)wraps << 24) + value;
}

void picobnn_harness_systick_handler(void)
{
    systick_wraps++;
#if HAS_DWT
    if (timer_kind == PICOBNN_TIMER_DWT) {
        (void)picobnn_harness_dwt_now();
    }
#endif
}

/* An emulator may take a moment of its own time before the counter leaves 0. */
static int picobnn_harness_systick_counts(void)
{
    const uint32_t before = PICOBNN_REG(SYST_CVR);
    uint32_t poll;
    for (poll = 0; poll < SYSTICK_POLLS; poll++) {
        if (PICOBNN_REG(SYST_CVR) != before) {
            return 1;
        }
        __asm volatile("yield");
    }
    return 0;
}

void picobnn_harness_timer_start(void)
{
    PICOBNN_REG(SYST_RVR) = SYST_TOP;
    PICOBNN_REG(SYST_CVR) = 0;
    PICOBNN_REG(SYST_CSR) = 7u; /* enable, interrupt, core clock */
#if HAS_DWT
    if (picobnn_harness_dwt_counts()) {
        timer_kind = PICOBNN_TIMER_DWT;
        return;
    }
#endif
    if (picobnn_harness_systick_counts()) {
        timer_kind =
            PICOBNN_BOARD_EMULATED ? PICOBNN_TIMER_SYSTICK_EMULATED : PICOBNN_TIMER_SYSTICK;
    }
}

uint8_t picobnn_harness_timer_kind(void)
{
    return timer_kind;
}

uint64_t picobnn_harness_timer_now(void)
{
    if (timer_kind == PICOBNN_TIMER_NONE) {
        return 0;
    }
#if HAS_DWT
    if (timer_kind == PICOBNN_TIMER_DWT) {
        return picobnn_harness_dwt_now();
    }
#endif
    return picobnn_harness_systick_now();
}
