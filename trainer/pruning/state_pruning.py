# SPDX-License-Identifier: Apache-2.0
"""Prune by a state that evolves while the network trains: the base of ``ising`` and ``edropout``.

Per minibatch one generation of differential evolution, then one training step of the network masked with the best
state; only kept filters learn, pruned ones may return. Once the state has settled it is frozen and training goes on
to the end (methods.md 2.6). Called through ``schedule.apply``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.fit import StepCallback, StepRecord
from picobnn.trainer.models import Network
from picobnn.trainer.pruning.differential_evolution import BinaryEvolution, Energy, EvolutionSettings
from picobnn.trainer.pruning.filter_states import Allowed, FilterStates, Keep, kept_after
from picobnn.trainer.pruning.masked_training import MaskedTraining
from picobnn.trainer.pruning.masks import set_masks
from picobnn.trainer.pruning.method import finish_masked, first_image
from picobnn.trainer.pruning.quota import Quota
from picobnn.trainer.pruning.report import PruningReport
from picobnn.trainer.pruning.training import Training
from picobnn.trainer.step import Objective


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How the state evolves.

    refresh_every: steps between two looks at the whole population with the network as it is then: energies of
    parents are old in between (the release never scores them again; methods.md 2.9 does). earliest and latest: shares
    of the training steps. From ``earliest`` on the state freezes when the best one has been the same for ``window``
    steps, or when all states have the same energy; at ``latest`` it freezes in any case (100 of 200 epochs in most of
    the authors' experiments). The release watches the best energy instead of the state; while energies are scored
    anew that changes all the time, for old energies both are the same.

    floor_share: what a layer keeps at least, as a share of what it would keep if all layers lost alike, 0 to 1; at
    least 1 filter, or the goal's floor. Inferred: the sources have no such floor, and a strong optimizer leaves single
    filters in the first layer. Counts per layer make it idle.

    seed: of the search's own draws; None takes that of the training's options, so that one seed repeats a run.
    """

    evolution: EvolutionSettings = field(default_factory=EvolutionSettings)
    refresh_every: int = 10
    window: int = 50
    earliest: float = 0.1
    latest: float = 0.5
    floor_share: float = 0.5
    seed: int | None = None

    def __post_init__(self) -> None:
        counts = min(self.refresh_every, self.window) >= 1 and 0 <= self.floor_share <= 1
        if not counts or not 0 <= self.earliest <= self.latest <= 1:
            raise PicobnnError(
                ErrorId.PRUNING, f"{self}.", where="state search",
                remedy="Counts are at least 1, shares 0 to 1, earliest not above latest.",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SearchResult:
    """steps: training steps until the state froze. kept: filters of the best state then; a repair to the goal's count
    comes after. energies: the best energy after each step."""

    steps: int
    kept: int
    energies: tuple[float, ...]


class StatePruning(ABC):
    """Goal None: the energy's own optimum. A :class:`Quota`: exactly the filters it leaves.

    ``after_step``: what else the training does after each step, for combinations. After ``run``, ``result`` says how
    the search went. Training starts from the weights that are there, random or trained (the authors start from random).
    """

    name: ClassVar[str]
    stays_valid: ClassVar[bool]
    """Whether an energy made at one step may score at later ones, until the next refresh."""
    expected_share: float = 0.5
    """Of the filters that stay without a goal, about."""

    def __init__(
        self,
        settings: SearchSettings,
        after_step: Sequence[StepCallback] = (),
    ) -> None:
        self.settings = settings
        self.result: SearchResult | None = None
        self._after_step = after_step

    @abstractmethod
    def energy(
        self, model: nn.Module, states: FilterStates, images: Tensor, labels: Tensor, keep: Keep | None
    ) -> Energy:
        """The energy as this minibatch sees it; it may write masks and leave them. ``keep``: what the goal leaves."""

    def search_among(self, keep: Keep | None) -> Keep | None:
        """The counts that every state of the search has; None: any."""
        return keep

    def settle(
        self,
        energy: Energy,  # noqa: ARG002
        states: FilterStates,  # noqa: ARG002
        state: Tensor,
        keep: Keep | None,  # noqa: ARG002
        floors: Sequence[int],  # noqa: ARG002
    ) -> Tensor:
        """The state to freeze, made from the best one."""
        return state

    def prepare(self, model: nn.Module) -> None:
        """Nothing to put in: every layer has its masks. Clears them."""
        set_masks(model, {})

    def run(self, model: nn.Module, goal: Quota | None, training: Training) -> None:
        """Search and train with the options of ``training``; afterwards the masks hold the frozen state.

        Raises PRUNING for a goal that the floor does not allow, and when there is not a single training step.
        """
        self._image = first_image(training.batches)
        seed = training.seed if self.settings.seed is None else self.settings.seed
        search = _Search(self, FilterStates(model), goal, training.objective, torch.Generator().manual_seed(seed))
        training.fit(model, objective=search, after_step=(search.after_step, *self._after_step))
        if search.result is None:
            raise PicobnnError(
                ErrorId.PRUNING, "there was no training step to search in.", where=self.name,
                remedy="Train for at least one epoch.",
            )  # fmt: skip
        self.result = search.result

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        return finish_masked(self.name, model, self._image)


class _Search(MaskedTraining):
    """One run: the population, and the training under its best state."""

    def __init__(
        self,
        method: StatePruning,
        states: FilterStates,
        goal: Quota | None,
        objective: Objective,
        generator: torch.Generator,
    ) -> None:
        super().__init__(states.groups, objective)
        settings = method.settings
        self.result: SearchResult | None = None
        self._method = method
        self._states = states
        self._settings = settings
        self._keep = None if goal is None else kept_after(goal, states)
        self._floors = _floors(states, method, goal, self._keep)
        Allowed(states, generator, self._floors, self._keep)  # refuses a goal that cannot be met before training starts
        allowed = Allowed(states, generator, self._floors, method.search_among(self._keep))
        self._evolution = BinaryEvolution(states.bits, settings.evolution, generator, allowed)
        self._energy: Energy | None = None
        self._energies: list[float] = []
        self._state = torch.ones(states.bits, dtype=torch.float64)
        self._unchanged = 0

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.result is None:
            self._evolve(model, images, labels)
        return super().__call__(model, images, labels)

    def after_step(self, model: Network, place: StepRecord) -> None:
        super().after_step(model, place)
        if self.result is not None:
            return
        done = place.step + 1
        settled = self._unchanged >= self._settings.window or self._evolution.is_uniform
        if done >= self._settings.latest * place.steps or (done >= self._settings.earliest * place.steps and settled):
            self._freeze()

    def _evolve(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        refresh = len(self._energies) % self._settings.refresh_every == 0
        if self._energy is None or refresh or not self._method.stays_valid:
            self._energy = self._method.energy(model, self._states, images, labels, self._keep)
        if refresh:
            self._evolution.score(self._energy)
        self._evolution.generation(self._energy)
        best = self._evolution.best
        self._unchanged = self._unchanged + 1 if torch.equal(best, self._state) else 0
        self._state = best.clone()
        self._energies.append(self._evolution.best_energy)
        self._states.write(best)

    def _freeze(self) -> None:
        assert self._energy is not None  # a step has been made
        best = self._evolution.best
        self.result = SearchResult(len(self._energies), int(best.sum()), tuple(self._energies))
        self._states.write(self._method.settle(self._energy, self._states, best.clone(), self._keep, self._floors))


def _floors(states: FilterStates, method: StatePruning, goal: Quota | None, keep: Keep | None) -> list[int]:
    """Filters that each layer keeps at least, by ``SearchSettings.floor_share``."""
    total = (
        method.expected_share * states.bits if keep is None else keep if isinstance(keep, int) else sum(keep.values())
    )
    least = 1 if goal is None else goal.floor
    even = method.settings.floor_share * total / states.bits
    return [min(width, max(least, int(even * width))) for width in states.widths]
