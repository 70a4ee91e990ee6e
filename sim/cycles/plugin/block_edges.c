/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU plugin: how often every translation block ran, and where it went next.
 *
 *   -plugin block_edges.so,out=FILE[,mark=FUNCTION][,handler=FUNCTION][,flash=ORIGIN:BYTES:LINE]
 *
 * Each time the guest enters FUNCTION (default picobnn_harness_mark) the counts since the last time
 * are written and set to zero; what follows the last mark is written when QEMU ends. The file:
 *
 *   picobnn-edges 1
 *   mark N                               ends the counts of segment N, or
 *   end                                  those after the last mark
 *   block START END INSTRUCTIONS COUNT   hexadecimal addresses, END is the one behind the block
 *   reads COUNT                          of the block above: data read from another line of flash
 *   edge SUCCESSOR COUNT                 of the block above
 *
 * With flash= (hexadecimal; LINE is the bytes of a line, a power of two) reads of data are watched:
 * one counts when its line is not the one at hand, which is the line of the reading instruction or
 * what the same instruction has just read; for an instruction outside the flash, what was read last
 * since code ran in flash.
 *
 * block and edge lines stand before the mark or end line that closes them. Which edges fall
 * through and which are taken is decided by the reader, who knows the instructions.
 *
 * The emulator's timer interrupts wherever the host's clock wants it. So the handler (default
 * picobnn_harness_systick_handler, which must call nothing) leaves no trace in what it interrupts:
 * its blocks are counted as its own, the edge goes from the block before it to the one behind, and
 * the line at hand is what it was. Other exceptions show as edges that no branch explains.
 *
 * Callbacks run under QEMU's translation lock or on the one emulated core, so nothing here is
 * locked.
 */
#include "qemu_plugin_abi.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HASH_SIZE = 1 << 14, NAME_SIZE = 128, PATH_SIZE = 4096 };

struct edge {
    uint32_t successor;
    uint64_t count;
    struct edge *next;
};

struct block {
    uint32_t start;
    uint32_t end;
    uint32_t instructions;
    uint64_t count;
    uint64_t line_reads;
    struct edge *edges;         /* the last one used comes first */
    struct block *next;         /* in its hash chain */
    struct block *next_touched; /* in the list of this segment */
    bool touched;
    bool in_handler;
};

/* An instruction that may read. `line` is that of its last byte, NO_LINE outside the flash. */
struct reader {
    struct block *block;
    uint32_t line;
};

static const uint32_t NO_LINE = UINT32_MAX;

PLUGIN_EXPORT int qemu_plugin_version = PLUGIN_INTERFACE_VERSION;

static struct block *blocks[HASH_SIZE];
static struct block *touched;
static struct block *previous;
static bool handling;             /* the handler runs */
static struct block *interrupted; /* what ran before it */
static uint32_t interrupted_line;
static char handler_name[NAME_SIZE] = "picobnn_harness_systick_handler";
static char mark_name[NAME_SIZE] = "picobnn_harness_mark";
static char out_path[PATH_SIZE];
static uint32_t mark_entry; /* address of the first instruction of mark_name, once seen */
static bool mark_seen;
static unsigned int marks;
static FILE *out;
static uint32_t flash_origin;
static uint32_t flash_bytes; /* 0: not watched */
static uint32_t line_bytes = 1;
static uint32_t line_at_hand = UINT32_MAX; /* as far as data is concerned */
static const struct reader *last_reader;
static uint64_t executions; /* of blocks: tells two executions of one instruction apart */
static uint64_t last_execution;

static void die(const char *what)
{
    fprintf(stderr, "block_edges: %s\n", what);
    exit(EXIT_FAILURE);
}

static void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (memory == NULL) {
        die("out of memory");
    }
    return memory;
}

static void touch(struct block *block)
{
    if (!block->touched) {
        block->touched = true;
        block->next_touched = touched;
        touched = block;
    }
}

static void count_edge(struct block *from, uint32_t successor)
{
    struct edge **link = &from->edges;
    struct edge *edge;

    while (*link != NULL && (*link)->successor != successor) {
        link = &(*link)->next;
    }
    edge = *link;
    if (edge == NULL) {
        edge = allocate(sizeof *edge);
        edge->successor = successor;
    } else {
        *link = edge->next;
    }
    edge->next = from->edges;
    from->edges = edge;
    edge->count++;
    touch(from);
}

static uint32_t flash_line(uint32_t address)
{
    return address - flash_origin < flash_bytes ? address / line_bytes : NO_LINE;
}

