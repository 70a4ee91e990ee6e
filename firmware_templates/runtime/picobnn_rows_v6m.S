/* SPDX-License-Identifier: MIT-0
 * picobnn rows adder and lists for v6-M and v8-M baseline (Cortex-M0, M0+, M1, M23).
 *
 *     void picobnn_rows_add(const picobnn_rows_job *job);
 *     uint32_t *picobnn_rows_list(uint32_t *next, const uint32_t *pixel, uint32_t count, uint32_t row,
 *                                 const picobnn_rows_selector *select);
 *
 * Contract as in picobnn_rows.h; all pointers 4-byte aligned, no word beyond lists, rows and starts
 * is read. 128 bytes of stack.
 *
 * Identity: a full adder of 5 operations without a temporary. For one bit, with h = a ^ b:
 *     b ^= a        h
 *     a &= ~b       a & ~(a ^ b) = a & b
 *     s ^= b        s ^ h, the sum
 *     b &= ~s       h & ~(s ^ h) = h & s (h = 0: both 0; h = 1: ~(s ^ 1) = s)
 *     a |= b        (a & b) | (h & s), the carry
 * 16 rows go through 8 adders of weight 1, 4 of weight 2, 2 of weight 4 and 1 of weight 8, and leave
 * one carry of weight 16, which is stored. When all rows are in, the same code adds the carries up.
 * Lists are multiples of 8: a rest of 8 leaves its carry of weight 8 to a half adder. Carries are
 * filled up to a multiple of 4: a rest of 4 leaves its carry to two.
 *
 * Registers while rows are added: r2, r3, r8, r9 the counter's planes of weight 1, 2, 4, 8;
 * r4 to r7 rows; r10, r11 carries of weight 4 and 8 on hold; r0 list; r1 rows of the segment;
 * r12 next carry; lr end of the list less 16 rows.
 *
 * Cortex-M0+, modelled: 143 cycles per 16 rows (list and rows 4 x 13, 75 operations, 11 moves,
 * store, loop), about 290 per group beside that; lists: 4 to 5 per bit.
 */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

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
    .equ ABOVE, 28   /* planes of HIGH in use */
    .equ LOW, 32     /* eight planes, weights 1 to 128 */
    .equ HIGH, 64    /* up to seven planes, weights 256 and more; behind the others */
    .equ FRAME, 92

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

/* r1 = carry of the plane in r2 and the next bit of the addend, which is bit 0 of the complement in
 * r0: with the bit as a mask m, (r2 & m) | (r1 & (r2 ^ m)). */
.macro add_addend
    lsrs r0, r0, #1
    sbcs r3, r3
    eors r3, r2
    bics r2, r3
    ands r1, r3
    orrs r1, r2
