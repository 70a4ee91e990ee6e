# SPDX-License-Identifier: Apache-2.0
"""Trains a network: Adam on latent weights, warm-up and cosine, validation after every epoch, resumable checkpoints.

Invariant: on a CPU, the same network, data, options, execution and number of threads give the same bits, and a run
that was interrupted and resumed equals the run that was not. Called by the flow, by pruning (to retrain) and by tests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import Dataset
from picobnn.trainer.evaluate import evaluate, images_tensor
from picobnn.trainer.fit_options import EpochCallback, EpochRecord, FitOptions, FitResult, StepCallback, StepRecord
from picobnn.trainer.models import Network
from picobnn.trainer.progress import progress_view
from picobnn.trainer.run_file import RunFile
from picobnn.trainer.schedule import learning_rate_at
from picobnn.trainer.step import (
    Execution,
    Objective,
    cross_entropy,
    make_optimizer,
    training_step,
)
from picobnn.trainer.throughput import choose_execution

__all__ = [
    "EpochCallback", "EpochRecord", "FitOptions", "FitResult", "StepCallback", "StepRecord", "check_fit", "fit",
    "metrics_writer", "seed_everything",
]  # fmt: skip

_SEED_STRIDE = 1_000_003  # keeps the shuffles of (seed, epoch) pairs apart


def metrics_writer(path: Path) -> EpochCallback:
    """A callback that appends every record to ``path`` as one JSON line."""

    def write(record: EpochRecord) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record), sort_keys=True) + "\n")

    return write


def seed_everything(seed: int) -> None:
    """Seed torch's generators; call before building a network, whose first weights come from them."""
    torch.manual_seed(seed)


