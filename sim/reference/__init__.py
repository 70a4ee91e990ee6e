# SPDX-License-Identifier: Apache-2.0
"""The numpy executor: the living definition of every integer step, one file per op.

Everything else that runs a program (Cython, generated C, emulator, board) must equal this, step by step. Readable
first: batches go through in chunks, without any packing or trick. Called by ``picobnn verify`` and by the tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, verify_program
from picobnn.sim.images import check_images
from picobnn.sim.reference.binary_conv2d import run_binary_conv2d
from picobnn.sim.reference.binary_dense import run_binary_dense
from picobnn.sim.reference.input_conv2d import run_input_conv2d

StepOutput = npt.NDArray[np.uint8] | npt.NDArray[np.int32]

__all__ = ["StepOutput", "run_program", "run_step"]


def run_program(program: Program, images: npt.NDArray[np.uint8]) -> list[StepOutput]:
    """Run a batch of images; the output of every step, in step order.

    Args:
        program: verified here.
        images: uint8 (N, H, W, C), values 0 to 255.

    Returns:
        Per step bits as uint8 0/1 (N, H, W, O), or int32 (N, H, W, O) after a scale; dense outputs are (N, 1, 1, O).

    Raises:
        PicobnnError: ``BAD_INPUT`` when the batch is not of the input's type and shape; what ``verify_program`` raises.
    """
    verify_program(program)
    values: dict[int, StepOutput] = {0: check_images(program, images)}
    for step in program.steps:
        values[step.output] = run_step(program, step, values[step.input])
    return [values[step.output] for step in program.steps]


def run_step(program: Program, step: Step, value: npt.NDArray[np.generic]) -> StepOutput:
    """One step on a batch (N, H, W, C) of its input tensor. The step need not be the next one: any input will do."""
    chunk = _images_per_chunk(program, step)
    starts: Sequence[int] = range(0, max(len(value), 1), chunk)
    return np.concatenate([_run_chunk(program, step, value[start : start + chunk]) for start in starts])


def _run_chunk(program: Program, step: Step, value: npt.NDArray[np.generic]) -> StepOutput:
    match step:
        case InputConv2dStep():
            return run_input_conv2d(step, np.asarray(value, np.uint8), program.input_zero_point)
        case BinaryConv2dStep():
            return run_binary_conv2d(step, np.asarray(value, np.uint8))
        case BinaryDenseStep():
            return run_binary_dense(step, np.asarray(value, np.uint8))


def _images_per_chunk(program: Program, step: Step) -> int:
    """Images whose unfolded windows take about 4 MiB as float64: more leaves the cache and is slower."""
    fan_in = step.weights.size // len(step.weights)
    positions = 1
    if not isinstance(step, BinaryDenseStep):
        shape = program.tensors[step.input].shape
        rows, columns = step.window.output_size(shape.height, shape.width)
        positions = rows * columns
    return max(1, (1 << 19) // (positions * max(fan_in, len(step.weights))))
