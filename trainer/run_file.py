# SPDX-License-Identifier: Apache-2.0
"""The checkpoint file of one training: written after every epoch, and read back when the run is resumed.

Invariant: a run is resumed only with the settings it was started with. Called by fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.checkpoint import (
    Checkpoint,
    read_checkpoint,
    restore_training,
    training_checkpoint,
    write_checkpoint,
)
from picobnn.trainer.models import Network
from picobnn.trainer.step import Execution, MemoryFormat, Precision


@dataclass(frozen=True, slots=True, eq=False)
class Resumed:
    """Where an interrupted run was: how its steps are computed, and the records of its epochs as plain values."""

    checkpoint: Checkpoint
    execution: Execution
    records: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class RunFile:
    """``settings``: plain values that must agree for a resumed run to equal the uninterrupted one."""

    path: Path
    settings: Mapping[str, object]

    def read(self) -> Resumed | None:
        """The run that the file holds, None where there is no file. CHECKPOINT error for a run of other settings."""
        if not self.path.exists():
            return None
        checkpoint = read_checkpoint(self.path)
        metadata = checkpoint.metadata
        if metadata.get("run") != dict(self.settings):
            raise PicobnnError(
                ErrorId.CHECKPOINT,
                f"The checkpoint was trained with {metadata.get('run')}, this run asks for {dict(self.settings)}.",
                where=str(self.path),
                remedy="Resume with the settings of the first run, or start a new run.",
            )
        execution = Execution(Precision(metadata["precision"]), MemoryFormat(metadata["memory_format"]))
        return Resumed(checkpoint, execution, tuple(metadata["records"]))

    def restore(self, resumed: Resumed, model: Network, optimizer: torch.optim.Optimizer) -> None:
        """Weights, optimizer and random state as they were, in place."""
        restore_training(resumed.checkpoint, model, optimizer, str(self.path))

    def save(
        self,
        model: Network,
        optimizer: torch.optim.Optimizer,
        execution: Execution,
        records: Sequence[Mapping[str, Any]],
    ) -> None:
        """Write the run as it is between two epochs, whole or not at all."""
        metadata = {
            "run": dict(self.settings),
            "precision": execution.precision.value,
            "memory_format": execution.memory_format.value,
            "epoch": len(records),
            "records": [dict(record) for record in records],
            "val_accuracy": records[-1]["val_accuracy"] if records else None,
        }
        write_checkpoint(training_checkpoint(model, optimizer, metadata), self.path)
