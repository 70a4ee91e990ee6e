# SPDX-License-Identifier: Apache-2.0
"""The executors of a program: bit-sliced Cython with threads, and numpy; one interface for both.

Invariant: both return the same integers for every verified program and every batch. ``best_executor`` is what callers
use; it says so when it has to take numpy. ``PICOBNN_PURE=1`` in the environment forces numpy.
"""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import Program, verify_program
from picobnn.codegen.vocabulary import ElementKind
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.bitslice import step_tables
from picobnn.sim.bitslice_sums import Int64s
from picobnn.sim.images import Images, check_images
from picobnn.sim.reference import StepOutput, run_program

ALIGNMENT = 64


class Simd(Enum):
    """Which vector instructions the bit-sliced executor uses."""

    AUTO = "auto"
    PORTABLE = "portable"
    AVX2 = "avx2"


class Executor(Protocol):
    """What runs a program on a batch of images."""

    def run(self, images: Images) -> npt.NDArray[np.int32]:
        """int32 (N, elements of the last output): logits, or bits as 0/1. Raises BAD_INPUT for a wrong batch."""

    def run_steps(self, images: Images) -> list[StepOutput]:
        """Every step's output, as :func:`picobnn.sim.reference.run_program` gives them. Raises BAD_INPUT."""


class NumpyExecutor:
    """The reference behind the executors' interface."""

    def __init__(self, program: Program) -> None:
        verify_program(program)
        self.program = program

    def run(self, images: Images) -> npt.NDArray[np.int32]:
        last = self.run_steps(images)[-1]
        return last.reshape(len(last), self.program.output.shape.elements).astype(np.int32)

    def run_steps(self, images: Images) -> list[StepOutput]:
        return run_program(self.program, images)


class CythonExecutor:
    """The bit-sliced executor: one lane per image, blocks of lanes spread over threads.

    Memory is bounded: each thread holds the maps of one block (128 or 256 images as bits), whatever the batch.

    Args:
        program: verified here.
        threads: blocks in flight, at least 1.
        simd: AUTO takes AVX2 where the processor has it.

    Raises:
        PicobnnError: EXTRA_MISSING when the extension is not built or AVX2 is asked for and absent; USAGE for a
            thread count below 1; what ``verify_program`` raises.
    """

    def __init__(self, program: Program, threads: int = 2, simd: Simd = Simd.AUTO) -> None:
        if threads < 1:
            raise PicobnnError(ErrorId.USAGE, f"{threads} threads.", where="executor", remedy="Use at least 1.")
        verify_program(program)
        extension = _require_extension()
        avx2: bool = extension.has_avx2()
        if simd is Simd.AVX2 and not avx2:
            raise PicobnnError(
                ErrorId.EXTRA_MISSING, "this processor or build has no AVX2.", where="executor", remedy="Use Simd.AUTO."
            )
        avx2 = avx2 and simd is not Simd.PORTABLE
        self.program = program
        self.simd = Simd.AVX2 if avx2 else Simd.PORTABLE
        self.lanes: int = extension.lanes(avx2)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="picobnn-sim")
        vector_bytes = self.lanes // 8
        tables = [step_tables(program, step, vector_bytes) for step in program.steps]
        vectors, offsets, end = _place_maps(program, vector_bytes)
        scratch = max(table.scratch_vectors for table in tables) * vector_bytes
        image_bytes = program.input.shape.elements
        self._kernel = extension.Kernel(
            tables, offsets, vectors, end, end + scratch, program.input_zero_point, image_bytes, avx2
        )
        self._workspaces = [self._kernel.workspace() for _ in range(threads)]

    def run(self, images: Images) -> npt.NDArray[np.int32]:
        """int32 (N, elements of the last output): logits, or bits as 0/1. Raises BAD_INPUT for a wrong batch."""
        return self._run(images, every_step=False)[-1].astype(np.int32, copy=False)

    def run_steps(self, images: Images) -> list[StepOutput]:
        """Every step's output: uint8 0/1 or int32, (N, H, W, O). Raises BAD_INPUT for a wrong batch."""
        shapes = [self.program.tensors[step.output].shape for step in self.program.steps]
        outputs = self._run(images, every_step=True)
        return [
            output.reshape(len(output), shape.height, shape.width, shape.channels)
            for output, shape in zip(outputs, shapes, strict=True)
        ]

    def _run(self, images: Images, *, every_step: bool) -> list[StepOutput]:
        """(N, elements) of every step asked for: all, or the last."""
        checked = check_images(self.program, images)
        count = len(checked)
        outputs: list[StepOutput | None] = []
        for step in self.program.steps:
            tensor = self.program.tensors[step.output]
            extent = (count, tensor.shape.elements)
            if not every_step and step is not self.program.steps[-1]:
                outputs.append(None)
            elif tensor.kind is ElementKind.INT32:
                outputs.append(np.empty(extent, np.int32))
            else:
                outputs.append(np.empty(extent, np.uint8))
        flat = checked.reshape(count, self.program.input.shape.elements)

        def run_block(start: int) -> None:
            stop = min(start + self.lanes, count)
            workspace = self._workspaces.pop()
            try:
                parts = [None if output is None else output[start:stop] for output in outputs]
                self._kernel.run(flat[start:stop], workspace, parts)
            finally:
                self._workspaces.append(workspace)

        for future in [self._pool.submit(run_block, start) for start in range(0, count, self.lanes)]:
            future.result()
        return [output for output in outputs if output is not None]


def best_executor(program: Program, threads: int = 2) -> Executor:
    """The bit-sliced executor; numpy with one warning when it is not built, and silently under ``PICOBNN_PURE=1``."""
    if os.environ.get("PICOBNN_PURE", "0") not in ("", "0"):
        return NumpyExecutor(program)
    if _extension() is None:
        warnings.warn(_NOT_BUILT, RuntimeWarning, stacklevel=2)
        return NumpyExecutor(program)
    return CythonExecutor(program, threads)


_NOT_BUILT = "picobnn's fast simulator is not built: running the numpy reference, which is far slower."


def _extension() -> ModuleType | None:
    try:
        from picobnn.sim import _bitslice  # the build may have gone without a C compiler
    except ImportError:
        return None
    module: ModuleType = _bitslice
    return module


def _require_extension() -> ModuleType:
    module = _extension()
    if module is None:
        raise PicobnnError(
            ErrorId.EXTRA_MISSING,
            "the Cython extension picobnn.sim._bitslice is not built.",
            where="executor",
            remedy="Install a C compiler and the Python headers, then reinstall picobnn; or use best_executor.",
        )
    return module


def _place_maps(program: Program, vector_bytes: int) -> tuple[Int64s, Int64s, int]:
    """Vectors and byte offset of every tensor's map, and where they end. A map ends with one vector of zeros."""
    vectors, offsets, end = [], [], 0
    for tensor in program.tensors:
        per_element = {ElementKind.UINT8: 8, ElementKind.BIT: 1, ElementKind.INT32: 0}[tensor.kind]
        vectors.append(tensor.shape.elements * per_element)
        offsets.append(end)
        end += (vectors[-1] + 1) * vector_bytes
        end += -end % ALIGNMENT
    return np.array(vectors, np.int64), np.array(offsets, np.int64), end
