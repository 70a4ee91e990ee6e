# SPDX-License-Identifier: Apache-2.0
"""Accuracy and time of the pruning methods: train dense, remove filters, retrain, score the test split.

    python bench/pruning.py --json                        # fmnist_cnn, 35 % of the filters, loss sensitivity
    python bench/pruning.py --methods sensitivity scale random --seeds 0 1 2 --network digits_cnn --epochs 20

Filters are chosen on training images; nothing is chosen on the test split, which is scored once per row. ``seconds``
is wall time of scoring, compaction and retraining, ``dense_seconds`` that of the dense training.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

from picobnn.trainer.checkpoint import checkpoint_of, read_checkpoint, restore_model, write_checkpoint
from picobnn.trainer.data import Dataset, load_dataset
from picobnn.trainer.evaluate import evaluate, predict
from picobnn.trainer.fit import FitOptions, fit, seed_everything
from picobnn.trainer.models import Network, build_model
from picobnn.trainer.pruning import (
    FilterScale,
    LossSensitivity,
    PruningMethod,
    PruningSettings,
    Quota,
    RandomFilters,
    Scope,
    find_filters,
    make_quota,
    prune,
    retrain_with,
    training_on,
)

DATASETS = {"digits_cnn": "digits", "fmnist_cnn": "fmnist"}
METHODS = (LossSensitivity.name, FilterScale.name, RandomFilters.name)


@dataclass(frozen=True, slots=True)
class Row:
    """One pruned network. Accuracies on the test split and shares are fractions.

    accuracy_cut: without retraining. masked_differences: logits of the test split in which the masked and the
    compacted network differ; must be 0.
    """

    network: str
    method: str
    seed: int
    rounds: int
    widths: list[int]
    accuracy_dense: float
    accuracy_cut: float
    accuracy: float
    filters_removed: float
    macs_removed: float
    masked_differences: int
    dense_seconds: float
    seconds: float


def main() -> None:
    options = _arguments()
    dataset = load_dataset(DATASETS[options.network])
    rows = []
    for seed in options.seeds:
        dense, dense_seconds = _dense(options, dataset, seed)
        for method in options.methods:
            rows.append(_prune(options, dataset, dense, dense_seconds, method, seed))
            if not options.json:
                print(rows[-1], flush=True)
    if options.json:
        json.dump([asdict(row) for row in rows], sys.stdout, indent=2)
        print()


def _dense(options: argparse.Namespace, dataset: Dataset, seed: int) -> tuple[Network, float]:
    """The dense network of a seed, from ``--keep`` when it is there."""
    path = None if options.keep is None else options.keep / f"{options.network}-{seed}.safetensors"
    if path is not None and path.exists():
        kept = read_checkpoint(path)
        return restore_model(kept, str(path)), float(kept.metadata["seconds"])
    seed_everything(seed)
    model = build_model(options.network)
    result = fit(model, dataset, FitOptions(options.dense_epochs, options.batch, seed=seed, threads=options.threads))
    if path is not None:
        write_checkpoint(checkpoint_of(model, {"seconds": result.seconds}), path)
    return model, result.seconds


def _prune(
    options: argparse.Namespace, dataset: Dataset, dense: Network, dense_seconds: float, name: str, seed: int
) -> Row:
    settings = PruningSettings(options.rate, options.rounds, Scope(options.scope))
    fit_options = FitOptions(
        options.epochs, options.batch, learning_rate=options.learning_rate, seed=seed, threads=options.threads
    )
    training = training_on(dataset, fit_options)
    masked = deepcopy(dense)
    filters = {group.name: group.filters for group in find_filters(dense)}
    method = _method(name, seed)
    method.prepare(masked)
    method.run(masked, make_quota(filters, filters, settings.rate, settings.scope, settings.floor), training)
    cut, _ = method.finish(masked)
    started = time.perf_counter()
    small, report = prune(dense, _method(name, seed), settings, training, retrain_with(dataset, fit_options))
    seconds = time.perf_counter() - started
    test = dataset.test
    return Row(
        network=options.network,
        method=name,
        seed=seed,
        rounds=options.rounds,
        widths=[layer.kept for layer in report.layers],
        accuracy_dense=evaluate(dense, test.images, test.labels),
        accuracy_cut=evaluate(cut, test.images, test.labels),
        accuracy=evaluate(small, test.images, test.labels),
        filters_removed=report.filters_removed,
        macs_removed=report.macs_removed,
        masked_differences=int((predict(masked, test.images) != predict(cut, test.images)).sum()),
        dense_seconds=dense_seconds,
        seconds=seconds,
    )


def _method(name: str, seed: int) -> PruningMethod[Quota]:
    """A fresh method, so that the random one removes the same filters each time."""
    methods: tuple[PruningMethod[Quota], ...] = (LossSensitivity(), FilterScale(), RandomFilters(seed))
    return next(method for method in methods if method.name == name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Accuracy and time of the pruning methods.")
    parser.add_argument("--network", choices=sorted(DATASETS), default="fmnist_cnn")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[LossSensitivity.name])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rate", type=float, default=0.35, help="share of all filters to remove")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--scope", choices=[scope.value for scope in Scope], default=Scope.LAYER.value)
    parser.add_argument("--dense-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12, help="of retraining, per round")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-2, help="peak of retraining")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder that keeps the dense networks for the next run")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
