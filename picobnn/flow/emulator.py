# SPDX-License-Identifier: Apache-2.0
"""The firmware on an emulated board, or behind a port, compared step by step with the reference.

Every image's layer trace carries the CRC-32 of every step's output as stored; the reference is packed into the
plan's layouts and must give the same. The first difference is then read back and named with both values.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from picobnn.flow.compare import Difference, ExecutorResult, StepOutputs
from picobnn.flow.image import Image

if TYPE_CHECKING:
    from picobnn.codegen.program import Program
    from picobnn.harness.session import Session


def compare_on_emulator(
    image: Image, program: Program, images: npt.NDArray[np.uint8], expected: StepOutputs
) -> ExecutorResult:
    """Run ``images`` on the emulator of the image's board. ``expected``: every step's output of the reference.

    Raises E_MODEL_MISMATCH when the firmware was built from another program, E_EMULATOR_FAILED, and what a session
    raises.
    """
    from picobnn.codegen.bnn_file import model_hash
    from picobnn.harness.emulated import flash_emulated

    with flash_emulated(image.board, image.built.elf, model_hash=model_hash(program)) as session:
        return _compare(f"emulator:{image.board.id}", session, program, images, expected)


def compare_on_device(
    url: str, program: Program, images: npt.NDArray[np.uint8], expected: StepOutputs
) -> ExecutorResult:
    """The same with firmware that runs already, behind the serial port ``url`` (any pyserial URL)."""
    from picobnn.codegen.bnn_file import model_hash
    from picobnn.harness.emulated import confirm_model
    from picobnn.harness.session import Session

    with Session.open(url) as session:
        confirm_model(session, model_hash(program))
        return _compare(f"device:{url}", session, program, images, expected)


def _compare(
    name: str, session: Session, program: Program, images: npt.NDArray[np.uint8], expected: StepOutputs
) -> ExecutorResult:
    from picobnn.codegen.pack import load_tensor, store_tensor
    from picobnn.codegen.plan import Layout
    from picobnn.harness.protocol import InfoKind
    from picobnn.harness.vectors import StepDifference, find_difference

    stored_as = {layout.name: layout for layout in Layout}
    layouts = [stored_as[session.info(InfoKind.STEP, step).layout.name] for step in range(session.hello.step_count)]
    wrong = 0
    first: Difference | None = None

    def difference(number: int, found: StepDifference) -> Difference:
        step = program.steps[found.step]
        shape = program.tensors[step.output].shape
        actual = load_tensor(found.actual, shape, layouts[found.step])
        unequal = np.argwhere(expected[found.step][number] != actual)
        # A difference in padding bits alone has no element: it is reported at the first one.
        y, x, channel = (int(axis) for axis in (unequal[0] if len(unequal) else (0, 0, 0)))
        want, have = int(expected[found.step][number][y, x, channel]), int(actual[y, x, channel])
        return Difference(name, number, found.step, step.name, step.source, (y, x, channel), want, have)

    began = time.perf_counter()
    for number, picture in enumerate(images):
        stored = [store_tensor(output[number], layout) for output, layout in zip(expected, layouts, strict=True)]
        found = find_difference(session, picture.tobytes(), stored)
        if found is not None:
            wrong += 1
            first = first or difference(number, found)
    return ExecutorResult(name, len(images), wrong, first, time.perf_counter() - began)
