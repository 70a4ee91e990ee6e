# SPDX-License-Identifier: Apache-2.0
"""Train the dense network of a run, or go on with one that was interrupted."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picobnn.config import Config
from picobnn.files import write_json
from picobnn.flow.extras import require_train
from picobnn.flow.run_directory import RunDirectory

if TYPE_CHECKING:
    from picobnn.trainer.data import Dataset
    from picobnn.trainer.models import Network

SMALL_STEP_MACS = 100_000_000  # forward multiply-accumulates of one step, about 3 ms on one core


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """Accuracies are fractions; the test set was used once, at the end. ``seconds`` is wall time of this call."""

    run: str
    network: str
    dataset: str
    epochs: int
    seed: int
    val_accuracy: float
    test_accuracy: float
    test_images: int
    execution: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def train(config: Config, run: RunDirectory, *, show_progress: bool = False) -> TrainOutcome:
    """Train ``config.model`` into the run's ``checkpoint.safetensors``; a checkpoint that is there is continued.

    Raises E_EXTRA_MISSING, E_CONFIG_VALUE, E_DATA_MISSING, E_BAD_INPUT, E_CHECKPOINT.
    """
    require_train("train")
    from picobnn.trainer.evaluate import evaluate
    from picobnn.trainer.fit import FitOptions, fit, metrics_writer, seed_everything
    from picobnn.trainer.models import build_model

    dataset = load_data(config)
    seed_everything(config.train.seed)
    network = build_model(config.model.name, {"widths": config.model.widths} if config.model.widths else {})
    options = FitOptions(
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        learning_rate=config.train.learning_rate,
        warmup=config.train.warmup_share,
        seed=config.train.seed,
        device=config.train.device,
        threads=training_threads(config, network, config.train.batch_size),
        checkpoint=run.dense_checkpoint,
        resume=True,
        show_progress=show_progress,
    )
    result = fit(network, dataset, options, on_epoch=[metrics_writer(run.metrics)])
    outcome = TrainOutcome(
        run=str(run.path),
        network=config.model.name,
        dataset=dataset.name,
        epochs=config.train.epochs,
        seed=config.train.seed,
        val_accuracy=result.val_accuracy,
        test_accuracy=evaluate(network, dataset.test.images, dataset.test.labels),
        test_images=len(dataset.test),
        execution=str(result.execution),
        seconds=round(result.seconds, 3),
    )
    write_json(run.train_result, outcome.as_dict())
    return outcome


def load_data(config: Config) -> Dataset:
    """The configured data set. Raises E_CONFIG_VALUE, E_DATA_MISSING, E_DATA_FORMAT."""
    from picobnn.trainer.data import load_dataset

    return load_dataset(config.data.name, Path(config.data.root) if config.data.root else None)


def training_threads(config: Config, network: Network, batch_size: int) -> int:
    """``train.threads``; by default every core that this process may use, and one for a network whose steps are so
    small that threads would mostly wait for each other (then a busy machine slows training a hundredfold)."""
    if config.train.threads:
        return config.train.threads
    import torch

    from picobnn.trainer.pruning import count_macs

    image = torch.zeros((1, *network.input_shape), dtype=torch.uint8)
    if count_macs(network, image) * batch_size < SMALL_STEP_MACS:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_result(path: Path) -> dict[str, Any] | None:
    """A result file of an earlier step, or None when the step did not run."""
    if not path.is_file():
        return None
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded
