/* SPDX-License-Identifier: MIT-0 */
/*
 * Vector table, reset and fault handlers for every Cortex-M, and the record that survives a reset.
 *
 * Contract: the linker script gives the picobnn_*_start/end symbols, word aligned; .hot (code) and
 * .data are copied from where picobnn_*_load says. The caches of the core are off. The stack lies
 * below all data, so that an overflow faults instead of damaging data. A fault is noted and resets
 * the core; after eight faults in a row without a word from the host the core stops. The fault
 * handler takes a fresh stack, so that it also works after an overflow.
 */
#include "picobnn_board.h"

#define BOOT_MAGIC 0x424E4E31u
#define FAULTS_IN_A_ROW 8u
#define SCB_AIRCR 0xE000ED0Cu
#define SCB_CPACR 0xE000ED88u

extern const uint32_t picobnn_hot_load[];
extern uint32_t picobnn_hot_start[];
extern uint32_t picobnn_hot_end[];
extern const uint32_t picobnn_data_load[];
extern uint32_t picobnn_data_start[];
extern uint32_t picobnn_data_end[];
extern uint32_t picobnn_bss_start[];
extern uint32_t picobnn_bss_end[];
extern uint32_t picobnn_stack_end[];
extern const uint8_t picobnn_build_id_start[];

void picobnn_board_reset_handler(void);
void picobnn_board_fault(void);
void picobnn_board_fault_handler(void);

picobnn_board_record picobnn_board_boot __attribute__((section(".noinit")));

static uint32_t reset_cause;

uint32_t picobnn_board_reset_cause(void)
{
    return reset_cause;
}

/* The note is: name size, description size, type (4 bytes each), "GNU\0", then the id. */
const uint8_t *picobnn_board_build_id(void)
{
    return picobnn_build_id_start + 16;
}

static void count_boot(void)
{
    if (picobnn_board_boot.magic != BOOT_MAGIC) {
        picobnn_board_boot.magic = BOOT_MAGIC;
        picobnn_board_boot.boot_count = 0;
        picobnn_board_boot.fault_count = 0;
        picobnn_board_boot.faulted = 0;
        reset_cause = PICOBNN_BOARD_COLD;
    } else {
        reset_cause = picobnn_board_boot.faulted != 0u ? PICOBNN_BOARD_FAULT : PICOBNN_BOARD_WARM;
    }
    picobnn_board_boot.faulted = 0;
    picobnn_board_boot.boot_count++;
}

static void copy(uint32_t *to, const uint32_t *end, const uint32_t *from)
{
    for (; to < end; to++) {
        *to = *from++;
    }
}

/* Nothing that lies in RAM, code included, may be used before it is copied. */
void picobnn_board_reset_handler(void)
{
    uint32_t *target;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    PICOBNN_REG(SCB_CPACR) |= 0xFu << 20;
    __asm volatile("dsb\n isb" ::: "memory");
#endif
    copy(picobnn_hot_start, picobnn_hot_end, picobnn_hot_load);
    copy(picobnn_data_start, picobnn_data_end, picobnn_data_load);
    for (target = picobnn_bss_start; target < picobnn_bss_end; target++) {
        *target = 0;
    }
    /* What was written as data is fetched as code from here on. */
    __asm volatile("dsb\n isb" ::: "memory");
    count_boot();
    (void)main();
    for (;;) {
    }
}

__attribute__((noreturn, used)) void picobnn_board_fault(void)
{
    picobnn_board_boot.fault_count++;
    picobnn_board_boot.faulted = 1;
    if (picobnn_board_boot.fault_count < FAULTS_IN_A_ROW) {
        __asm volatile("dsb" ::: "memory");
        PICOBNN_REG(SCB_AIRCR) = 0x05FA0004u;
    }
    for (;;) {
    }
}

__attribute__((naked)) void picobnn_board_fault_handler(void)
{
    __asm volatile("ldr r0, =picobnn_stack_end\n"
                   "msr msp, r0\n"
                   "ldr r0, =picobnn_board_fault\n"
                   "bx r0\n");
}

__attribute__((weak)) void picobnn_harness_systick_handler(void)
{
}

typedef void (*picobnn_board_vector)(void);

typedef struct {
    uint32_t *stack;
    picobnn_board_vector handlers[15];
} picobnn_board_vectors;

__attribute__((section(".vectors"), used)) static const picobnn_board_vectors vector_table = {
    picobnn_stack_end,
    {
        picobnn_board_reset_handler,
        picobnn_board_fault_handler, /* NMI */
        picobnn_board_fault_handler, /* HardFault */
        picobnn_board_fault_handler, /* MemManage */
        picobnn_board_fault_handler, /* BusFault */
        picobnn_board_fault_handler, /* UsageFault */
        picobnn_board_fault_handler, /* SecureFault */
        0,
        0,
        0,
        picobnn_board_fault_handler, /* SVCall */
        picobnn_board_fault_handler, /* DebugMonitor */
        0,
        picobnn_board_fault_handler,     /* PendSV */
        picobnn_harness_systick_handler, /* SysTick */
    },
};
