# SPDX-License-Identifier: Apache-2.0
"""What ``bench/methods.py`` trains: networks of one seed, each kept on disk so that what builds on it finds it.

Every network has the same history: ``start`` epochs from random weights, then ``after`` epochs at a smaller rate.
``dense`` and the narrower networks have both as well, with nothing removed. Searches do their work in the second part,
{alpha, beta} has both parts as one. Gates and what deletes filters by a rule have, between the two, one epoch per layer
at a hundredth of the rate, all of them; gates, which learn while weights are frozen, have their own epochs besides.
Precision, memory format and threads are fixed: what is fastest here would make figures depend on the machine's load.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from picobnn.trainer.checkpoint import checkpoint_of, read_checkpoint, restore_model, write_checkpoint
from picobnn.trainer.data import Dataset, load_dataset
from picobnn.trainer.fit import FitOptions, fit, seed_everything
from picobnn.trainer.models import Network, build_model
from picobnn.trainer.pruning import Distilled, Quota, Scope, Training, find_filters, make_quota, training_on
from picobnn.trainer.step import MemoryFormat, Objective, Precision, cross_entropy

DENSE = "dense--"
"""Method and setting of the whole network, as files are named."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc, mallopt(3)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Epochs, batch and peak learning rates. ``gate`` and ``layer``: epochs per layer of a layer-wise schedule's two
    phases. ``precision``: of the training convolutions; gates train in float32 whatever it is. ``epoch_minutes``: CPU
    minutes of one epoch, a first guess that the rows already there replace."""

    dataset: str
    widths: tuple[int, ...]
    start: int
    after: int
    gate: int
    layer: int
    batch: int
    precision: Precision
    epoch_minutes: float
    start_rate: float = 1.5e-2
    after_rate: float = 1e-2

    def as_dict(self) -> dict[str, Any]:
        """What rows of one results file must agree in."""
        values = asdict(self)
        del values["epoch_minutes"]
        return {**values, "widths": list(self.widths), "precision": self.precision.value}


RECIPES = {
    "fmnist_cnn": Recipe("fmnist", (32, 64, 128), 6, 5, 1, 1, 128, Precision.BFLOAT16, 0.47),  # 7.51 M MACs
    "digits_cnn": Recipe("digits", (8, 16, 16), 2, 2, 1, 1, 64, Precision.FLOAT32, 0.02),  # for tests
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting of one method. ``train`` gives the network of a seed; ``effort``: its cost in epochs of the dense
    network, estimated, without what it builds on."""

    method: str
    setting: str
    effort: float
    train: Callable[[Lab, int], Network] = field(compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.setting


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A network and what its training took, that of what it builds on only where it was missing. ``notes``: further
    columns of its rows."""

    network: Network
    seconds: float
    cpu_seconds: float
    notes: dict[str, Any]


class Lab:
    """Networks of one model and recipe. ``keep``: folder of the networks that are made."""

    def __init__(self, model: str, recipe: Recipe, keep: Path, *, threads: int = 1) -> None:
        self.model = model
        self.recipe = recipe
        self.dataset: Dataset = load_dataset(recipe.dataset)
        self._threads = threads
        self._keep = keep
        self._notes: dict[str, Any] = {}
        torch.set_num_threads(threads)
        _keep_freed_memory()

    def options(self, seed: int, epochs: int | None = None, rate: float | None = None) -> FitOptions:
        """Of the second part of a training, unless told otherwise."""
        return FitOptions(
            epochs=self.recipe.after if epochs is None else epochs,
            batch_size=self.recipe.batch,
            learning_rate=self.recipe.after_rate if rate is None else rate,
            seed=seed,
            threads=self._threads,
            precision=self.recipe.precision,
            memory_format=MemoryFormat.CHANNELS_LAST,
        )

    def training(
        self, seed: int, epochs: int | None = None, rate: float | None = None, *, is_taught: bool = False
    ) -> Training:
        """The same with images to score on; ``is_taught``: beside the dense network of the seed."""
        return training_on(self.dataset, self.options(seed, epochs, rate), objective=self._objective(seed, is_taught))

    def fresh(self, seed: int, widths: Sequence[int] | None = None) -> Network:
        """Random weights; ``widths``: instead of the recipe's."""
        seed_everything(seed)
        return build_model(self.model, {"widths": list(widths or self.recipe.widths)})

    def start(self, seed: int, share: float = 1.0, *, is_taught: bool = False) -> Network:
        """A network with ``share`` of the widths, rounded up, after the first part."""
        name = f"{'taught-' if is_taught else ''}start-{share:g}-{seed}"
        return self._made(name, lambda: self._started(seed, share, is_taught)).network

    def then(self, network: Network, seed: int, *, is_taught: bool = False) -> Network:
        """``network`` itself, trained by the second part."""
        fit(network, self.dataset, self.options(seed), objective=self._objective(seed, is_taught))
        return network

    def dense(self, seed: int) -> Network:
        """The whole network after both parts."""
        return self._made(f"{DENSE}-{seed}", lambda: self.then(self.start(seed), seed)).network

    def trained(self, cell: Cell, seed: int) -> Trained:
        """The network of a cell, trained when it is not there yet."""
        return self._made(_name(cell, seed), lambda: cell.train(self, seed))

    def is_kept(self, cell: Cell, seed: int) -> bool:
        """Whether the network of a cell need not be trained."""
        return self._file(_name(cell, seed)).exists()

    def note(self, name: str, value: Any) -> None:
        """Add a column to the rows of the cell that is being trained; plain values for JSON."""
        self._notes[name] = value

    def quota(self, rate: float) -> Quota:
        """About ``rate`` of the filters from every layer, so that whole words of channels stay."""
        widths = _widths(self.fresh(0))
        return make_quota(widths, widths, rate, Scope.WORDS, 1)

    def quota_for(self, widths: Sequence[int]) -> Quota:
        """What leaves so many filters in every layer."""
        there = _widths(self.fresh(0))
        return Quota({name: there[name] - width for name, width in zip(there, widths, strict=True)})

    def counts_of(self, network: Network) -> Quota:
        """The filters that ``network`` lacks, per layer."""
        kept = _widths(network)
        return Quota({name: width - kept[name] for name, width in _widths(self.fresh(0)).items()})

    def _started(self, seed: int, share: float, is_taught: bool) -> Network:
        network = self.fresh(seed, [math.ceil(share * width) for width in self.recipe.widths])
        options = self.options(seed, self.recipe.start, self.recipe.start_rate)
        fit(network, self.dataset, options, objective=self._objective(seed, is_taught))
        return network

    def _file(self, name: str) -> Path:
        return self._keep / f"{name}.safetensors"

    def _objective(self, seed: int, is_taught: bool) -> Objective:
        return Distilled(self.dense(seed)) if is_taught else cross_entropy

    def _made(self, name: str, make: Callable[[], Network]) -> Trained:
        """From the folder, or made. ``seconds`` has the making of what it builds on in it, where that was not there."""
        path = self._file(name)
        if not path.exists():
            wall, cpu = time.perf_counter(), cpu_seconds()
            outer, self._notes = self._notes, {}
            network = make().eval()
            notes, self._notes = self._notes, outer
            metadata = {
                "seconds": time.perf_counter() - wall, "cpu_seconds": cpu_seconds() - cpu, "notes": notes
            }  # fmt: skip
            path.parent.mkdir(parents=True, exist_ok=True)
            write_checkpoint(checkpoint_of(network, metadata), path)
        # A network just made is read back as well: both ways give the same row.
        kept = read_checkpoint(path)
        figures = (kept.metadata[name] for name in ("seconds", "cpu_seconds", "notes"))
        return Trained(restore_model(kept, str(path)), *figures)


def _name(cell: Cell, seed: int) -> str:
    return f"{cell.method}-{cell.setting}-{seed}"


def _widths(network: Network) -> dict[str, int]:
    return {group.name: group.filters for group in find_filters(network)}


def cpu_seconds() -> float:
    """CPU time of this process and of the children it has waited for (compilers, emulators)."""
    return sum(os.times()[:4])


def _keep_freed_memory() -> None:
    """Let glibc keep what a training step frees for the next one: handed back to the kernel, tens of MB per step come
    back as page faults, a sixth of the CPU time of a bfloat16 step. Nothing where the C library is another."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
