/* SPDX-License-Identifier: MIT-0
 * picobnn slice core for v6-M and v8-M Baseline (Cortex-M0, M0+, M1, M23): 3x3 windows.
 *
 *     void picobnn_slice_3x3(picobnn_slice_job *job);
 *
 * Contract as in picobnn_slice.h; all pointers 4-byte aligned; no word beyond strip, weights and
 * starts is read. 56 bytes of stack. No branch depends on the map.
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
 * Registers over the positions of a group: r0 strip, r1 weights, r2 to r7 words, r8 and r9 a pair on
 * hold, r10 inverts, r11 bytes of an output pixel, r12 output, lr its end; the frame holds what
 * belongs to the group.
 *
 * Cortex-M0+, modelled: 94 cycles per position and word (words 11, weights and starts 25, operations
 * 46, moves 5, store and loop 7), 6.5 per word of the row that is copied; about 75 per group and 50
 * per call beside that.
 */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

    .syntax unified
    .thumb

/* Fields of picobnn_slice_job: eight words from the first on, five from JOB_SLOT on. */
    .equ JOB_WEIGHTS, 4
    .equ JOB_STARTS, 8
    .equ JOB_OUTPUT, 12
    .equ JOB_STRIP_BYTES, 16
    .equ JOB_STEP, 28
    .equ JOB_GROUPS, 32
    .equ JOB_SLOT, 36
    .equ JOB_FROM, 40

/* The frame. */
    .equ START_1, 0  /* start of the group, weights 1, 2, 4 */
    .equ START_2, 4
    .equ START_4, 8
    .equ JOB, 12
    .equ GROUPS, 16  /* left */
    .equ FRAME, 20

/* Bytes of the weights of a group: three columns of five words. */
    .equ FILTER, 60

/* Two pairs: x1 + y1 + x2 + y2 + sum; the sum is in p2, the carries are the pair (p1, x1); sum and
 * x2 are lost. */
.macro double_adder sum, x1, p1, x2, p2
    eors    \x1, \sum
    orrs    \x1, \p1
    eors    \p1, \sum
    eors    \x2, \p1
    bics    \x2, \p2
    eors    \p2, \p1
    eors    \p1, \x1
    eors    \x1, \x2
.endm

/* One pair: sum += x + y; the carry is in x; p is lost. */
.macro pair_adder sum, x, p
    eors    \x, \sum
    orrs    \x, \p
    eors    \sum, \p
    eors    \x, \sum
.endm

/* Marks the lanes of a tap that agree with the weights at an offset. Loses r7. */
.macro mark tap, weights
    ldr     r7, [r1, #\weights]
    eors    \tap, r7
.endm

/* All positions of a group, `step` bytes of the strip apart. */
.macro positions step
1:
    ldmia   r0!, {r2-r6}
    mark    r2, 0
    mark    r3, 4
    mark    r4, 8
    mark    r5, 20
    mark    r6, 24
    eors    r4, r3
    eors    r6, r5
    double_adder r2, r3, r4, r5, r6
    mov     r8, r4
    mov     r9, r3
    ldmia   r0!, {r2-r5}
    mark    r2, 28
    mark    r3, 40
    mark    r4, 44
    mark    r5, 48
    eors    r3, r2
    eors    r5, r4
    double_adder r6, r2, r3, r4, r5
    ldr     r7, [sp, #START_1]
    orrs    r5, r7
    mov     r6, r8
    mov     r4, r9
    double_adder r5, r6, r4, r3, r2
    ldr     r7, [sp, #START_2]
    ands    r2, r7
    pair_adder r2, r4, r6
    ldr     r7, [sp, #START_4]
    ands    r2, r7
    orrs    r2, r4
    mov     r7, r10
    eors    r2, r7
    mov     r7, r12
    str     r2, [r7]
    add     r12, r11
    subs    r0, #(36 - \step)
    cmp     r12, lr
    bne     1b
.endm

    .section .text.picobnn_hot.slice_3x3, "ax", %progbits
    .balign 4
    .global picobnn_slice_3x3
    .type picobnn_slice_3x3, %function
    .thumb_func
picobnn_slice_3x3:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r4-r7}
    sub     sp, #FRAME
    str     r0, [sp, #JOB]
    ldr     r1, [r0, #JOB_GROUPS]
    str     r1, [sp, #GROUPS]

.Lgroup: /* r0 job */
    movs    r1, r0
    adds    r1, #JOB_SLOT
    ldmia   r1!, {r2-r6} /* slot, from, from_step, from_group, count */
    cmp     r6, #0
    beq     .Lcopied
    ldr     r7, [r0, #JOB_STRIP_BYTES]
    adds    r7, r7, r2
    str     r7, [r0, #JOB_SLOT]
    adds    r5, r5, r3
    str     r5, [r0, #JOB_FROM]
    lsls    r1, r4, #1
    subs    r6, #2
    blo     .Lcopy_rest
.Lcopy_two:
    ldr     r5, [r3]
    ldr     r7, [r3, r4]
    adds    r3, r3, r1
    str     r5, [r2]
    str     r7, [r2, #12]
    adds    r2, #24
    subs    r6, #2
    bhs     .Lcopy_two
.Lcopy_rest:
    adds    r6, #2
    beq     .Lcopied
    ldr     r5, [r3]
    str     r5, [r2]

.Lcopied: /* r0 job */
    ldmia   r0!, {r1-r7} /* strip, weights, starts, output, strip_bytes, positions, pixel_bytes */
    subs    r0, #JOB_STEP
    cmp     r6, #0
    beq     .Lnear_done
    mov     r11, r7
    mov     r12, r4
    muls    r6, r7
    adds    r6, r6, r4
    mov     lr, r6
    ldmia   r3!, {r6, r7}
    str     r6, [sp, #START_1]
    str     r7, [sp, #START_2]
    ldmia   r3!, {r6, r7}
    str     r6, [sp, #START_4]
    mov     r10, r7
    ldr     r7, [r0, #JOB_STEP]
    adds    r5, r5, r1
    str     r5, [r0]
    movs    r5, r2
    adds    r5, #FILTER
    str     r5, [r0, #JOB_WEIGHTS]
    str     r3, [r0, #JOB_STARTS]
    adds    r4, #4
    str     r4, [r0, #JOB_OUTPUT]
    movs    r0, r1
    movs    r1, r2
    cmp     r7, #12
    bne     .Ltwo
    positions 12
.Lnear_done:
    b       .Lgroup_done
.Ltwo:
    positions 24
.Lgroup_done:
    ldr     r0, [sp, #JOB]
    ldr     r1, [sp, #GROUPS]
    subs    r1, #1
    str     r1, [sp, #GROUPS]
    beq     .Ldone
    b       .Lgroup
.Ldone:
    add     sp, #FRAME
    pop     {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}
    .size picobnn_slice_3x3, . - picobnn_slice_3x3

#endif