/* Entering the handler puts aside what it interrupts; the next block outside takes it up again. */
static void follow_interrupts(const struct block *block)
{
    if (block->in_handler == handling) {
        return;
    }
    handling = block->in_handler;
    if (handling) {
        interrupted = previous;
        interrupted_line = line_at_hand;
        previous = NULL;
    } else {
        previous = interrupted;
        line_at_hand = interrupted_line;
    }
}

static void on_block(unsigned int vcpu, void *data)
{
    struct block *block = data;

    if (vcpu != 0) {
        return;
    }
    follow_interrupts(block);
    if (previous != NULL) {
        if (previous->edges != NULL && previous->edges->successor == block->start) {
            previous->edges->count++;
            touch(previous);
        } else {
            count_edge(previous, block->start);
        }
    }
    block->count++;
    touch(block);
    previous = block;
    executions++;
    if (flash_bytes != 0u && flash_line(block->start) != NO_LINE) {
        line_at_hand = NO_LINE;
    }
}

static void on_read(unsigned int vcpu, uint32_t what, uint64_t address, void *data)
{
    const struct reader *reader = data;
    uint32_t line = flash_line((uint32_t)address);

    if (vcpu != 0 || line == NO_LINE || qemu_plugin_mem_is_store(what)) {
        return;
    }
    if (reader->line != NO_LINE && (reader != last_reader || last_execution != executions)) {
        line_at_hand = reader->line;
    }
    if (line != line_at_hand) {
        reader->block->line_reads++;
        touch(reader->block);
    }
    line_at_hand = line;
    last_reader = reader;
    last_execution = executions;
}

static int by_address(const void *left, const void *right)
{
    const struct block *a = *(struct block *const *)left;
    const struct block *b = *(struct block *const *)right;

    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    return a->end < b->end ? -1 : a->end > b->end;
}

static int by_successor(const void *left, const void *right)
{
    const struct edge *a = *(struct edge *const *)left;
    const struct edge *b = *(struct edge *const *)right;

    return a->successor < b->successor ? -1 : a->successor > b->successor;
}

/* Edges are printed in address order, so that equal runs give equal files. */
static void write_edges(const struct block *block)
{
    struct edge **sorted;
    struct edge *edge;
    size_t count = 0;
    size_t i = 0;

    for (edge = block->edges; edge != NULL; edge = edge->next) {
        count++;
    }
    sorted = allocate((count + 1) * sizeof *sorted);
    for (edge = block->edges; edge != NULL; edge = edge->next) {
        sorted[i++] = edge;
    }
    qsort(sorted, count, sizeof *sorted, by_successor);
    for (i = 0; i < count; i++) {
        if (sorted[i]->count != 0) {
            fprintf(out, "edge %08" PRIx32 " %" PRIu64 "\n", sorted[i]->successor,
                    sorted[i]->count);
            sorted[i]->count = 0;
        }
    }
    free(sorted);
}

static void write_segment(void)
{
    struct block **sorted;
    struct block *block;
    size_t count = 0;
    size_t i = 0;

    for (block = touched; block != NULL; block = block->next_touched) {
        count++;
    }
    sorted = allocate((count + 1) * sizeof *sorted);
    for (block = touched; block != NULL; block = block->next_touched) {
        sorted[i++] = block;
    }
    qsort(sorted, count, sizeof *sorted, by_address);
    for (i = 0; i < count; i++) {
        block = sorted[i];
        fprintf(out, "block %08" PRIx32 " %08" PRIx32 " %" PRIu32 " %" PRIu64 "\n", block->start,
                block->end, block->instructions, block->count);
        if (block->line_reads != 0) {
            fprintf(out, "reads %" PRIu64 "\n", block->line_reads);
        }
        write_edges(block);
        block->count = 0;
        block->line_reads = 0;
        block->touched = false;
    }
    touched = NULL;
    free(sorted);
}

static void on_mark(unsigned int vcpu, void *data)
{
    (void)data;
    if (vcpu != 0) {
        return;
    }
    write_segment();
    fprintf(out, "mark %u\n", marks++);
    fflush(out); /* the emulator may be killed at any time after this */
}

static void on_exit_qemu(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    write_segment();
    fputs("end\n", out);
    fclose(out);
}

/* Blocks are kept by address and length: QEMU may translate the same code again after it flushed
 * its cache. */