def fit(
    model: Network,
    dataset: Dataset,
    options: FitOptions,
    *,
    objective: Objective = cross_entropy,
    on_epoch: Sequence[EpochCallback] = (),
    after_step: Sequence[StepCallback] = (),
) -> FitResult:
    """Train ``model`` in place on ``dataset.train`` and leave it in eval mode on its device.

    Parameters that ask for no gradient stay as they are. ``on_epoch`` get each epoch's record after the checkpoint is
    safe; ``after_step`` get the network after each optimizer step (pruning methods). A KeyboardInterrupt passes
    through; the checkpoint of the last whole epoch stays. Raises BAD_INPUT when the data do not fit the network,
    CHECKPOINT when a resume does not fit the run, CONFIG_VALUE for a resume with an objective of a method: what it
    remembers is in no checkpoint.
    """
    started = time.perf_counter()
    check_fit(model, dataset, options)
    if options.resume and objective is not cross_entropy:
        raise PicobnnError(
            ErrorId.CONFIG_VALUE, "training with an objective of a pruning method cannot be resumed.",
            where="training options", remedy="Start it anew: leave resume out.",
        )  # fmt: skip
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = _device(options.device)
    model.to(device).train()
    images = images_tensor(dataset.train.images).to(device)
    labels = torch.from_numpy(dataset.train.labels).to(device)
    batch_size = min(options.batch_size, len(labels))

    file = None if options.checkpoint is None else RunFile(options.checkpoint, _settings(dataset, options))
    earlier = file.read() if file is not None and options.resume else None
    execution = (
        earlier.execution
        if earlier is not None
        else choose_execution(model, images[:batch_size], labels[:batch_size], options.precision, options.memory_format)
    )
    execution.prepare(model)
    optimizer = make_optimizer(model, options.learning_rate)
    records: list[EpochRecord] = []
    if earlier is not None and file is not None:
        file.restore(earlier, model, optimizer)
        records = [EpochRecord(**record) for record in earlier.records]
    else:
        torch.manual_seed(options.seed)
        if file is not None:
            file.save(model, optimizer, execution, [])

    run = _Run(model, optimizer, images, labels, batch_size, options, execution, objective, after_step)
    with progress_view(options.show_progress, run.steps * options.epochs, run.steps * len(records)) as view:
        for epoch in range(len(records), options.epochs):
            epoch_started = time.perf_counter()
            loss, hits, rate = run.epoch(epoch, view.step)
            seconds = time.perf_counter() - epoch_started
            record = EpochRecord(
                epoch=epoch + 1,
                loss=loss,
                train_accuracy=hits,
                val_accuracy=evaluate(model, dataset.val.images, dataset.val.labels) if len(dataset.val) else 0.0,
                learning_rate=rate,
                seconds=seconds,
                images_per_second=run.steps * batch_size / seconds,
            )
            records.append(record)
            if file is not None:
                file.save(model, optimizer, execution, [asdict(each) for each in records])
            for callback in on_epoch:
                callback(record)
            view.epoch(
                f"epoch {record.epoch}/{options.epochs}  loss {record.loss:.4f}  train {record.train_accuracy:.4f}  "
                f"validation {record.val_accuracy:.4f}  {record.images_per_second:,.0f} images/s"
            )
    model.eval()
    return FitResult(tuple(records), execution, time.perf_counter() - started)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What every epoch of one call works with. ``images`` (N, C, H, W) uint8 and ``labels`` (N,), on the device."""

    model: Network
    optimizer: torch.optim.Optimizer
    images: Tensor
    labels: Tensor
    batch_size: int
    options: FitOptions
    execution: Execution
    objective: Objective
    after_step: Sequence[StepCallback]

    @property
    def steps(self) -> int:
        """Of an epoch. An incomplete last batch is left out: batch norm dislikes tiny ones."""
        return len(self.labels) // self.batch_size

    def epoch(self, epoch: int, tick: Callable[[], None]) -> tuple[float, float, float]:
        """One pass in an order drawn from (seed, epoch). Returns mean loss, share of hits, last learning rate."""
        generator = torch.Generator().manual_seed(self.options.seed * _SEED_STRIDE + epoch)
        order = torch.randperm(len(self.labels), generator=generator).to(self.labels.device)
        loss_sum = torch.zeros((), device=self.labels.device)
        hits = torch.zeros((), dtype=torch.int64, device=self.labels.device)
        rate = 0.0
        self.model.train()
        for number in range(self.steps):
            index = order[number * self.batch_size : (number + 1) * self.batch_size]
            rate, loss, found = self._step(epoch * self.steps + number, index)
            loss_sum += loss
            hits += found
            tick()
        return float(loss_sum) / self.steps, float(hits) / (self.steps * self.batch_size), rate

    def _step(self, number: int, index: Tensor) -> tuple[float, Tensor, Tensor]:
        """Step ``number`` of the run on the images at ``index``: learning rate, loss, hits."""
        options, total = self.options, self.options.epochs * self.steps
        place = StepRecord(number, total, learning_rate_at(number, total, options.learning_rate, options.warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = place.learning_rate
        target = self.labels[index]
        loss, logits = training_step(
            self.model, self.optimizer, self.images[index], target, self.execution, self.objective
        )
        for callback in self.after_step:
            callback(self.model, place)
        return place.learning_rate, loss, (logits.argmax(dim=1) == target).sum()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu" or (name.startswith("cuda") and torch.cuda.is_available()):
        return torch.device(name)
    raise PicobnnError(
        ErrorId.CONFIG_VALUE,
        f"Device {name!r} is not present.",
        where="training options",
        remedy='Use "cpu", or "auto" for the best device present.',
    )


def check_fit(model: Network, dataset: Dataset, options: FitOptions) -> None:
    """Refuse what :func:`fit` cannot train. Raises BAD_INPUT (data and network disagree), CONFIG_VALUE (device)."""
    _device(options.device)
    height, width, channels = dataset.info.shape
    if (channels, height, width) != model.input_shape or len(dataset.classes) != model.config.classes:
        raise PicobnnError(
            ErrorId.BAD_INPUT,
            f"Images are {height}x{width}x{channels} of {len(dataset.classes)} classes; the network takes "
            f"{model.input_shape} (C, H, W) and has {model.config.classes}.",
            where=f"{model.model_name} on {dataset.name}",
            remedy="Choose the network made for this data set.",
        )
    if len(dataset.train) < 2:
        raise PicobnnError(
            ErrorId.BAD_INPUT, "There is nothing to train on.", where=dataset.name, remedy="Give at least two images."
        )


def _settings(dataset: Dataset, options: FitOptions) -> dict[str, object]:
    """What must agree for a resumed run to equal the uninterrupted one."""
    return {
        "dataset": dataset.name,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "warmup": options.warmup,
        "seed": options.seed,
    }
