# SPDX-License-Identifier: Apache-2.0
"""Train the dense network of a run, or go on with one that was interrupted."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picobnn.config import Config
from picobnn.files import write_json
from picobnn.flow.extras import require_train
from picobnn.flow.run_directory import RunDirectory, write_config
from picobnn.flow.state import digest, forget_behind_train, read_result, train_is_done

if TYPE_CHECKING:
    from picobnn.trainer.data import Dataset
    from picobnn.trainer.models import Network

SMALL_STEP_MACS = 100_000_000  # forward multiply-accumulates of one step, about 3 ms on one core


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """Accuracies are fractions; the test set was used once, at the end. ``seconds`` is wall time, epochs in front of an
    interruption included. ``summary``: bits, KiB and MACs per layer."""

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
    checkpoint_sha256: str
    summary: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_training(config: Config) -> None:
    """Refuse a configuration that cannot be trained, before anything is written.

    Raises E_EXTRA_MISSING, E_CONFIG_VALUE, E_DATA_MISSING, E_BAD_INPUT.
    """
    require_train("train")
    from picobnn.trainer.fit import FitOptions, check_fit
    from picobnn.trainer.models import build_model

    check_fit(
        build_model(config.model.name, _model_settings(config)),
        load_data(config),
        FitOptions(device=config.train.device),
    )


def train(config: Config, run: RunDirectory, *, show_progress: bool = False) -> TrainOutcome:
    """Train ``config.model`` into the run's ``checkpoint.safetensors``; a finished run is returned as it is, an
    interrupted one is continued.

    Raises E_EXTRA_MISSING, E_CONFIG_VALUE, E_DATA_MISSING, E_BAD_INPUT, E_CHECKPOINT.
    """
    require_train("train")
    from picobnn.trainer.evaluate import evaluate
    from picobnn.trainer.fit import FitOptions, fit, metrics_writer, seed_everything
    from picobnn.trainer.models import build_model
    from picobnn.trainer.summary import summary

    write_config(run, config)
    if train_is_done(run):
        return TrainOutcome(**(read_result(run.train_result) or {}))
    forget_behind_train(run)
    dataset = load_data(config)
    seed_everything(config.train.seed)
    network = build_model(config.model.name, _model_settings(config))
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
    resumed_from = _epochs_done(run.dense_checkpoint)
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
        seconds=round(result.seconds + sum(record.seconds for record in result.records[:resumed_from]), 3),
        checkpoint_sha256=digest(run.dense_checkpoint),
        summary=summary(network, network.input_shape).as_dict(),
    )
    write_json(run.train_result, outcome.as_dict())
    return outcome


def _model_settings(config: Config) -> dict[str, Any]:
    return {"widths": config.model.widths} if config.model.widths else {}


def _epochs_done(checkpoint: Path) -> int:
    """Epochs that an interrupted training has behind it."""
    from picobnn.trainer.checkpoint import read_checkpoint

    return len(read_checkpoint(checkpoint).metadata.get("records", ())) if checkpoint.is_file() else 0


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
