# SPDX-License-Identifier: Apache-2.0
"""Accuracy and speed of dense training: one network, one or more seeds, and the four ways to compute a step.

    python bench/training.py --json                                   # fmnist_cnn, 12 epochs, two CPU threads
    python bench/training.py --network digits_cnn --seeds 0 1 2

Everything is chosen on training and validation images; the test split is scored once per seed, at the end, in eval
mode (integers). ``seconds`` is the wall time of fit, its timing of the executions included; ``cpu_seconds`` the
processor time of the same span: on an idle machine with two threads it is just below twice ``seconds``, far more
means that others used the cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from picobnn.trainer.data import Dataset, load_dataset
from picobnn.trainer.evaluate import evaluate, images_tensor
from picobnn.trainer.fit import FitOptions, fit, seed_everything
from picobnn.trainer.models import build_model
from picobnn.trainer.step import EXECUTIONS, Execution
from picobnn.trainer.summary import summary
from picobnn.trainer.throughput import choose_execution, images_per_second

DATASETS = {"digits_cnn": "digits", "fmnist_cnn": "fmnist"}
RECIPES = {"digits_cnn": (40, 64), "fmnist_cnn": (12, 128)}  # epochs, batch size


@dataclass(frozen=True, slots=True)
class Run:
    """One training. Accuracies are fractions."""

    seed: int
    epochs: int
    test_accuracy: float
    val_accuracy: float
    seconds: float
    cpu_seconds: float
    execution: str


@dataclass(frozen=True, slots=True)
class Throughput:
    """Training images/s of all four executions, and what the automatic choice reaches of the best."""

    images_per_second: dict[str, float]
    chosen: str
    share_of_best: float


def measure_throughput(network: str, dataset: Dataset, batch_size: int) -> Throughput:
    """Let the automatic choice decide, then time all four executions anew."""
    seed_everything(0)
    model = build_model(network)
    images = images_tensor(dataset.train.images[:batch_size])
    labels = torch.from_numpy(dataset.train.labels[:batch_size])
    chosen = choose_execution(model, images, labels)
    rates: dict[Execution, float] = images_per_second(model, images, labels, EXECUTIONS)
    return Throughput(
        {str(execution): round(rate, 1) for execution, rate in rates.items()},
        str(chosen),
        round(rates[chosen] / max(rates.values()), 4),
    )


def train(network: str, dataset: Dataset, options: FitOptions) -> Run:
    """Train with one seed and score the test split."""
    seed_everything(options.seed)
    model = build_model(network)
    cpu = time.process_time()
    result = fit(model, dataset, options)
    return Run(
        options.seed,
        options.epochs,
        evaluate(model, dataset.test.images, dataset.test.labels),
        result.val_accuracy,
        round(result.seconds, 1),
        round(time.process_time() - cpu, 1),
        str(result.execution),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=sorted(DATASETS), default="fmnist_cnn")
    parser.add_argument("--epochs", type=int, help="default: 12 for fmnist_cnn, 40 for digits_cnn")
    parser.add_argument("--batch", type=int, help="default: 128 for fmnist_cnn, 64 for digits_cnn")
    parser.add_argument("--learning-rate", type=float, default=FitOptions().learning_rate)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="none: throughput alone")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, help="folder of the data set")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    epochs, batch = RECIPES[arguments.network]
    epochs = epochs if arguments.epochs is None else arguments.epochs
    batch = batch if arguments.batch is None else arguments.batch
    torch.set_num_threads(arguments.threads)
    dataset = load_dataset(DATASETS[arguments.network], arguments.data)
    bill = summary(build_model(arguments.network), (dataset.info.shape[2], *dataset.info.shape[:2]))
    throughput = measure_throughput(arguments.network, dataset, batch)
    runs = [
        train(
            arguments.network,
            dataset,
            FitOptions(
                epochs=epochs,
                batch_size=batch,
                learning_rate=arguments.learning_rate,
                seed=seed,
                threads=arguments.threads,
                show_progress=not arguments.json,
            ),
        )
        for seed in arguments.seeds
    ]
    if arguments.json:
        json.dump(
            {
                "network": arguments.network,
                "weight_kib": round(bill.weight_kib, 2),
                "threads": arguments.threads,
                "throughput": asdict(throughput),
                "runs": [asdict(run) for run in runs],
            },
            sys.stdout,
            indent=2,
        )
        print()
        return
    for name, rate in throughput.images_per_second.items():
        print(f"{name:28s} {rate:8,.0f} images/s{'  chosen' if name == throughput.chosen else ''}")
    for run in runs:
        print(
            f"{arguments.network} seed {run.seed}, {run.epochs} epochs: test {run.test_accuracy:.4f}, validation "
            f"{run.val_accuracy:.4f}, {run.seconds:.1f} s ({run.cpu_seconds:.1f} s of processor time), {run.execution}"
        )


if __name__ == "__main__":
    main()