static struct block *find_block(uint32_t start, uint32_t end, uint32_t instructions,
                                bool in_handler)
{
    struct block **head = &blocks[(start >> 1) % HASH_SIZE];
    struct block *block;

    for (block = *head; block != NULL; block = block->next) {
        if (block->start == start && block->end == end) {
            return block;
        }
    }
    block = allocate(sizeof *block);
    block->start = start;
    block->end = end;
    block->instructions = instructions;
    block->in_handler = in_handler;
    block->next = *head;
    *head = block;
    return block;
}

static bool is_in(const struct qemu_plugin_insn *instruction, const char *function)
{
    const char *symbol = qemu_plugin_insn_symbol(instruction);

    return symbol != NULL && strcmp(symbol, function) == 0;
}

static void watch_mark(struct qemu_plugin_insn *instruction)
{
    uint32_t address = (uint32_t)qemu_plugin_insn_vaddr(instruction);

    if (!is_in(instruction, mark_name)) {
        return;
    }
    if (!mark_seen) { /* a function is first seen where it is entered */
        mark_seen = true;
        mark_entry = address;
    }
    if (address == mark_entry) {
        qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_mark, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
}

/* Bytes of a Thumb instruction, from its first halfword. QEMU's own size is too large for the last
 * instruction of a page: it has looked one halfword ahead and counts that too. */
static uint32_t thumb_size(const struct qemu_plugin_insn *instruction)
{
    const uint8_t *bytes = qemu_plugin_insn_data(instruction);

    return bytes[1] >> 3 >= 0x1D ? 4u : 2u;
}

/* Asks for stores too: QEMU 7.2 takes a request for loads alone for one for stores. */
static void watch_reads(struct qemu_plugin_tb *tb, struct block *block)
{
    size_t count = qemu_plugin_tb_n_insns(tb);
    size_t i;

    for (i = 0; i < count; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, i);
        uint32_t end = (uint32_t)qemu_plugin_insn_vaddr(instruction) + thumb_size(instruction);
        struct reader *reader = allocate(sizeof *reader);

        reader->block = block;
        reader->line = flash_line(end - 1u);
        qemu_plugin_register_vcpu_mem_cb(instruction, on_read, QEMU_PLUGIN_CB_NO_REGS,
                                         QEMU_PLUGIN_MEM_RW, reader);
    }
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);
    struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(tb, 0);
    struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, count - 1);
    uint32_t start = (uint32_t)qemu_plugin_insn_vaddr(first);
    uint32_t end = (uint32_t)qemu_plugin_insn_vaddr(last) + thumb_size(last);
    struct block *block = find_block(start, end, (uint32_t)count, is_in(first, handler_name));

    (void)id;
    watch_mark(first);
    if (flash_bytes != 0u) {
        watch_reads(tb, block);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
}

static bool read_argument(const char *argument, const char *key, char *value, size_t size)
{
    size_t length = strlen(key);

    if (strncmp(argument, key, length) != 0) {
        return false;
    }
    if (strlen(argument + length) >= size) {
        die("argument too long");
    }
    strcpy(value, argument + length);
    return true;
}

static bool read_flash(const char *argument)
{
    return sscanf(argument, "flash=%" SCNx32 ":%" SCNx32 ":%" SCNx32, &flash_origin, &flash_bytes,
                  &line_bytes) == 3 &&
           line_bytes != 0u;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    int i;

    if (info->version.min > PLUGIN_INTERFACE_VERSION ||
        info->version.cur < PLUGIN_INTERFACE_VERSION) {
        fprintf(stderr, "block_edges: speaks plugin interface %d, this QEMU %d to %d\n",
                PLUGIN_INTERFACE_VERSION, info->version.min, info->version.cur);
        return 1;
    }
    if (!info->system_emulation || strcmp(info->target_name, "arm") != 0) {
        fprintf(stderr, "block_edges: counts qemu-system-arm only, not %s\n", info->target_name);
        return 1;
    }
    for (i = 0; i < argc; i++) {
        if (!read_argument(argv[i], "out=", out_path, sizeof out_path) &&
            !read_argument(argv[i], "mark=", mark_name, sizeof mark_name) &&
            !read_argument(argv[i], "handler=", handler_name, sizeof handler_name) &&
            !read_flash(argv[i])) {
            fprintf(stderr, "block_edges: unknown argument %s\n", argv[i]);
            return 1;
        }
    }
    out = fopen(out_path, "w");
    if (out == NULL) {
        fprintf(stderr, "block_edges: cannot write out=%s\n", out_path);
        return 1;
    }
    fputs("picobnn-edges 1\n", out);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_qemu, NULL);
    return 0;
}
