# SPDX-License-Identifier: Apache-2.0
"""Binary differential evolution: a population of bit vectors that lowers an energy, one generation at a time.

Of Salehinejad and Valaee's papers (arXiv 2006.04270, 2102.05437) only abstract and introduction could be read; the
paper form here is as remembered (methods.md 2.5, unconfirmed), the release form as read in their code. Invariant: a
child replaces its parent only when its energy is strictly lower, so that for one fixed energy the best one never
rises. Called by ``state_pruning``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from picobnn.errors import ErrorId, PicobnnError

Energy = Callable[[Tensor], Tensor]
"""States float64 (NS, D) of 0 and 1 to energies float64 (NS,); lower is better."""

Repair = Callable[[Tensor], Tensor]
"""States (NS, D) to the allowed states in their place; an allowed state comes back as it is."""


class EvolutionForm(Enum):
    """How a mutant is made of three others, a, b and c, bit by bit.

    PAPER: ``1 - a`` where b and c differ and a draw is below F, else a. RELEASE: a with probability F, else ``1 - a``
    where b equals c and 0 where not; it drifts to 0 (density .500 to .4775 in a generation without selection).
    """

    PAPER = "paper"
    RELEASE = "release"

    @property
    def crossover(self) -> float:
        """Probability of taking the mutant's bit, not the parent's."""
        return 0.5 if self is EvolutionForm.PAPER else 0.9


@dataclass(frozen=True, slots=True)
class EvolutionSettings:
    """``population``: states, 4 or more (8 in most of the authors' experiments). ``start``: probability of a 1 in the
    first states. ``factor``: F."""

    population: int = 8
    start: float = 0.5
    factor: float = 0.9
    form: EvolutionForm = EvolutionForm.PAPER

    def __post_init__(self) -> None:
        if self.population < 4 or not 0 < self.start <= 1 or not 0 <= self.factor <= 1:
            raise PicobnnError(
                ErrorId.PRUNING,
                f"a population of {self.population}, start {self.start:.3g}, factor {self.factor:.3g}.",
                where="differential evolution",
                remedy="Give 4 states or more, a start above 0 and at most 1, a factor from 0 to 1.",
            )


class BinaryEvolution:
    """``states`` float64 (NS, D) and their ``energies`` (NS,), infinite until :meth:`score` or the first generation.

    Draws come from ``generator`` on the CPU; energies may be computed elsewhere.
    """

    def __init__(
        self, bits: int, settings: EvolutionSettings, generator: torch.Generator, repair: Repair | None = None
    ) -> None:
        self._settings = settings
        self._generator = generator
        self._repair = repair
        shape = settings.population, bits
        self.states = self._allowed((self._draw(*shape) < settings.start).double())
        self.energies = torch.full((settings.population,), torch.inf, dtype=torch.float64)

    @property
    def best(self) -> Tensor:
        """The state (D,) with the least energy, the first of equals."""
        return self.states[int(self.energies.argmin())]

    @property
    def best_energy(self) -> float:
        return float(self.energies.min())

    @property
    def mean_energy(self) -> float:
        return float(self.energies.mean())

    @property
    def is_uniform(self) -> bool:
        """Whether all states have the same energy: best and mean no longer differ."""
        return bool((self.energies == self.energies[0]).all())

    def score(self, energy: Energy) -> None:
        """Give every state its energy anew; needed when the energy itself has changed."""
        self.energies = energy(self.states).double().cpu()

    def generation(self, energy: Energy) -> None:
        """One child per state; those with less energy than their parent take its place."""
        children = self._allowed(self.cross(self.mutate()))
        energies = energy(children).double().cpu()
        better = energies < self.energies
        self.states = torch.where(better[:, None], children, self.states)
        self.energies = torch.where(better, energies, self.energies)

    def mutate(self) -> Tensor:
        """Mutants (NS, D), each of three distinct states other than its own."""
        count, bits = self.states.shape
        order = self._draw(count, count).fill_diagonal_(2.0).argsort(dim=1)
        a, b, c = (self.states[order[:, i]] for i in range(3))
        drawn = self._draw(count, bits) < self._settings.factor
        if self._settings.form is EvolutionForm.PAPER:
            return torch.where((b != c) & drawn, 1 - a, a)
        return torch.where(drawn, a, torch.where(b == c, 1 - a, 0.0))

    def cross(self, mutants: Tensor) -> Tensor:
        """Children: each bit from the mutant with the form's probability, else from the parent."""
        return torch.where(self._draw(*self.states.shape) < self._settings.form.crossover, mutants, self.states)

    def _allowed(self, states: Tensor) -> Tensor:
        return states if self._repair is None else self._repair(states)

    def _draw(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator, dtype=torch.float64)
