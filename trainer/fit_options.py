# SPDX-License-Identifier: Apache-2.0
"""What :func:`picobnn.trainer.fit.fit` takes and gives: options, records of epochs and steps, callbacks.

Imported through ``trainer.fit``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.models import Network
from picobnn.trainer.step import Execution, MemoryFormat, Precision


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How to train. ``learning_rate`` is the peak; ``warmup`` the share of steps that rise to it.

    ``precision`` and ``memory_format``: None means the fastest here, found by timing. ``device``: "cpu", "cuda", or
    "auto" for cuda where present. ``checkpoint``: file written at the start and after every epoch; with ``resume`` an
    existing one is continued. ``threads``: of the CPU, None leaves torch's setting.
    """

    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 1.5e-2
    warmup: float = 0.15
    seed: int = 0
    precision: Precision | None = None
    memory_format: MemoryFormat | None = None
    device: str = "cpu"
    threads: int | None = None
    checkpoint: Path | None = None
    resume: bool = False
    show_progress: bool = False

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, good in (
                ("epochs", self.epochs >= 0),
                ("batch_size", self.batch_size >= 2),
                ("learning_rate", self.learning_rate > 0),
                ("warmup", 0 <= self.warmup < 1),
                ("threads", self.threads is None or self.threads >= 1),
            )
            if not good
        ]
        if wrong:
            raise PicobnnError(
                ErrorId.CONFIG_VALUE,
                f"Out of range: {', '.join(f'{name} = {getattr(self, name)}' for name in wrong)}.",
                where="training options",
                remedy="epochs >= 0, batch_size >= 2, learning_rate > 0, 0 <= warmup < 1, threads >= 1.",
            )


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """How one epoch went. Accuracies are shares, 0 to 1; ``seconds`` excludes validation."""

    epoch: int
    loss: float
    train_accuracy: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True, slots=True)
class FitResult:
    """All epochs (those before a resume included), how steps were computed, and the wall time of this call."""

    records: tuple[EpochRecord, ...]
    execution: Execution
    seconds: float

    @property
    def val_accuracy(self) -> float:
        """Validation accuracy after the last epoch; 0 when there was none."""
        return self.records[-1].val_accuracy if self.records else 0.0


@dataclass(frozen=True, slots=True)
class StepRecord:
    """Where training is: optimizer step ``step`` (0-based) of ``steps`` was made with ``learning_rate``."""

    step: int
    steps: int
    learning_rate: float


EpochCallback = Callable[[EpochRecord], None]
StepCallback = Callable[[Network, StepRecord], None]
