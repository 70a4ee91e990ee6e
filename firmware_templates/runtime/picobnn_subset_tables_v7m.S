/* SPDX-License-Identifier: MIT-0
 * picobnn subset kernel, tables of an image row for v7-M and v8-M Mainline. Contracts stand in
 * picobnn_subset_cores.h.
 *
 * Identity. A tap e holds the bytes of both positions, left + 2^16 * right; the entry of a pattern is
 * the sum of its taps with weight +1 less the others. Patterns follow a Gray code: the one tap whose
 * weight turns adds 2 * e or takes it away. So an entry is one addition, whose shift is free, and
 * one store.
 *
 * Registers: r0 table of the group; r1, r2 bytes of the left and of the right position; r3 the sum;
 * r4 to r8 taps; r9 taps that are left, r12 those of the group; lr bytes from this table to the
 * next; r10, r11 bytes. The flags of the compare of r12 with 4 last from the taps to the entries.
 *
 * Cortex-M4, modelled, zero wait states: 186 cycles for nine taps in groups of four and five, of which
 * 96 are entries; 50 for three taps, of which 16 are. One row of few taps has code of its own, as
 * those of images with one channel are: it saves few registers and no group follows.
 */
#include "picobnn_subset_cores.h"

#if PICOBNN_SUBSET_V7M

    .syntax unified
    .thumb

/* The next entry; `change` is add or sub. */
    .macro entry change, tap, index
    \change\().w r3, r3, \tap, lsl #1
    str     r3, [r0, #4 * (\index)]
    .endm

/* Behind entry `base`, without the first two taps, and behind entry base + 2, with the second one. */
    .macro rise base
    entry   add, r4, \base + 1
    entry   add, r5, \base + 3
    entry   sub, r4, \base + 2
    .endm

    .macro fall base
    entry   add, r4, \base + 3
    entry   sub, r5, \base + 1
    entry   sub, r4, \base
    .endm

/* Entries 0 to 7 from the sum of all taps, which r3 holds. Keeps the flags. */
    .macro eight_entries
    rsb     r3, r3, #0
    str     r3, [r0]
    rise    0
    entry   add, r6, 6
    fall    4
    .endm

/* Loads `count` (register, 1 to 3) taps; r3 becomes their sum. */
    .macro load_few count
    movs    r5, #0
    movs    r6, #0
    ldrb    r4, [r1]
    ldrb    r12, [r2]
    cmp     \count, #2
    orr     r4, r4, r12, lsl #16
    blo     1f
    ldrb    r5, [r1, #1]
    ldrb    r12, [r2, #1]
    orr     r5, r5, r12, lsl #16
    beq     1f
    ldrb    r6, [r1, #2]
    ldrb    r12, [r2, #2]
    orr     r6, r6, r12, lsl #16
1:  adds    r3, r4, r5
    adds    r3, r3, r6
    .endm

    .section .text.picobnn_hot.subset_tables_thin, "ax", %progbits
    .p2align 2
    .global picobnn_subset_tables_thin
    .type   picobnn_subset_tables_thin, %function
    .thumb_func
picobnn_subset_tables_thin: /* table, bytes, lane, taps */
    cmp     r3, #3
    bhi     picobnn_subset_tables_any
    push    {r4-r6, lr}
    add     r2, r2, r1
    load_few r3
    eight_entries
    pop     {r4-r6, pc}
    .size   picobnn_subset_tables_thin, . - picobnn_subset_tables_thin

    .section .text.picobnn_hot.subset_tables, "ax", %progbits
    .p2align 2
    .global picobnn_subset_tables_any
    .type   picobnn_subset_tables_any, %function
    .thumb_func
picobnn_subset_tables_any: /* table, bytes, lane, taps */
    push    {r4-r11, lr}
    mov     lr, #128
    movs    r12, #5
    cmp     r3, #5
    it      lo
    movlo   r12, r3
    b       .Lrow
    .size   picobnn_subset_tables_any, . - picobnn_subset_tables_any

    .global picobnn_subset_tables_wide
    .type   picobnn_subset_tables_wide, %function
    .thumb_func
picobnn_subset_tables_wide: /* table, bytes, lane, taps */
    push    {r4-r11, lr}
    mov     lr, #64
    sub     r12, r3, #5
.Lrow:
    add     r2, r2, r1
    mov     r9, r3
.Lgroup:
    cmp     r12, #4
    blo     .Lfew
    ldrb    r4, [r1]
    ldrb    r5, [r1, #1]
    ldrb    r6, [r1, #2]
    ldrb    r7, [r1, #3]
    ldrb    r8, [r2]
    ldrb    r10, [r2, #1]
    ldrb    r11, [r2, #2]
    ldrb    r3, [r2, #3]
    orr     r4, r4, r8, lsl #16
    orr     r5, r5, r10, lsl #16
    orr     r6, r6, r11, lsl #16
    orr     r7, r7, r3, lsl #16
    add     r3, r4, r5
    add     r10, r6, r7
    add     r3, r3, r10
    beq     .Lwrite
    ldrb    r8, [r1, #4]
    ldrb    r10, [r2, #4]
    orr     r8, r8, r10, lsl #16
    add     r3, r3, r8
.Lwrite:
    eight_entries
    blo     .Ldone
    entry   add, r7, 12
    rise    12
    entry   sub, r6, 10
    fall    8
    beq     .Ldone
    entry   add, r8, 24
    rise    24
    entry   add, r6, 30
    fall    28
    entry   sub, r7, 20
    rise    20
    entry   sub, r6, 18
    fall    16
.Ldone:
    subs    r9, r9, r12
    beq     .Lreturn
    add     r0, r0, lr
    add     r1, r1, r12
    add     r2, r2, r12
    cmp     r9, #5
    ite     lo
    movlo   r12, r9
    movhs   r12, #5
    b       .Lgroup
.Lfew:
    mov     r7, r12
    load_few r7
    mov     r12, r7
    cmp     r12, #4
    b       .Lwrite
.Lreturn:
    pop     {r4-r11, pc}
    .size   picobnn_subset_tables_wide, . - picobnn_subset_tables_wide

#endif
