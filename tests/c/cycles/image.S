/* SPDX-License-Identifier: Apache-2.0 */
/* Runs every kernel twice as the steps of a "model", marks them as harness firmware does, and ends the emulator.
 *
 * checksum stands for what a layer hook calls: it must not be counted. STEP must follow the order of the kernels in
 * tests/support/cycle_image.py.
 */
    .syntax unified
    .thumb

    .macro function name
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
    .endm

    .section .vectors, "a"
    .word stack_top
    .word picobnn_harness_reset
    .space 13 * 4
    .word picobnn_harness_systick_handler

    .bss
    .balign 4
data:       .space 64
mark_value: .space 4
interrupts: .space 4

    .text
function picobnn_harness_reset
#if defined(__ARM_FEATURE_MVE)
    ldr     r0, =0xe000ed88         /* CPACR: full access to the vector unit */
    ldr     r1, [r0]
    orr     r1, r1, #0x00f00000
    str     r1, [r0]
    dsb
    isb
#endif
    ldr     r0, =data
    str     r0, [r0, #12]           /* kernel_chase follows this pointer */
    movs    r4, #2
again:
    movs    r0, #0
    bl      picobnn_harness_mark
    bl      model_run
    subs    r4, #1
    bne     again
    movs    r0, #0x18               /* semihosting SYS_EXIT, ADP_Stopped_ApplicationExit */
    ldr     r1, =0x20026
    bkpt    0xab
    b       .
    .size picobnn_harness_reset, . - picobnn_harness_reset

function picobnn_harness_mark
    ldr     r1, =mark_value
    str     r0, [r1]
    bx      lr
    .size picobnn_harness_mark, . - picobnn_harness_mark

function picobnn_harness_systick_handler
    ldr     r1, =interrupts
    ldr     r0, [r1]
    adds    r0, #1
    str     r0, [r1]
    bx      lr
    .size picobnn_harness_systick_handler, . - picobnn_harness_systick_handler

function picobnn_layer_hook
    push    {r4, lr}
    movs    r4, r0
    bl      checksum
    adds    r0, r4, #1
    bl      picobnn_harness_mark
    bl      checksum
    movs    r0, #0
    pop     {r4, pc}
    .size picobnn_layer_hook, . - picobnn_layer_hook

function checksum
    movs    r0, #100
1:  subs    r0, #1
    bne     1b
    bx      lr
    .size checksum, . - checksum
    .ltorg

    /* A step: arguments r0 = data, r1 = \second, r2 = 8. */
    .set index, 0
    .macro step kernel, second
    ldr     r0, =data
    ldr     r1, =\second
    movs    r2, #8
    bl      \kernel
    movs    r0, #index
    bl      picobnn_layer_hook
    .set index, index + 1
    .endm

function model_run
    push    {r4, lr}
    step    kernel_alu, 5
    step    kernel_load, 0
    step    kernel_load_use, 0
    step    kernel_chase, 0
    step    kernel_store, 0
    step    kernel_store_offset, 0
    step    kernel_multiple, 0
    step    kernel_branches, 0
    step    kernel_loop, 0
    step    kernel_multiply, 0
    step    kernel_page, 0
    step    kernel_lines, 0
    step    kernel_interrupted, 0xe000ed04
#if !defined(__ARM_ARCH_6M__)
    step    kernel_multiply_add, 3
    step    kernel_multiply_long, 3
    step    kernel_if_then, 0
    step    kernel_if_then_wide, 0
    step    kernel_wide_target, 0
    step    kernel_base_update, data + 16
    step    kernel_word_loop, 32
    step    kernel_popcount, data
    step    kernel_wide_page, 0
    step    kernel_divide, 0
    step    kernel_pairs, 5
#endif
#if defined(__ARM_FEATURE_MVE)
    step    kernel_vector_alternate, 0
    step    kernel_vector_operations, 0
    step    kernel_vector_scalar, 0
    step    kernel_vector_stack, 0
    step    kernel_low_overhead, 0
    step    kernel_skipped_loop, 0
    step    kernel_tail_predicated, 0
#endif
    pop     {r4, pc}
    .size model_run, . - model_run
    .ltorg
