/* SPDX-License-Identifier: MIT-0
 * picobnn slice core for v7-M and v8-M Mainline (Cortex-M3, M4, M7, M33, M55): 3x3 windows.
 *
 *     void picobnn_slice_3x3(picobnn_slice_job *job);
 *
 * Contract as in picobnn_slice.h; all pointers 4-byte aligned; no word beyond strip, weights and
 * starts is read. 72 bytes of stack. No branch depends on the map.
 *
 * Identity: nine marks, a start k of three planes and a 1 overflow 8 where marks + k + 1 >= 8. Two
 * words x and y go into a counter as the pair (x, p) with p = x ^ y; two pairs take 8 operations and
 * leave their carries as a pair again, one pair takes 4 (Demenkov, Kojevnikov, Kulikov and
 * Yaroslavtsev 2010; with h = x ^ z the carry of x + y + z is (p | h) ^ p ^ z):
 *     weight 1: nine marks in 2 x 2 pairs and one word leave a sum and 2 pairs of carries; the sum,
 *               the start's plane and the 1 carry as sum | plane;
 *     weight 2: the 2 pairs and that carry leave a sum and a pair; sum and plane carry as
 *               sum & plane;
 *     weight 4: that pair and carry leave a sum and a carry out; sum and plane carry out as
 *               sum & plane.
 * 9 operations for the weights, 4 for pairs, 24 + 4 for adders, 5 for start and result: 46.
 *
 * Registers over the positions of a group: r0 strip, r1 weights, r12 output; r2 to r11 and lr words;
 * the frame holds what belongs to the group.
 *
 * Cortex-M4, modelled: 152 cycles per two positions of a word 12 bytes apart (loads 26 and 27,
 * operations 2 x 46, stores, output and loop 7), 78 per position 24 bytes apart; 2.7 per word of the
 * row that is copied in eights; about 65 per group and 45 per call beside that.
 */
#include "picobnn_adders_v7m.h"

#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_8M_MAIN__) || \
    defined(__ARM_ARCH_8_1M_MAIN__)

    .syntax unified
    .thumb

/* Fields of picobnn_slice_job: eight words from the first on, five from JOB_SLOT on. */
    .equ JOB_STRIP_BYTES, 16
    .equ JOB_GROUPS, 32
    .equ JOB_SLOT, 36

/* The frame. */
    .equ START_1, 0  /* start of the group, weights 1, 2, 4 */
    .equ START_2, 4
    .equ START_4, 8
    .equ INVERT, 12
    .equ PIXEL, 16   /* bytes of an output pixel */
    .equ END, 20     /* of the output */
    .equ JOB, 24
    .equ GROUPS, 28  /* left */
    .equ FRAME, 36

/* Bytes of the weights of a group: three columns of five words. */
    .equ FILTER, 60

/* One position. The strip moves on by `step` bytes with its first word, so the others stand `step`
 * bytes before where they were. Where `is_last` is set lr becomes the output's end. */