.endm

    .section .text.picobnn_rows_add, "ax", %progbits
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
    str r0, [sp, #JOB]
    ldr r1, [r0, #JOB_MEMORY]
    str r1, [sp, #MEMORY]
    ldr r1, [r0, #JOB_WEIGHTS]
    str r1, [sp, #WEIGHTS]
    ldr r1, [r0, #JOB_WORDS]
    str r1, [sp, #WORDS]
    ldr r1, [r0, #JOB_GROUPS]
    str r1, [sp, #GROUPS]
    ldr r1, [r0, #JOB_PLANES]
    subs r1, #9
    str r1, [sp, #ABOVE]
    ldr r1, [r0, #JOB_STARTS]

.Lgroup: /* r0 job, r1 starts */
    str r1, [sp, #STARTS]
    ldr r0, [r0, #JOB_CARRIES]
    mov r12, r0
    adds r1, #4
    ldmia r1!, {r2-r5}
    mov r8, r4
    mov r9, r5
    ldr r4, [sp, #MEMORY]
    b .Lsegment

    .balign 4
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
    bhi .Lrest
    b .Lsixteen
.Lrest:
    movs r4, #64
    add lr, r4
    cmp r0, lr
    beq .Lsegment_done
    add_8 0
    half_adder r9
    mov r6, r12
    stmia r6!, {r5}
    mov r12, r6
.Lsegment_done:
    ldr r4, [sp, #SEGMENT]
.Lsegment: /* r4 segment */
    ldmia r4!, {r5-r7}
    cmp r5, #0
    beq .Lcarries
    str r4, [sp, #SEGMENT]
    ldr r0, [sp, #MEMORY]
    adds r6, r6, r0
    adds r0, r0, r5
    ldr r1, [sp, #WEIGHTS]
    adds r1, r1, r7
    mov lr, r6
    cmp r0, lr
    bhi .Lrest
    b .Lsixteen

.Lcarries: /* Planes of weight 16 to 128 move into the registers, those above into HIGH. */
    add r0, sp, #LOW
    mov r4, r8
    mov r5, r9
    stmia r0!, {r2-r5}
    ldr r1, [sp, #STARTS]
    adds r1, #20
    ldmia r1!, {r2-r5}
    mov r8, r4
    mov r9, r5
    ldr r4, [sp, #ABOVE]
    add r5, sp, #HIGH
    b 2f
1:  ldmia r1!, {r6}
    stmia r5!, {r6}
    subs r4, #1
2:  cmp r4, #0
    bne 1b
    ldr r0, [sp, #JOB]
    ldr r0, [r0, #JOB_CARRIES]
    mov r4, r12
    subs r5, r4, r0
    movs r6, #0
    movs r7, #12
    b 4f
3:  stmia r4!, {r6}
    adds r5, #4
4:  tst r5, r7
    bne 3b
    mov r12, r4
    subs r4, #32
    mov lr, r4
    b .Lcarries_left

.Lfour_carries:
    add_4 1
    half_adder r8
    movs r4, r5
    b .Lhigh

.Leight_carries:
    add_8 1
.Lhigh: /* r4 carry of weight 128 */
    half_adder r9
    ldr r4, [sp, #ABOVE]
    add r1, sp, #HIGH
    b 6f
5:  ldr r6, [r1]
    movs r7, r6
    ands r7, r5
    eors r6, r5
    stmia r1!, {r6}
    movs r5, r7
    subs r4, #1
6:  cmp r4, #0
    bne 5b
.Lcarries_left:
    cmp r0, lr
    bls .Leight_carries
    cmp r0, r12
    bne .Lfour_carries

    /* The sign of the count plus the addend: the carry of each plane, then the last plane. The
     * complement of the addend turns SBC's borrow into a mask. */
    add r0, sp, #LOW + 16
    mov r4, r8
    mov r5, r9
    stmia r0!, {r2-r5}
    ldr r5, [sp, #JOB]
    ldr r0, [r5, #JOB_ADDEND]
    mvns r0, r0
    ldr r4, [sp, #STARTS]
    ldr r2, [r4]
    lsrs r0, r0, #1
    sbcs r1, r1
    ands r1, r2
.irp plane, 0, 1, 2, 3, 4, 5, 6
    ldr r2, [sp, #LOW + 4 * \plane]
    add_addend
.endr
    ldr r2, [sp, #LOW + 28]
    ldr r6, [sp, #ABOVE]
    cmp r6, #0
    beq 8f
    add r4, sp, #HIGH
7:  add_addend
    ldmia r4!, {r2}
    subs r6, #1
    bne 7b
8:  lsrs r0, r0, #1
    sbcs r3, r3
    eors r1, r2
    eors r1, r3

    ldr r2, [r5, #JOB_INVERT]
    eors r1, r2
    ldr r2, [sp, #WORDS]
    stmia r2!, {r1}
    ldr r3, [sp, #GROUPS]
    subs r3, #1
    beq .Ldone
    str r2, [sp, #WORDS]
    str r3, [sp, #GROUPS]
    ldr r2, [r5, #JOB_GROUP_BYTES]
    ldr r3, [sp, #WEIGHTS]
    adds r3, r3, r2
    str r3, [sp, #WEIGHTS]
    ldr r2, [r5, #JOB_PLANES]
    lsls r2, r2, #2
    ldr r1, [sp, #STARTS]
    adds r1, r1, r2
    mov r0, r5
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
    .section .text.picobnn_rows_list, "ax", %progbits
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
