# SPDX-License-Identifier: Apache-2.0
"""Prune the dense network of a run: rank filters, take them out physically, retrain the small network."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from picobnn.config import Config, PruneMethod
from picobnn.files import write_json
from picobnn.flow.extras import require_train
from picobnn.flow.run_directory import RunDirectory, write_config
from picobnn.flow.state import digest, forget_behind_prune
from picobnn.flow.train import load_data, training_threads

if TYPE_CHECKING:
    from torch import nn

    from picobnn.trainer.models import Network
    from picobnn.trainer.pruning import PruningMethod, Quota


@dataclass(frozen=True, slots=True)
class PruneOutcome:
    """Accuracies and shares are fractions. ``layers``: filters kept and before, per layer."""

    run: str
    method: str
    filters_removed: float
    macs_removed: float
    layers: tuple[dict[str, Any], ...]
    val_accuracy: float
    test_accuracy: float
    test_images: int
    seconds: float
    dense_sha256: str
    checkpoint_sha256: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def prune(config: Config, run: RunDirectory, *, show_progress: bool = False) -> PruneOutcome:
    """Prune the run's dense checkpoint into ``pruned.safetensors``.

    Raises E_EXTRA_MISSING, E_FILE_MISSING, E_CHECKPOINT, E_PRUNING.
    """
    require_train("prune")
    from picobnn.trainer import pruning
    from picobnn.trainer.checkpoint import checkpoint_of, read_checkpoint, restore_model, write_checkpoint
    from picobnn.trainer.evaluate import evaluate
    from picobnn.trainer.fit import FitOptions

    started = time.perf_counter()
    dense = run.require(run.dense_checkpoint, "train")
    write_config(run, config)
    forget_behind_prune(run)
    dataset = load_data(config)
    network = restore_model(read_checkpoint(dense), where=str(dense))
    options = FitOptions(
        epochs=config.prune.epochs,
        batch_size=config.train.batch_size,
        learning_rate=config.prune.learning_rate,
        warmup=config.train.warmup_share,
        seed=config.prune.seed,
        device=config.train.device,
        threads=training_threads(config, network, config.train.batch_size),
        show_progress=show_progress,
    )
    small, report = pruning.prune(
        network,
        make_method(config),
        pruning.PruningSettings(rate=config.prune.rate, rounds=config.prune.rounds),
        pruning.training_on(dataset, options),
        pruning.retrain_with(dataset, options),
    )
    pruned = as_network(small)
    write_checkpoint(checkpoint_of(pruned, {"pruning": report.as_dict()}), run.pruned_checkpoint)
    outcome = PruneOutcome(
        run=str(run.path),
        method=report.method,
        filters_removed=report.filters_removed,
        macs_removed=report.macs_removed,
        layers=tuple(report.as_dict()["layers"]),
        val_accuracy=evaluate(pruned, dataset.val.images, dataset.val.labels),
        test_accuracy=evaluate(pruned, dataset.test.images, dataset.test.labels),
        test_images=len(dataset.test),
        seconds=round(time.perf_counter() - started, 3),
        dense_sha256=digest(dense),
        checkpoint_sha256=digest(run.pruned_checkpoint),
    )
    write_json(run.prune_result, outcome.as_dict())
    return outcome


def make_method(config: Config) -> PruningMethod[Quota]:
    """The configured ranking."""
    from picobnn.trainer.pruning import FilterScale, LossSensitivity, RandomFilters

    if config.prune.method is PruneMethod.RANDOM:
        return RandomFilters(config.prune.seed)
    return LossSensitivity() if config.prune.method is PruneMethod.SENSITIVITY else FilterScale()


def as_network(model: nn.Module) -> Network:
    """Compaction keeps the class of the network; this says so to the type checker and to whoever breaks it."""
    from picobnn.trainer.models import Network

    if not isinstance(model, Network):
        raise TypeError(f"pruning returned a {type(model).__name__}, not a Network")
    return model
