/* SPDX-License-Identifier: MIT-0
 * picobnn rows adder and lists for v6-M and v8-M Baseline (Cortex-M0, M0+, M1, M23).
 *
 *     void picobnn_rows_add(const picobnn_rows_job *job);
 *     uint32_t *picobnn_rows_list(uint32_t *next, const uint32_t *pixel, uint32_t count, uint32_t row,
 *                                 const picobnn_rows_selector *select);
 *
 * Contract as in picobnn_rows.h; all pointers 4-byte aligned, no word beyond lists, rows and starts
 * is read. 104 bytes of stack.
 *
 * Identity: a full adder of 5 operations without a temporary. For one bit, with h = a ^ b:
 *     b ^= a        h
 *     a &= ~b       a & ~(a ^ b) = a & b
 *     s ^= b        s ^ h, the sum
 *     b &= ~s       h & ~(s ^ h) = h & s (h = 0: both 0; h = 1: ~(s ^ 1) = s)
 *     a |= b        (a & b) | (h & s), the carry
 * 16 rows go through 8 adders of weight 1, 4 of weight 2, 2 of weight 4 and 1 of weight 8, and leave
 * one carry of weight 16, which is stored. When all rows are in, the planes below weight 16 and the
 * addend's low bits leave one more such carry, and the same code adds the carries up. Lists are
 * multiples of 8: a rest of 8 leaves its carry of weight 8 to a half adder. Carries are filled up to
 * a multiple of 4: a rest of 4 leaves its carry to two.
 *
 * Registers while rows are added: r2, r3, r8, r9 the counter's planes of weight 1, 2, 4, 8;
 * r4 to r7 rows; r10, r11 carries of weight 4 and 8 on hold; r0 list; r1 rows of the segment;
 * r12 next carry; lr end of the list less 16 rows.
 *
 * Cortex-M0+, modelled: 146 cycles per 16 rows (list and rows 4 x 13, 75 operations, 12 moves,
 * store, loop), about 190 per group beside that; lists: 4 to 5 per bit.
 */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

    .syntax unified
    .thumb

/* Fields of picobnn_rows_job; those behind the words count from the addend on. */
    .equ JOB_MEMORY, -20
    .equ JOB_PLANES, 4
    .equ JOB_GROUPS, 8
    .equ JOB_GROUP_BYTES, 12
    .equ JOB_INVERT, 16

/* The frame. */
    .equ LIST, 0     /* the first list, its rows of the group, the carries, the list's end less 16 rows */
    .equ ROWS, 4
    .equ CARRIES, 8
    .equ END, 12
    .equ LAST, 16    /* end of the last list */
    .equ STARTS, 20  /* starts of the group */
    .equ WORDS, 24   /* where the result of the group goes */
    .equ GROUPS, 28  /* groups left */
    .equ ABOVE, 32   /* planes of HIGH in use; -1 with 8 planes */
    .equ JOB, 36     /* the job's addend */
    .equ HIGH, 40    /* up to seven planes, weights 256 and more */
    .equ FRAME, 68

/* s += a + b; the carry is in a, b is lost. */
.macro full_adder s, a, b
    eors \b, \a
    bics \a, \b
    eors \s, \b
    bics \b, \s
    orrs \a, \b
.endm

/* Adds four rows of the list, or where `stored` is set four stored carries; leaves a carry of
 * weight 4 in r4. */
.macro add_4 stored
    ldmia r0!, {r4-r7}
.if !\stored
    ldr r4, [r4, r1]
    ldr r5, [r5, r1]
    ldr r6, [r6, r1]
    ldr r7, [r7, r1]
.endif
    full_adder r2, r4, r5
    full_adder r2, r6, r7
    full_adder r3, r4, r6
.endm

/* Adds eight words; leaves a carry of weight 8 in r4. */
.macro add_8 stored
    add_4 \stored
    mov r10, r4
    add_4 \stored
    mov r5, r10
    mov r6, r8
    full_adder r6, r4, r5
    mov r8, r6
.endm

/* r5 = s & r4, s ^= r4: a carry without a partner. */
.macro half_adder s
    mov r6, \s
    movs r5, r4
    ands r5, r6
    eors r6, r4
    mov \s, r6
.endm

    .section .text.picobnn_hot.rows_add, "ax", %progbits
    .balign 4
    .global picobnn_rows_add
    .type picobnn_rows_add, %function
    .thumb_func
