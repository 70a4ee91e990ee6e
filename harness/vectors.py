# SPDX-License-Identifier: Apache-2.0
"""Runs images through a device and finds the first wrong value.

Results are the bytes that the device holds; comparing is equality, never a tolerance. An image whose requests were
sent ahead and not all answered is done again, request by request.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from picobnn.errors import ErrorId, PicobnnError
from picobnn.harness.protocol import InfoKind, LayerRow, TensorId, TensorInfo, message_struct
from picobnn.harness.session import Session

_RUN_S = 60.0


@dataclass(frozen=True, slots=True)
class StepDifference:
    """The first step whose output differs, the offset of its first wrong byte, and both outputs as stored."""

    step: int
    offset_bytes: int
    expected: bytes
    actual: bytes


def run_image(session: Session, image: bytes, *, timeout_s: float = _RUN_S) -> bytes:
    """The result of one image as the device stores it (for logits: little-endian int32)."""
    result = session.info(InfoKind.TENSOR, TensorId.LOGITS)
    return _run_image(session, image, result, timeout_s)


def _run_image(session: Session, image: bytes, result: TensorInfo, timeout_s: float) -> bytes:
    read_most = session.hello.max_payload - message_struct("read_reply").size
    if result.size_bytes <= read_most:
        read = session.read_request(TensorId.LOGITS, 0, result.size_bytes)
        requests = [*session.upload_requests(image), session.run_request(), read]
        answers = session.send_ahead(requests, budget_s=timeout_s)
        if answers is not None:
            return session.read_bytes(answers[-1])
    session.upload(image)
    session.run(timeout_s=timeout_s)
    return session.read(TensorId.LOGITS, result.size_bytes)


def run_images(
    session: Session,
    images: npt.NDArray[np.uint8],
    *,
    timeout_s: float = _RUN_S,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.int32]:
    """The results of ``images``, uint8 (N, H, W, C), as int32 (N, words as stored): for logits (N, classes).

    ``timeout_s`` bounds one run of the model; ``progress`` is told (done, N). Raises what Session raises.
    """
    result = session.info(InfoKind.TENSOR, TensorId.LOGITS)
    check_image_size(session, images[0].size if len(images) else 0, len(images))
    rows = np.zeros((len(images), result.size_bytes // 4), dtype=np.int32)
    for number, image in enumerate(images):
        rows[number] = np.frombuffer(_run_image(session, image.tobytes(), result, timeout_s), dtype="<i4")
        if progress is not None:
            progress(number + 1, len(images))
    return rows


def check_image_size(session: Session, size_bytes: int, count: int = 1) -> None:
    """Raises E_BAD_INPUT when images of ``size_bytes`` do not fit the model in the device."""
    wanted = session.info(InfoKind.TENSOR, TensorId.IMAGE).size_bytes
    if count and size_bytes != wanted:
        raise PicobnnError(
            ErrorId.BAD_INPUT,
            f"an image has {size_bytes} bytes, the model in the device takes {wanted}.",
            where=session.where,
            remedy="Give the data set that the model was trained on.",
        )


def trace_image(session: Session, image: bytes, *, timeout_s: float = _RUN_S) -> list[LayerRow]:
    """Runs one image with the layer trace; one row per step."""
    layers = session.layers_requests()
    requests = [*session.upload_requests(image), session.run_request(trace=True), *layers]
    answers = session.send_ahead(requests, budget_s=timeout_s)
    if answers is not None:
        return [row for answer in answers[-len(layers) :] for row in session.layer_rows(answer)]
    session.upload(image)
    session.run(trace=True, timeout_s=timeout_s)
    return session.layers()


def find_difference(
    session: Session, image: bytes, expected: Sequence[bytes], *, timeout_s: float = _RUN_S
) -> StepDifference | None:
    """The first step whose output is not ``expected`` (one entry per step, as the plan's layout stores it).

    The CRC-32 that the device takes of every step finds the step; running again up to it and reading its output finds
    the byte. None when all steps are equal. Raises E_MODEL_MISMATCH when the device has another number of steps.
    """
    rows = trace_image(session, image, timeout_s=timeout_s)
    if len(rows) != len(expected):
        raise PicobnnError(
            ErrorId.MODEL_MISMATCH,
            f"the device has {len(rows)} steps, the model has {len(expected)}.",
            where=session.where,
            remedy="Build and flash this model.",
        )
    wrong = [step for step, row in enumerate(rows) if row.crc != zlib.crc32(expected[step])]
    if not wrong:
        return None
    session.run(stop_after_step=wrong[0], timeout_s=timeout_s)
    actual = session.read(TensorId.STEP_OUTPUT, session.info(InfoKind.STEP, wrong[0]).size_bytes)
    return StepDifference(wrong[0], _first_difference(expected[wrong[0]], actual), expected[wrong[0]], actual)


def _first_difference(expected: bytes, actual: bytes) -> int:
    for offset, (left, right) in enumerate(zip(expected, actual, strict=False)):
        if left != right:
            return offset
    return min(len(expected), len(actual))
