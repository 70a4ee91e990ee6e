/* SPDX-License-Identifier: Apache-2.0 */
/* Small kernels whose instructions and cycles are counted by hand in tests/support/cycle_kernels.py. v6-M code. */
    .syntax unified
    .thumb

    .macro kernel name
    .text
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
    .endm

    .macro ends name
    .size \name, . - \name
    .endm

kernel kernel_alu
    movs    r0, #1
    adds    r0, #2
    eors    r0, r1
    lsls    r0, r0, #3
    uxtb    r0, r0
    bx      lr
    ends kernel_alu

kernel kernel_load
    ldr     r2, [r0]
    ldr     r3, [r0, #4]
    ldr     r1, [r0, #8]
    adds    r2, r3
    bx      lr
    ends kernel_load

kernel kernel_load_use
    ldr     r1, [r0]
    adds    r1, #1
    bx      lr
    ends kernel_load_use

kernel kernel_chase
    ldr     r0, [r0, #12]
    ldr     r0, [r0]
    bx      lr
    ends kernel_chase

kernel kernel_store
    str     r1, [r0]
    str     r1, [r0, #4]
    ldr     r2, [r0]
    str     r2, [r0, #8]
    bx      lr
    ends kernel_store

kernel kernel_store_offset
    movs    r2, #8
    str     r1, [r0, r2]
    bx      lr
    ends kernel_store_offset

kernel kernel_multiple
    push    {r4, r5, lr}
    ldm     r0!, {r1, r2, r3}
    pop     {r4, r5, pc}
    ends kernel_multiple

kernel kernel_branches
    cmp     r0, r0
    bne     1f
    beq     1f
    nop
1:  bx      lr
    ends kernel_branches

kernel kernel_loop
    movs    r1, #10
1:  subs    r1, #1
    bne     1b
    bx      lr
    ends kernel_loop

kernel kernel_multiply
    movs    r1, #3
    muls    r1, r0, r1
    muls    r1, r0, r1
    bx      lr
    ends kernel_multiply

    /* The emulator ends its blocks at pages of 1 KiB: here between the two loads. */
    .balign 1024
    .space 1022
    .global kernel_page
    .type kernel_page, %function
    .thumb_func
kernel_page:
    ldr     r2, [r0]
    ldr     r3, [r0, #4]
    bx      lr
    ends kernel_page

    /* One literal, and a loop over a border of 16 bytes: for counting lines of flash. Offsets in front. */
    .balign 64
kernel kernel_lines
    movs    r1, #3              /*  0 */
    ldr     r2, 2f              /*  2 */
    nop                         /*  4 */
    nop
    nop
    nop
    nop                         /* 12 */
1:  nop                         /* 14 */
    subs    r1, #1              /* 16 */
    bne     1b                  /* 18 */
    bx      lr                  /* 20 */
    .balign 32
2:  .word   0                   /* 32 */
    ends kernel_lines

    /* Makes SysTick pending r2 times; r1 is the address of ICSR. The emulator interrupts where a block ends. */
    .balign 64
kernel kernel_interrupted
    lsls    r3, r2, #23         /* bit 26, PENDSTSET */
1:  str     r3, [r1]
    subs    r2, #1
    bne     1b
    bx      lr
    ends kernel_interrupted