.macro position step, is_last
    ldr     r2, [r0], #\step
    ldr     r3, [r0, #(4 - \step)]
    ldr     r4, [r0, #(8 - \step)]
    ldr     r5, [r0, #(12 - \step)]
    ldr     r6, [r0, #(16 - \step)]
    ldr     r7, [r1]
    ldr     r8, [r1, #4]
    ldr     r9, [r1, #8]
    ldr     r10, [r1, #20]
    ldr     r11, [r1, #24]
    eors    r2, r2, r7
    eor     r3, r3, r8
    eor     r4, r4, r9
    eor     r5, r5, r10
    eor     r6, r6, r11
    eors    r4, r4, r3
    eors    r6, r6, r5
    double_adder r2, r3, r4, r5, r6
    ldr     r5, [r0, #(20 - \step)]
    ldr     r6, [r0, #(24 - \step)]
    ldr     r7, [r0, #(28 - \step)]
    ldr     r8, [r0, #(32 - \step)]
    ldr     r9, [r1, #28]
    ldr     r10, [r1, #40]
    ldr     r11, [r1, #44]
    ldr     lr, [r1, #48]
    eor     r5, r5, r9
    eor     r6, r6, r10
    eor     r7, r7, r11
    eor     r8, r8, lr
    eors    r6, r6, r5
    eor     r8, r8, r7
    double_adder r2, r5, r6, r7, r8
    ldr     r7, [sp, #START_1]
    ldr     r8, [sp, #START_2]
    ldr     r9, [sp, #START_4]
    ldr     r10, [sp, #INVERT]
    ldr     r11, [sp, #PIXEL]
.if \is_last
    ldr     lr, [sp, #END]
.endif
    orrs    r2, r2, r7
    double_adder r2, r4, r3, r6, r5
    and     r2, r2, r8
    pair_adder r2, r3, r4
    and     r2, r2, r9
    orrs    r2, r2, r3
    eor     r2, r2, r10
    str     r2, [r12]
    add     r12, r12, r11
.endm

    .section .text.picobnn_hot.slice_3x3, "ax", %progbits
    .balign 4
    .global picobnn_slice_3x3
    .type picobnn_slice_3x3, %function
    .thumb_func
picobnn_slice_3x3:
    push    {r4-r11, lr}
    sub     sp, sp, #FRAME
    ldr     r1, [r0, #JOB_GROUPS]
    strd    r0, r1, [sp, #JOB]

.Lgroup: /* r0 job */
    add     r1, r0, #JOB_SLOT
    ldm     r1, {r1-r5} /* slot, from, from_step, from_group, count */
    cmp     r5, #0
    beq     .Lcopied
    ldr     r6, [r0, #JOB_STRIP_BYTES]
    adds    r4, r4, r2
    adds    r6, r6, r1
    strd    r6, r4, [r0, #JOB_SLOT]
    add     r12, r3, r3, lsl #1
    subs    r5, r5, #8
    blo     .Lcopy_seven
    .balign 4
.Lcopy_eight:
    add     lr, r2, r3, lsl #2
    ldr     r4, [r2]
    ldr     r6, [r2, r3]
    ldr     r7, [r2, r3, lsl #1]
    ldr     r8, [r2, r12]
    ldr     r9, [lr]
    ldr     r10, [lr, r3]
    ldr     r11, [lr, r3, lsl #1]
    ldr     lr, [lr, r12]
    str     r4, [r1]
    str     r6, [r1, #12]
    str     r7, [r1, #24]
    str     r8, [r1, #36]
    str     r9, [r1, #48]
    str     r10, [r1, #60]
    str     r11, [r1, #72]
    str     lr, [r1, #84]
    add     r2, r2, r3, lsl #3
    adds    r1, r1, #96
    subs    r5, r5, #8
    bhs     .Lcopy_eight
.Lcopy_seven: /* at most: the low bits of r5 tell how many */
    tst     r5, #4
    beq     .Lcopy_three
    ldr     r4, [r2]
    ldr     r6, [r2, r3]
    ldr     r7, [r2, r3, lsl #1]
    ldr     r8, [r2, r12]
    str     r4, [r1]
    str     r6, [r1, #12]
    str     r7, [r1, #24]
    str     r8, [r1, #36]
    add     r2, r2, r3, lsl #2
    adds    r1, r1, #48
.Lcopy_three:
    ands    r5, r5, #3
    beq     .Lcopied
.Lcopy_one:
    ldr     r4, [r2]
    add     r2, r2, r3
    str     r4, [r1], #12
    subs    r5, r5, #1
    bne     .Lcopy_one

.Lcopied: /* r0 job */
    ldm     r0, {r1-r8} /* strip, weights, starts, output, strip_bytes, positions, pixel_bytes, step */
    cmp     r6, #0
    beq     .Lgroup_done
    mla     lr, r6, r7, r4
    add     r9, r1, r5
    add     r10, r2, #FILTER
    add     r11, r3, #16
    add     r12, r4, #4
    stm     r0, {r9-r12}
    mov     r12, r4
    mov     r0, r1
    mov     r1, r2
    ldm     r3, {r2-r5}
    stm     sp, {r2-r5, r7, lr}
    cmp     r8, #12
    bne     .Ltwo
    tst     r6, #1
    bne     2f
    .balign 4
1:  position 12, 0
2:  position 12, 1
    cmp     r12, lr
    bne     1b
    b       .Lgroup_done
    .balign 4
.Ltwo:
    position 24, 1
    cmp     r12, lr
    bne     .Ltwo
.Lgroup_done:
    ldr     r0, [sp, #JOB]
    ldr     r1, [sp, #GROUPS]
    subs    r1, r1, #1
    str     r1, [sp, #GROUPS]
    bne     .Lgroup
    add     sp, sp, #FRAME
    pop     {r4-r11, pc}
    .size picobnn_slice_3x3, . - picobnn_slice_3x3

#endif
