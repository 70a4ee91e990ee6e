/* SPDX-License-Identifier: MIT-0
 * picobnn rows adder and lists for v7-M and v8-M Mainline (Cortex-M3, M4, M7, M33, M55).
 *
 *     void picobnn_rows_add(const picobnn_rows_job *job);
 *     uint32_t *picobnn_rows_list(uint32_t *next, const uint32_t *pixel, uint32_t count, uint32_t row,
 *                                 const picobnn_rows_selector *select);
 *
 * Contract as in picobnn_rows.h; all pointers 4-byte aligned, no word beyond lists, rows and starts
 * is read. 116 bytes of stack.
 *
 * The adders' identities stand in picobnn_adders_v7m.h; pairs are used for weights 1 and 2.
 * 16 rows leave one carry of weight 16, which is stored. When all rows are in, the same code adds the carries up.
 * Lists are multiples of 8: a rest of 8 leaves its carry of weight 8 to a half adder. Carries are
 * filled up to a multiple of 4: a rest of 4 leaves its carry to two.
 *
 * Registers while rows are added: r4 to r7 the counter's planes of weight 1, 2, 4, 8;
 * r0 to r3, r10, r11 rows; r8 list; r9 rows of the segment; r12 next carry; lr end of the list less
 * 16 rows, and another row.
 *
 * Cortex-M4, modelled: 110 cycles per 16 rows (list and rows 4 x 9, 69 operations, store, loop),
 * about 170 per group beside that; lists: 6 per selected row, 13 per word. Cortex-M7: 56 per 16 rows.
 */
#include "picobnn_adders_v7m.h"

#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_8M_MAIN__) || \
    defined(__ARM_ARCH_8_1M_MAIN__)

    .syntax unified
    .thumb

/* Fields of picobnn_rows_job. */
    .equ JOB_MEMORY, 0
    .equ JOB_WEIGHTS, 4
    .equ JOB_STARTS, 8
    .equ JOB_CARRIES, 12
    .equ JOB_WORDS, 16
    .equ JOB_ADDEND, 20
    .equ JOB_PLANES, 24
    .equ JOB_GROUPS, 28
    .equ JOB_GROUP_BYTES, 32
    .equ JOB_INVERT, 36

/* The frame. */
    .equ JOB, 0      /* job */
    .equ SEGMENT, 4  /* next segment */
    .equ WEIGHTS, 8  /* rows of the group */
    .equ STARTS, 12  /* starts of the group */
    .equ WORDS, 16   /* where the result of the group goes */
    .equ GROUPS, 20  /* groups left */
    .equ MEMORY, 24
    .equ LOW, 28     /* four planes, weights 1, 2, 4, 8 */
    .equ HIGH, 44    /* up to seven planes, weights 256 and more */
    .equ END, 72     /* end of the list less 16 rows */
    .equ FRAME, 80

/* The rows of four entries of the list, `at` bytes behind r8. The first four of a loop move r8 by `step`
 * and stand at -step. No LDM: loads of single registers run under each other and under those of the
 * rows (M3, M4), or two at a time (M7). */
.macro load_rows at, a, b, c, d, step=0
.if \step
    ldr \a, [r8], #\step