picobnn_rows_add:
    push {r4-r7, lr}
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
    push {r4-r7}
    sub sp, #FRAME
    ldmia r0!, {r1-r5}
    str r4, [sp, #CARRIES]
    str r3, [sp, #STARTS]
    str r5, [sp, #WORDS]
    str r0, [sp, #JOB]
    ldr r6, [r0, #JOB_PLANES]
    subs r6, #9
    str r6, [sp, #ABOVE]
    ldr r7, [r0, #JOB_GROUPS]
    str r7, [sp, #GROUPS]
    movs r0, r1
    ldmia r1!, {r4-r7}
    adds r4, r4, r0
    str r4, [sp, #LIST]
    adds r5, r5, r0
    str r5, [sp, #END]
    adds r6, r6, r2
    str r6, [sp, #ROWS]
    cmp r7, #0
    beq 1f
    ldr r5, [r1]
    adds r5, r5, r0
1:  adds r5, #64
    str r5, [sp, #LAST]

    .balign 4
.Lgroup: /* r3 starts */
    adds r3, #4
    ldmia r3, {r2, r3, r4, r5}
    mov r8, r4
    mov r9, r5
    mov r4, sp
    ldmia r4!, {r0, r1, r5, r6}
    mov r12, r5
    mov lr, r6
    cmp r0, lr
    bhi .Lrest
.Lsixteen:
    add_8 0
    mov r11, r4
    add_8 0
    mov r5, r11
    mov r6, r9
    full_adder r6, r4, r5
    mov r9, r6
    mov r5, r12
    stmia r5!, {r4}
    mov r12, r5
    cmp r0, lr
    bls .Lsixteen
.Lrest:
    movs r4, #64
    add lr, r4
    cmp r0, lr
    beq .Llist_end
    add_8 0
    half_adder r9
    mov r6, r12
    stmia r6!, {r5}
    mov r12, r6
.Llist_end:
    ldr r4, [sp, #LAST]
    cmp r0, r4
    beq .Llow
    ldr r4, [sp, #JOB] /* the second list */
    subs r4, #20
    ldr r7, [r4]
    ldr r4, [r7, #8]
    subs r1, r1, r4
    ldr r4, [r7, #20]
    adds r1, r1, r4
    ldr r0, [r7, #12]
    adds r0, r0, r7
    ldr r4, [r7, #16]
    adds r4, r4, r7
    mov lr, r4
    cmp r0, lr
    bhi .Lrest
    b .Lsixteen

/* The planes up to weight 8 and the low bits of the addend: their carry, of weight 16, joins the
 * stored ones. With a bit b of the addend a carry c goes on as c | plane where b is set, as
 * c & plane where not; equal bits stay in their column of the code below. */
.Llow:
    ldr r4, [sp, #JOB]
    ldr r0, [r4]
    ldr r4, [sp, #STARTS]
    mov r6, r8
    mov r7, r9
    lsrs r0, r0, #1
    bcs 10f
    movs r1, #0
    lsrs r0, r0, #1
    bcs 11f
1:  ands r1, r2
    lsrs r0, r0, #1
    bcs 12f
2:  ands r1, r3
    lsrs r0, r0, #1
    bcs 13f
3:  ands r1, r6
    lsrs r0, r0, #1
    bcs 14f
4:  ands r1, r7
    b 15f
10: ldr r1, [r4]
    lsrs r0, r0, #1
    bcc 1b
11: orrs r1, r2
    lsrs r0, r0, #1
    bcc 2b
12: orrs r1, r3
    lsrs r0, r0, #1
    bcc 3b
13: orrs r1, r6
    lsrs r0, r0, #1
    bcc 4b
14: orrs r1, r7
15: mov r11, r0
    /* Zeros fill the last four up; the planes of weight 16 and more move into the registers. */
    mov r5, r12
    movs r2, #0
    movs r3, #0
    movs r6, #0
    stmia r5!, {r1-r3, r6}
    subs r5, #16
    mov lr, r5
    ldr r0, [sp, #CARRIES]
    adds r4, #20
    ldmia r4!, {r2, r3, r6, r7}
    mov r8, r6
    mov r9, r7
    ldr r6, [sp, #ABOVE]
    cmp r6, #0
    bne .Lhigh
    str r4, [sp, #STARTS]
.Lfour: /* r0 carries, lr their end less four; nothing above r9 */
    add_4 1
    half_adder r8
    mov r6, r9
    eors r6, r5
    mov r9, r6
    cmp r0, lr
    bls .Lfour
    b .Lsign

.Lhigh:
    add r7, sp, #HIGH
1:  ldmia r4!, {r1}
    stmia r7!, {r1}
    subs r6, #1
    bne 1b
    str r4, [sp, #STARTS]
    subs r5, r5, r0
    lsrs r5, r5, #5
    bcs .Leight
    add_4 1
    half_adder r8
    movs r4, r5
    b 2f
.Leight:
    add_8 1
2:  half_adder r9
    cmp r5, #0
    beq 4f
    ldr r4, [sp, #ABOVE]
    add r1, sp, #HIGH
3:  ldr r6, [r1]
    movs r7, r6
    ands r7, r5
    eors r6, r5
    stmia r1!, {r6}
    movs r5, r7
    subs r4, #1
    bne 3b
4:  cmp r0, lr
    bls .Leight

.Lsign: /* The sign of the count plus the addend: as above, then the last plane. */
    mov r0, r11
    mov r6, r8
    mov r7, r9
    lsrs r0, r0, #1
    bcs 5f
    movs r2, #0
5:  lsrs r0, r0, #1
    bcs 12f
2:  ands r2, r3
    lsrs r0, r0, #1
    bcs 13f
3:  ands r2, r6
    b 14f
12: orrs r2, r3
    lsrs r0, r0, #1
    bcc 3b
13: orrs r2, r6
14: ldr r6, [sp, #ABOVE]
    add r4, sp, #HIGH
    b 19f
15: lsrs r0, r0, #1
    bcs 16f
    ands r2, r7
    b 17f
16: orrs r2, r7
17: ldmia r4!, {r7}
    subs r6, #1
19: cmp r6, #0
    bne 15b
    lsls r0, r0, #31
    asrs r0, r0, #31
    eors r2, r0
    eors r2, r7

    ldr r5, [sp, #JOB]
    ldr r4, [r5, #JOB_INVERT]
    eors r2, r4
    ldr r4, [sp, #WORDS]
    stmia r4!, {r2}
    ldr r2, [sp, #GROUPS]
    subs r2, #1
    beq .Ldone
    str r4, [sp, #WORDS]
    str r2, [sp, #GROUPS]
    ldr r2, [r5, #JOB_GROUP_BYTES]
    ldr r3, [sp, #ROWS]
    adds r3, r3, r2
    str r3, [sp, #ROWS]
    ldr r3, [sp, #STARTS]
    b .Lgroup
.Ldone:
    add sp, #FRAME
    pop {r4-r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    pop {r4-r7, pc}
    .size picobnn_rows_add, . - picobnn_rows_add

/* Appends the entry where the condition does not hold, then goes to the row below; keeps flags. */
.macro list_bit clear
    \clear 1f
    stmia r0!, {r3}
1:  add r3, r8
.endm

/* Registers: r0 list, r1 pixels, r2 row behind the pixel, r3 entry, r4 bits, r5 row of the next word,
 * r8 -4, r9 flip, r10 last_flip, r11 gap_bytes, r12 pixels left, lr row_bytes. Bit i of a word selects
 * row + 4 * i; from the highest bit on, a shift by two brings one bit into N and the one above into
 * C. */
    .section .text.picobnn_hot.rows_list, "ax", %progbits
    .balign 4
    .global picobnn_rows_list
    .type picobnn_rows_list, %function
    .thumb_func
picobnn_rows_list:
    push {r4-r7, lr}
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
    push {r4-r7}
    mov r12, r2
    mov r2, r3
    ldr r3, [sp, #36]
    ldmia r3!, {r4-r7}
    mov lr, r4
    mov r11, r5
    mov r9, r6
    mov r10, r7
    movs r4, #4
    negs r4, r4
    mov r8, r4
.Lpixel:
    mov r5, r2
    add r2, lr
.Lword:
    ldmia r1!, {r4}
    movs r3, r5
    adds r3, #124
    adds r5, #128
    mov r6, r9
    cmp r5, r2
    blo 1f
    mov r6, r10
1:  eors r4, r6
    beq .Lword_done
    list_bit bpl
.rept 5
.rept 3
    lsls r4, r4, #2
    list_bit bcc
    list_bit bpl
.endr
    beq .Lword_done
.endr
    lsls r4, r4, #2
    list_bit bcc
.Lword_done:
    cmp r5, r2
    bhs 2f
    b .Lword
2:  add r1, r11
    mov r6, r12
    subs r6, #1
    beq .Llist_done
    mov r12, r6
    b .Lpixel
.Llist_done:
    pop {r4-r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    pop {r4-r7, pc}
    .size picobnn_rows_list, . - picobnn_rows_list

#endif
