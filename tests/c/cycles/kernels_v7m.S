/* SPDX-License-Identifier: Apache-2.0 */
/* Small kernels whose instructions and cycles are counted by hand in tests/support/cycle_kernels_v7m.py. v7-M code. */
#if !defined(__ARM_ARCH_6M__)
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

kernel kernel_multiply_add
    mul     r2, r0, r1
    mla     r2, r0, r1, r2
    mla     r2, r0, r1, r2
    adds    r2, #1
    bx      lr
    ends kernel_multiply_add

kernel kernel_multiply_long
    umull   r2, r3, r0, r1
    umlal   r2, r3, r0, r1
    bx      lr
    ends kernel_multiply_long

kernel kernel_if_then
    cmp     r0, r0
    ite     ne
    movne   r1, #1
    moveq   r1, #2
    bx      lr
    ends kernel_if_then

kernel kernel_if_then_wide
    cmp.w   r0, r0
    it      eq
    moveq   r1, #1
    bx      lr
    ends kernel_if_then_wide

kernel kernel_wide_target
    b.n     1f
    nop
    nop
1:  add.w   r0, r0, #1          /* 32 bits at 2 mod 4 */
    bx      lr
    ends kernel_wide_target

kernel kernel_base_update
    ldr     r2, [r0], #4
    ldr     r3, [r1], #4
    ldr     r2, [r1], #4
    bx      lr
    ends kernel_base_update

    /* Sums some bits of r1 words; r1 counts down. */
kernel kernel_word_loop
    movs    r2, #0
    nop
1:  ldr     r3, [r0], #4
    eor     r3, r3, r1
    and     r12, r3, #0x0f0f0f0f
    lsrs    r3, r3, #4
    add     r2, r2, r12
    subs    r1, #1
    bne     1b
    mov     r0, r2
    bx      lr
    ends kernel_word_loop

    /* The xnor popcount of r2 words at r0 and r1, as a compiler writes it. */
kernel kernel_popcount
    push    {r4, lr}
    subs    r4, r2, #0
    ble     2f
    sub.w   r12, r0, #4
    subs    r1, #4
    add.w   r2, r12, r4, lsl #2
    mov.w   lr, #0
1:  ldr     r3, [r12, #4]!
    ldr     r0, [r1, #4]!
    eors    r3, r0
    mvns    r3, r3
    lsrs    r0, r3, #1
    and     r0, r0, #0x55555555
    subs    r3, r3, r0
    lsrs    r0, r3, #2
    and     r0, r0, #0x33333333
    and     r3, r3, #0x33333333
    add     r3, r0
    add     r3, r3, r3, lsr #4
    and     r3, r3, #0x0f0f0f0f
    add     r3, r3, r3, lsl #8
    add     r3, r3, r3, lsl #16
    cmp     r2, r12
    add     lr, lr, r3, lsr #24
    bne     1b
    lsl.w   r0, lr, #1
    sub     r0, r0, r4, lsl #5
    pop     {r4, pc}
2:  movs    r0, #0
    pop     {r4, pc}
    ends kernel_popcount

    /* A wide instruction over the end of a page: the emulator has looked at its first half when it
     * ends the block in front of it. */
    .balign 1024
    .space 1018
    .global kernel_wide_page
    .type kernel_wide_page, %function
    .thumb_func
kernel_wide_page:
    add.w   r2, r0, r1
    add.w   r3, r2, #1
    bx      lr
    ends kernel_wide_page

kernel kernel_divide
    movs    r1, #3
    udiv    r2, r0, r1
    adds    r2, #1
    bx      lr
    ends kernel_divide

kernel kernel_pairs
    uxtb    r3, r1
    eor.w   r2, r0, r1, lsl #3
    eor.w   r3, r3, r2, lsl #1
    ldr     r1, [r0]
    ldr     r2, [r0, #4]
    str     r1, [r0, #8]
    bx      lr
    ends kernel_pairs
#endif