.else
    ldr \a, [r8, #\at]
.endif
    ldr \b, [r8, #\at + 4]
    ldr \c, [r8, #\at + 8]
    ldr \d, [r8, #\at + 12]
    ldr \a, [\a, r9]
    ldr \b, [\b, r9]
    ldr \c, [\c, r9]
    ldr \d, [\d, r9]
.endm

/* Adds four words; leaves a carry of weight 4 in a. */
.macro add_4 a, b, c, d
    full_adder r4, \a, \b
    full_adder r4, \c, \d
    full_adder r5, \a, \c
.endm

/* Adds the rows of eight entries, of `step` bytes that the loop adds; leaves a carry of weight 8 in r0.
 * Loses r1 to r3, r10 and r11. */
.macro add_8_rows step
    load_rows -\step, r0, r1, r2, r3, \step
    add_words r0, r1, r2, r3
    load_rows 16 - \step, r2, r3, r10, r11
    add_words r2, r3, r10, r11
    double_adder r5, r1, r0, r3, r2
    pair_adder r6, r0, r1
.endm

    .section .text.picobnn_hot.rows_add, "ax", %progbits
    .balign 8
    .global picobnn_rows_add
    .type picobnn_rows_add, %function
    .thumb_func
picobnn_rows_add:
    push {r4-r11, lr}
    sub sp, #FRAME
    ldr r1, [r0, #JOB_MEMORY]
    ldr r2, [r0, #JOB_WEIGHTS]
    ldr r3, [r0, #JOB_STARTS]
    ldr r4, [r0, #JOB_WORDS]
    ldr r5, [r0, #JOB_GROUPS]
    str r0, [sp, #JOB]
    str r1, [sp, #MEMORY]
    str r2, [sp, #WEIGHTS]
    str r4, [sp, #WORDS]
    str r5, [sp, #GROUPS]

.Lgroup: /* r0 job, r1 first segment, r3 starts */
    str r3, [sp, #STARTS]
    ldr r12, [r0, #JOB_CARRIES]
    adds r3, #4
    ldm r3, {r4-r7}
    b .Lsegment

    .balign 8
.Lsixteen:
    add_8_rows 64
    load_rows -32, r1, r2, r3, r10
    add_words r1, r2, r3, r10
    load_rows -16, r3, r10, r11, lr
    add_words r3, r10, r11, lr
    double_adder r5, r2, r1, r10, r3
    pair_adder r6, r1, r2
    full_adder r7, r0, r1
    ldr lr, [sp, #END]
    str r0, [r12], #4
    cmp r8, lr
    bls .Lsixteen
.Lrest:
    add lr, #64
    cmp r8, lr
    beq .Lsegment_done
    add_8_rows 32
    and r1, r7, r0
    eors r7, r7, r0
    str r1, [r12], #4
.Lsegment_done:
    ldr r1, [sp, #SEGMENT]
.Lsegment: /* r1 segment */
    ldm r1!, {r0, r2, r3}
    cbz r0, .Lcarries
    str r1, [sp, #SEGMENT]
    ldr r1, [sp, #MEMORY]
    ldr r9, [sp, #WEIGHTS]
    add r8, r1, r0
    add lr, r1, r2
    add r9, r3
    str lr, [sp, #END]
    cmp r8, lr
    bls .Lsixteen
    b .Lrest

.Lcarries: /* Planes of weight 16 to 128 move into r4 to r7, those above into HIGH. */
    add r0, sp, #LOW
    stm r0, {r4-r7}
    ldr r0, [sp, #JOB]
    ldr r1, [sp, #STARTS]
    ldr r11, [r0, #JOB_PLANES]
    ldr r8, [r0, #JOB_CARRIES]
    adds r1, #20
    ldm r1!, {r4-r7}
    subs r11, #9
    beq 2f
    add r2, sp, #HIGH
    mov r3, r11
1:  ldr r0, [r1], #4
    str r0, [r2], #4
    subs r3, #1
    bne 1b
2:  sub r2, r12, r8
    movs r1, #0
    b 4f
3:  str r1, [r12], #4
    adds r2, #4
4:  tst r2, #12
    bne 3b
    sub lr, r12, #32
    b .Lcarries_left

.Lfour_carries:
    ldm r8!, {r0-r3}
    add_4 r0, r1, r2, r3
    and r1, r6, r0
    eors r6, r6, r0
    and r0, r7, r1
    eors r7, r7, r1
    mov r1, r0
    b .Lhigh

.Leight_carries:
    ldm r8!, {r0-r3}
    add_words r0, r1, r2, r3
    ldm r8!, {r2, r3, r9, r10}
    add_words r2, r3, r9, r10
    double_adder r5, r1, r0, r3, r2
    pair_adder r6, r0, r1
    and r1, r7, r0
    eors r7, r7, r0
.Lhigh: /* r1 carry of weight 256 */
    cbz r1, .Lcarries_left
    movs r3, r11
    beq .Lcarries_left
    add r2, sp, #HIGH
5:  ldr r0, [r2]
    and r10, r0, r1
    eors r0, r0, r1
    str r0, [r2], #4
    mov r1, r10
    subs r3, #1
    bne 5b
.Lcarries_left:
    cmp r8, lr
    bls .Leight_carries
    cmp r8, r12
    bne .Lfour_carries

    /* The sign of the count plus the addend: the carry of each plane, then the last plane. */
    ldr r2, [sp, #JOB]
    ldr r3, [sp, #STARTS]
    ldr r0, [r2, #JOB_ADDEND]
    ldr r2, [r3]
    add r3, sp, #LOW
    ldm r3, {r8-r10, r12}
    movs r1, #0
    compare_bit r0, r2
    compare_bit r0, r8
    compare_bit r0, r9
    compare_bit r0, r10
    compare_bit r0, r12
    compare_bit r0, r4
    compare_bit r0, r5
    compare_bit r0, r6
    cmp r11, #0
    beq 7f
    add r3, sp, #HIGH
6:  compare_bit r0, r7
    ldr r7, [r3], #4
    subs r11, #1
    bne 6b
7:  eors r1, r7
    lsls r0, r0, #31
    eor r1, r1, r0, asr #31

    ldr r0, [sp, #JOB]
    ldr r4, [sp, #WORDS]
    ldr r2, [r0, #JOB_INVERT]
    ldr r5, [sp, #GROUPS]
    eors r1, r2
    str r1, [r4], #4
    subs r5, #1
    beq .Ldone
    str r4, [sp, #WORDS]
    str r5, [sp, #GROUPS]
    ldr r2, [r0, #JOB_GROUP_BYTES]
    ldr r4, [sp, #WEIGHTS]
    ldr r5, [r0, #JOB_PLANES]
    ldr r3, [sp, #STARTS]
    ldr r1, [sp, #MEMORY]
    add r4, r2
    add r3, r3, r5, lsl #2
    str r4, [sp, #WEIGHTS]
    b .Lgroup
.Ldone:
    add sp, #FRAME
    pop {r4-r11, pc}
    .size picobnn_rows_add, . - picobnn_rows_add

/* Registers: r0 list, r1 pixels, r2 pixels left, r3 row of the next word, r4 bits, r5 zeros above the
 * highest bit, r7 entry, r8 row_bytes, r9 gap_bytes, r10 flip, r11 last_flip, lr row behind the
 * pixel. Bit i of a word selects row + 4 * i; from the highest bit on, a set bit at a time moves to
 * the top and goes. */
    .section .text.picobnn_hot.rows_list, "ax", %progbits
    .balign 8
    .global picobnn_rows_list
    .type picobnn_rows_list, %function
    .thumb_func
picobnn_rows_list:
    push {r4-r11, lr}
    ldr r4, [sp, #36]
    ldm r4, {r8-r11}
.Lpixel:
    add lr, r3, r8
.Lword:
    ldr r4, [r1], #4
    add r7, r3, #124
    adds r3, #128
    cmp r3, lr
    ite lo
    eorlo r4, r4, r10
    eorhs r4, r4, r11
    cbnz r4, .Lbits
.Lword_done:
    cmp r3, lr
    blo .Lword
    mov r3, lr
    add r1, r9
    subs r2, #1
    bne .Lpixel
    pop {r4-r11, pc}
.Lbits:
.rept 32
    clz r5, r4
    lsls r4, r4, r5
    sub r7, r7, r5, lsl #2
    bics r4, r4, #0x80000000
    str r7, [r0], #4
    beq .Lword_done
.endr
    .size picobnn_rows_list, . - picobnn_rows_list

#endif
