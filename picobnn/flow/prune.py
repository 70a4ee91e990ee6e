# SPDX-License-Identifier: Apache-2.0
"""Prune the dense network of a run by a method, to a rate or a goal: what goes is taken out physically."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from picobnn.config import Config
from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import write_json
from picobnn.flow.extras import require_train
from picobnn.flow.prune_goal import Gauge, GoalOutcome, aim_of, gauge_of
from picobnn.flow.prune_methods import MethodEntry, as_network, find_method, sketch
from picobnn.flow.run_directory import RunDirectory, write_config
from picobnn.flow.state import digest, forget_behind_prune
from picobnn.flow.train import load_data, training_threads

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from picobnn.trainer.models import Network
    from picobnn.trainer.pruning import PruningReport, Retrain, Scope, Training
    from picobnn.trainer.pruning.reach import Aim


@dataclass(frozen=True, slots=True)
class PruneOutcome:
    """Accuracies and shares are fractions. ``layers``: filters kept and before, per layer; ``density``: share of ones
    of the hidden layers' weights, where the method counts them; ``goal``: None where only a rate was given."""

    run: str
    method: str
    filters_removed: float
    macs_removed: float
    layers: tuple[dict[str, Any], ...]
    density: float | None
    goal: GoalOutcome | None
    val_accuracy: float
    test_accuracy: float
    test_images: int
    seconds: float
    dense_sha256: str
    checkpoint_sha256: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def failure(self) -> PicobnnError | None:
        """Set when the trained result missed the goal by more than 5 %."""
        if self.goal is None or self.goal.met:
            return None
        return PicobnnError(
            ErrorId.PRUNING, f"{self.goal.target:,.6g} was the goal, {self.goal.reached:,.6g} was reached.",
            where=self.goal.what, remedy="Train longer (prune.epochs), or choose another method or goal.",
        )  # fmt: skip


def prune(config: Config, run: RunDirectory, *, show_progress: bool = False) -> PruneOutcome:
    """Prune the run's dense checkpoint into ``pruned.safetensors``.

    Raises E_EXTRA_MISSING, E_FILE_MISSING, E_CHECKPOINT, E_PRUNING.
    """
    require_train("prune")
    from picobnn.trainer import pruning
    from picobnn.trainer.checkpoint import checkpoint_of, read_checkpoint, restore_model, write_checkpoint
    from picobnn.trainer.evaluate import evaluate
    from picobnn.trainer.fit import FitOptions
    from picobnn.trainer.step import Objective, cross_entropy

    started = time.perf_counter()
    dense = run.require(run.dense_checkpoint, "train")
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

    def begin() -> None:
        """A goal that is refused leaves the run as it was."""
        write_config(run, config)
        forget_behind_prune(run)

    objective: Objective = cross_entropy
    if config.prune.distillation:
        objective = pruning.Distilled(network, pruning.Distillation(config.prune.distillation))
    work = _Work(
        config,
        network,
        begin,
        pruning.training_on(dataset, options, objective=objective),
        pruning.retrain_with(dataset, options, objective=objective),
    )
    small, report, goal = work.prune(dataset.train.images)
    write_checkpoint(checkpoint_of(small, {"pruning": report.as_dict()}), run.pruned_checkpoint)
    outcome = PruneOutcome(
        run=str(run.path),
        method=report.method,
        filters_removed=report.filters_removed,
        macs_removed=report.macs_removed,
        layers=tuple(report.as_dict()["layers"]),
        density=report.density,
        goal=goal,
        val_accuracy=evaluate(small, dataset.val.images, dataset.val.labels),
        test_accuracy=evaluate(small, dataset.test.images, dataset.test.labels),
        test_images=len(dataset.test),
        seconds=round(time.perf_counter() - started, 3),
        dense_sha256=digest(dense),
        checkpoint_sha256=digest(run.pruned_checkpoint),
    )
    write_json(run.prune_result, outcome.as_dict())
    return outcome


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """One call's network and what it is trained with. ``begin``: called before anything is trained."""

    config: Config
    network: Network
    begin: Callable[[], None]
    training: Training
    retrain: Retrain

    def prune(self, images: npt.NDArray[np.uint8]) -> tuple[Network, PruningReport, GoalOutcome | None]:
        """As configured: to a goal, or by the rate. ``images``: training images for densities."""
        from picobnn.trainer.pruning import Scope

        in_words = self.config.prune.whole_words
        entry = find_method(self.config.prune.method)
        gauge = gauge_of(self.config, images)
        aim = aim_of(self.config, gauge)
        if aim is not None:
            return self._reach(entry, aim, gauge, Scope.WORDS if in_words else Scope.EVEN)
        scope = Scope.WORDS if in_words else Scope.LAYER if entry.ranks else Scope.EVEN
        return *self._removed(entry, self.config.prune.rate, scope), None

    def _reach(
        self, entry: MethodEntry, aim: Aim, gauge: Gauge | None, scope: Scope
    ) -> tuple[Network, PruningReport, GoalOutcome]:
        from picobnn.trainer.pruning.reach import reach

        dial, seed = entry.dial, self.config.prune.seed
        if dial is None:
            stays = 0.0 if gauge is None else gauge.figure(self.network)
            raise PicobnnError(
                ErrorId.PRUNING, f"{self.config.prune.method.value} removes nothing: it stays at {aim.show(stays)}.",
                where=aim.what, remedy="Choose another method, or leave the target out.",
            )  # fmt: skip

        def predict(setting: int) -> float:
            if gauge is None:
                return dial.share(self.network, setting)
            return gauge.predicted(sketch(entry, self.network, setting, scope, self.training, seed))

        def run(setting: int) -> tuple[tuple[Network, PruningReport], float]:
            small, report = self._removed(entry, dial.share(self.network, setting), scope)
            return (small, report), dial.removed(report) if gauge is None else gauge.figure(small)

        found = reach(predict, run, 0, dial.most(self.network), aim)
        goal = GoalOutcome(
            what=aim.what,
            target=aim.target,
            reached=found.figure,
            difference=aim.off(found.figure),
            basis="counted" if gauge is None else gauge.basis,
            met=aim.meets(found.figure),
        )
        return *found.result, goal

    def _removed(self, entry: MethodEntry, share: float, scope: Scope) -> tuple[Network, PruningReport]:
        """The network without ``share``. An impossible share is refused before anything begins."""
        from picobnn.trainer.pruning import PruningSettings, apply
        from picobnn.trainer.pruning import prune as prune_in_rounds

        section = self.config.prune
        goal = None if entry.dial is None else entry.dial.goal(self.network, share, scope)
        method = entry.make(section.seed, share)
        self.begin()
        if entry.ranks:
            settings = PruningSettings(share, section.rounds, scope)
            small, report = prune_in_rounds(self.network, method, settings, self.training, self.retrain)
        else:
            small, report = apply(self.network, method, goal, self.training)
        return as_network(small), report
