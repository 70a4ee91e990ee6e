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
from picobnn.trainer.checkpoint import (
    Checkpoint,
    read_checkpoint,
    restore_training,
    training_checkpoint,
    write_checkpoint,
)
from picobnn.trainer.data import Dataset
from picobnn.trainer.evaluate import evaluate, images_tensor
from picobnn.trainer.models import Network
from picobnn.trainer.progress import progress_view
from picobnn.trainer.schedule import learning_rate_at
from picobnn.trainer.step import (
    Execution,
    MemoryFormat,
    Objective,
    Precision,
    cross_entropy,
    make_optimizer,
    training_step,
)
from picobnn.trainer.throughput import choose_execution

_SEED_STRIDE = 1_000_003  # keeps the shuffles of (seed, epoch) pairs apart


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

    earlier = _checkpoint_to_resume(options)
    if earlier is None:
        execution = choose_execution(
            model, images[:batch_size], labels[:batch_size], options.precision, options.memory_format
        )
    else:
        execution = _execution_of(earlier)
    execution.prepare(model)
    optimizer = make_optimizer(model, options.learning_rate)
    records: list[EpochRecord] = []
    if earlier is None:
        torch.manual_seed(options.seed)
    else:
        _check_same_run(earlier, dataset, options)
        restore_training(earlier, model, optimizer, str(options.checkpoint))
        records = [EpochRecord(**record) for record in earlier.metadata["records"]]
    if options.checkpoint is not None and earlier is None:
        _save(model, optimizer, dataset, options, execution, records)

    steps = len(labels) // batch_size
    with progress_view(options.show_progress, steps * options.epochs, steps * len(records)) as view:
        for epoch in range(len(records), options.epochs):
            epoch_started = time.perf_counter()
            loss, hits, rate = _epoch(
                model,
                optimizer,
                images,
                labels,
                batch_size,
                epoch,
                options,
                execution,
                objective,
                after_step,
                view.step,
            )
            seconds = time.perf_counter() - epoch_started
            record = EpochRecord(
                epoch=epoch + 1,
                loss=loss,
                train_accuracy=hits,
                val_accuracy=evaluate(model, dataset.val.images, dataset.val.labels) if len(dataset.val) else 0.0,
                learning_rate=rate,
                seconds=seconds,
                images_per_second=steps * batch_size / seconds,
            )
            records.append(record)
            if options.checkpoint is not None:
                _save(model, optimizer, dataset, options, execution, records)
            for callback in on_epoch:
                callback(record)
            view.epoch(
                f"epoch {record.epoch}/{options.epochs}  loss {record.loss:.4f}  train {record.train_accuracy:.4f}  "
                f"validation {record.val_accuracy:.4f}  {record.images_per_second:,.0f} images/s"
            )
    model.eval()
    return FitResult(tuple(records), execution, time.perf_counter() - started)


def _epoch(
    model: Network,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    batch_size: int,
    epoch: int,
    options: FitOptions,
    execution: Execution,
    objective: Objective,
    after_step: Sequence[StepCallback],
    tick: Callable[[], None],
) -> tuple[float, float, float]:
    """One pass in an order drawn from (seed, epoch). Returns mean loss, share of hits, last learning rate."""
    generator = torch.Generator().manual_seed(options.seed * _SEED_STRIDE + epoch)
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    steps = len(labels) // batch_size  # an incomplete last batch is left out: batch norm dislikes tiny ones
    loss_sum = torch.zeros((), device=labels.device)
    hits = torch.zeros((), dtype=torch.int64, device=labels.device)
    rate = 0.0
    model.train()
    for number in range(steps):
        place = StepRecord(
            epoch * steps + number,
            options.epochs * steps,
            learning_rate_at(epoch * steps + number, options.epochs * steps, options.learning_rate, options.warmup),
        )
        rate = place.learning_rate
        for group in optimizer.param_groups:
            group["lr"] = rate
        index = order[number * batch_size : (number + 1) * batch_size]
        target = labels[index]
        loss, logits = training_step(model, optimizer, images[index], target, execution, objective)
        for callback in after_step:
            callback(model, place)
        loss_sum += loss
        hits += (logits.argmax(dim=1) == target).sum()
        tick()
    return float(loss_sum) / steps, float(hits) / (steps * batch_size), rate


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


def _save(
    model: Network,
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    options: FitOptions,
    execution: Execution,
    records: Sequence[EpochRecord],
) -> None:
    metadata = {
        "run": _run_identity(dataset, options),
        "precision": execution.precision.value,
        "memory_format": execution.memory_format.value,
        "epoch": len(records),
        "records": [asdict(record) for record in records],
        "val_accuracy": records[-1].val_accuracy if records else None,
    }
    if options.checkpoint is not None:
        write_checkpoint(training_checkpoint(model, optimizer, metadata), options.checkpoint)


def _run_identity(dataset: Dataset, options: FitOptions) -> dict[str, object]:
    """The settings that must agree for a resumed run to equal the uninterrupted one."""
    return {
        "dataset": dataset.name,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "warmup": options.warmup,
        "seed": options.seed,
    }


def _checkpoint_to_resume(options: FitOptions) -> Checkpoint | None:
    if not options.resume or options.checkpoint is None or not options.checkpoint.exists():
        return None
    return read_checkpoint(options.checkpoint)


def _check_same_run(earlier: Checkpoint, dataset: Dataset, options: FitOptions) -> None:
    found, expected = earlier.metadata.get("run"), _run_identity(dataset, options)
    if found != expected:
        raise PicobnnError(
            ErrorId.CHECKPOINT,
            f"The checkpoint was trained with {found}, this run asks for {expected}.",
            where=str(options.checkpoint),
            remedy="Resume with the settings of the first run, or start a new run.",
        )


def _execution_of(earlier: Checkpoint) -> Execution:
    return Execution(Precision(earlier.metadata["precision"]), MemoryFormat(earlier.metadata["memory_format"]))
