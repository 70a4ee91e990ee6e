# SPDX-License-Identifier: Apache-2.0
"""Compare what executors computed, value by value, against the reference. Equality only: there is no tolerance here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from picobnn.codegen.program import Program

StepOutputs = Sequence[npt.NDArray[Any]]  # one array (N, H, W, C) per step: bits 0/1 or int32


@dataclass(frozen=True, slots=True)
class Difference:
    """The first value that differs: which executor, which image, which step, where in it, and both values.

    ``index`` is (y, x, channel) in the output of the step; ``layer`` the step's name, ``source`` its torch module.
    """

    executor: str
    image: int
    step: int
    layer: str
    source: str
    index: tuple[int, int, int]
    expected: int
    got: int

    def __str__(self) -> str:
        y, x, channel = self.index
        return (
            f"{self.executor}: image {self.image}, layer {self.step} '{self.layer}' ({self.source}), "
            f"y {y}, x {x}, channel {channel}: expected {self.expected}, got {self.got}"
        )


@dataclass(frozen=True, slots=True)
class ExecutorResult:
    """One executor against the reference: ``mismatches`` counts images with at least one differing value."""

    executor: str
    vectors: int
    mismatches: int
    first: Difference | None
    seconds: float

    def merged(self, other: ExecutorResult) -> ExecutorResult:
        """Results of two runs of images, ``other`` the later one."""
        return replace(
            self,
            vectors=self.vectors + other.vectors,
            mismatches=self.mismatches + other.mismatches,
            first=self.first or other.first,
            seconds=self.seconds + other.seconds,
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_steps(
    executor: str, program: Program, expected: StepOutputs, got: StepOutputs, *, first_image: int, seconds: float
) -> ExecutorResult:
    """Compare every step's output of a run of images. ``first_image`` is the number of the run's first image."""
    count = len(expected[0])
    wrong = np.zeros(count, bool)
    first: Difference | None = None
    for number, (step, want, have) in enumerate(zip(program.steps, expected, got, strict=True)):
        if want.shape != have.shape:
            have = have.reshape(want.shape)
        different = want != have
        if not different.any():
            continue
        wrong |= different.reshape(count, -1).any(axis=1)
        if first is None:
            image, y, x, channel = (int(axis[0]) for axis in np.nonzero(different))
            first = Difference(
                executor,
                first_image + image,
                number,
                step.name,
                step.source,
                (y, x, channel),
                int(want[image, y, x, channel]),
                int(have[image, y, x, channel]),
            )
    return ExecutorResult(executor, count, int(wrong.sum()), first, seconds)
