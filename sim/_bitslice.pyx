# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: Apache-2.0
"""Runs the tables of ``bitslice.py`` through the C kernels of ``_bitslice.h``, one block of images at a time.

Invariant: every array a table points into is kept alive by the ``Kernel``; a ``Workspace`` serves one thread at a time.
``Kernel.run`` releases the GIL for the whole block. Called by ``executor.py`` only, with tables of a verified program.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free

cdef extern from "_bitslice.h" nogil:
    ctypedef struct bitslice_window:
        int32_t height, width, stride_y, stride_x, pad_top, pad_left, in_height, in_width, rows, columns
    ctypedef struct bitslice_step:
        int32_t is_input, is_scaled, is_pooled, pools_bits, input, output, in_channels, out_channels, taps
        bitslice_window window, pool
        int32_t counter_bits, shift, multiplied, sum_bits, complemented, total_lists, group, column_classes
        uint32_t ratio_size
        const int32_t *total_of
        const int32_t *row_class
        const int32_t *column_class
        const uint32_t *offsets
        const uint32_t *starts
        const uint64_t *initial
        const uint64_t *initial_total
        const uint64_t *flip
        const int64_t *constant
        const int32_t *multiplier
        const int32_t *bias
        int64_t gain, total_gain
    ctypedef struct bitslice_program:
        int32_t step_count, zero_point
        int64_t image_bytes
        const bitslice_step *steps
        const int64_t *map_offsets
        const int64_t *map_vectors
        int64_t scratch_offset
    int BITSLICE_HAS_AVX2, BITSLICE_MOST_BITS
    int bitslice_lanes_portable, bitslice_lanes_avx2
    int bitslice_cpu_has_avx2()
    void bitslice_run_portable(const bitslice_program *, const uint8_t *, int64_t, char *, void **)
    void bitslice_run_avx2(const bitslice_program *, const uint8_t *, int64_t, char *, void **)


def has_avx2() -> bool:
    """Whether this build has the AVX2 path and this processor runs it."""
    return bool(BITSLICE_HAS_AVX2) and bool(bitslice_cpu_has_avx2())


def lanes(bint avx2) -> int:
    """Images per vector of a path."""
    return bitslice_lanes_avx2 if avx2 else bitslice_lanes_portable


cdef class Workspace:
    """Memory of one block in flight: maps and scratch, 64-aligned, and the pointers to the outputs."""

    cdef char *base
    cdef char *aligned
    cdef void **outputs

    def __cinit__(self, int64_t size_bytes, int step_count):
        self.base = <char *> calloc(size_bytes + 64, 1)
        self.outputs = <void **> calloc(step_count, sizeof(void *))
        if self.base == NULL or self.outputs == NULL:
            raise MemoryError(f"no {size_bytes} bytes for a block of images")
        self.aligned = self.base + (64 - <uintptr_t> self.base % 64) % 64

    def __dealloc__(self):
        free(self.base)
        free(self.outputs)


cdef class Kernel:
    """A program ready to run on one vector width."""

    cdef bitslice_program program
    cdef bitslice_step *steps
    cdef int64_t[::1] map_offsets, map_vectors
    cdef list kept
    cdef bint avx2
    cdef int64_t size_bytes

    def __cinit__(
        self, list tables, int64_t[::1] map_offsets, int64_t[::1] map_vectors, int64_t scratch_offset,
        int64_t size_bytes, int zero_point, int64_t image_bytes, bint avx2,
    ):
        self.steps = <bitslice_step *> calloc(len(tables), sizeof(bitslice_step))
        if self.steps == NULL:
            raise MemoryError("no memory for the steps")
        self.kept = []
        self.map_offsets, self.map_vectors = map_offsets, map_vectors
        self.size_bytes, self.avx2 = size_bytes, avx2
        for index, table in enumerate(tables):
            self.fill(&self.steps[index], table)
        self.program.step_count = len(tables)
        self.program.zero_point = zero_point
        self.program.image_bytes = image_bytes
        self.program.steps = self.steps
        self.program.map_offsets = &self.map_offsets[0]
        self.program.map_vectors = &self.map_vectors[0]
        self.program.scratch_offset = scratch_offset

    def __dealloc__(self):
        free(self.steps)

    cdef int fill(self, bitslice_step *step, table) except -1:
        cdef const int32_t[::1] row_class = table.row_class, column_class = table.column_class
        cdef const int32_t[::1] total_of = table.total_of
        cdef const int32_t[::1] multiplier = table.multiplier, bias = table.bias
        cdef const uint32_t[::1] offsets = table.offsets, starts = table.starts
        cdef const uint64_t[:, :, ::1] initial = table.initial
        cdef const uint64_t[::1] initial_total = table.initial_total, flip = table.flip
        cdef const int64_t[:, ::1] constant = table.constant
        self.kept.extend(
            [row_class, column_class, total_of, multiplier, bias, offsets, starts, initial, initial_total, flip,
             constant]
        )
        if max(table.counter_bits + table.shift, table.sum_bits) > BITSLICE_MOST_BITS:
            raise OverflowError(f"a counter of {table.counter_bits + table.shift} bits")
        step.is_input, step.is_scaled = table.is_input, table.is_scaled
        step.is_pooled, step.pools_bits = table.is_pooled, table.pools_bits
        step.input, step.output = table.input, table.output
        step.in_channels, step.out_channels, step.taps = table.in_channels, table.out_channels, table.taps
        fill_window(&step.window, table.window)
        fill_window(&step.pool, table.pool)
        step.counter_bits, step.group, step.column_classes = table.counter_bits, table.group, table.column_classes
        step.shift, step.multiplied, step.sum_bits = table.shift, table.multiplied, table.sum_bits
        step.ratio_size, step.complemented = table.ratio_size, table.complemented
        step.total_lists, step.total_of = table.total_lists, &total_of[0]
        step.row_class, step.column_class = &row_class[0], &column_class[0]
        step.multiplier, step.bias = &multiplier[0], &bias[0]
        step.offsets, step.starts = &offsets[0], &starts[0]
        step.initial, step.initial_total, step.flip = &initial[0, 0, 0], &initial_total[0], &flip[0]
        step.constant = &constant[0, 0]
        step.gain, step.total_gain = table.gain, table.total_gain
        return 0

    def workspace(self) -> Workspace:
        """Memory for one thread."""
        return Workspace(self.size_bytes, self.program.step_count)

    def run(self, const uint8_t[:, ::1] images, Workspace workspace not None, list outputs) -> None:
        """One block of images (at most ``lanes``, bytes). outputs: per step a uint8 or int32 (N, elements) or None."""
        cdef const uint8_t *first = &images[0, 0]
        cdef int64_t count = images.shape[0]
        cdef uint8_t[:, ::1] bits
        cdef int32_t[:, ::1] integers
        for index, output in enumerate(outputs):
            workspace.outputs[index] = NULL
            if output is not None and self.steps[index].is_scaled:
                integers = output
                workspace.outputs[index] = &integers[0, 0]
            elif output is not None:
                bits = output
                workspace.outputs[index] = &bits[0, 0]
        with nogil:
            if self.avx2:
                bitslice_run_avx2(&self.program, first, count, workspace.aligned, workspace.outputs)
            else:
                bitslice_run_portable(&self.program, first, count, workspace.aligned, workspace.outputs)


cdef int fill_window(bitslice_window *window, tuple sizes) except -1:
    (
        window.height, window.width, window.stride_y, window.stride_x, window.pad_top, window.pad_left,
        window.in_height, window.in_width, window.rows, window.columns,
    ) = sizes
    return 0
