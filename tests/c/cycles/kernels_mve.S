/* SPDX-License-Identifier: Apache-2.0 */
/* Small kernels whose instructions and cycles are counted by hand in tests/support/cycle_kernels_v7m.py. v8.1-M code
 * with vectors; r0 points to 64 readable and writable bytes, r2 is 8. */
#if defined(__ARM_FEATURE_MVE)
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

kernel kernel_vector_alternate
    vldrw.u32 q0, [r0]
    veor    q1, q1, q0
    vldrw.u32 q2, [r0, #16]
    veor    q1, q1, q2
    vstrw.32 q1, [r0, #32]
    bx      lr
    ends kernel_vector_alternate

kernel kernel_vector_operations
    veor    q0, q0, q1
    vbic    q1, q1, q0
    vorr    q1, q1, q2
    vdup.32 q2, r2
    bx      lr
    ends kernel_vector_operations

kernel kernel_vector_scalar
    vldrw.u32 q0, [r0]
    adds    r2, #1
    veor    q0, q0, q1
    vstrw.32 q0, [r0]
    bx      lr
    ends kernel_vector_scalar

kernel kernel_vector_stack
    vpush   {d8-d15}
    vpop    {d8-d15}
    bx      lr
    ends kernel_vector_stack

kernel kernel_low_overhead
    mov     r3, lr
    dls     lr, r2
1:  vldrw.u32 q0, [r0]
    veor    q1, q1, q0
    le      lr, 1b
    bx      r3
    ends kernel_low_overhead

kernel kernel_skipped_loop
    mov     r3, lr
    movs    r1, #0
    wls     lr, r1, 2f
1:  nop
    le      lr, 1b
2:  bx      r3
    ends kernel_skipped_loop

kernel kernel_tail_predicated
    mov     r3, lr
    movs    r1, #7
    dlstp.32 lr, r1
1:  vldrw.u32 q0, [r0]
    veor    q1, q1, q0
    letp    lr, 1b
    bx      r3
    ends kernel_tail_predicated
#endif
