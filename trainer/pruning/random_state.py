# SPDX-License-Identifier: Apache-2.0
"""The control of every state search: random filters, as many per layer as it kept, fixed from the first step.

methods.md 2.10: the energy of ``ising`` fixes how many filters stay, so that only this comparison decides whether it
chooses any better than chance. Called by the benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import nn

from picobnn.trainer.fit import StepCallback
from picobnn.trainer.pruning.filter_states import Allowed, FilterStates
from picobnn.trainer.pruning.masked_training import MaskedTraining
from picobnn.trainer.pruning.masks import set_masks
from picobnn.trainer.pruning.method import finish_masked, first_image
from picobnn.trainer.pruning.report import PruningReport
from picobnn.trainer.pruning.training import Training


class RandomState:
    """``keep``: filters to keep per layer, every layer named. Trains like :class:`StatePruning`: masked, with what was
    removed at rest. ``after_step``: what else the training does after each step, for combinations."""

    name: ClassVar[str] = "random_state"

    def __init__(
        self,
        keep: Mapping[str, int],
        seed: int = 0,
        *,
        after_step: Sequence[StepCallback] = (),
    ) -> None:
        self._keep = dict(keep)
        self._seed = seed
        self._after_step = after_step

    @classmethod
    def matching(cls, report: PruningReport, seed: int = 0) -> RandomState:
        """The control of a pruning with this report: the same counts, drawn from ``seed``."""
        return cls({layer.name: layer.kept for layer in report.layers}, seed)

    def prepare(self, model: nn.Module) -> None:
        """Nothing to put in: every layer has its masks. Clears them."""
        set_masks(model, {})

    def run(self, model: nn.Module, goal: None, training: Training) -> None:  # noqa: ARG002
        """Draw the state and train under it with the options of ``training``. PRUNING error for impossible counts."""
        self._image = first_image(training.batches)
        states = FilterStates(model)
        allowed = Allowed(states, torch.Generator().manual_seed(self._seed), [1] * len(states.widths), self._keep)
        states.write(allowed(torch.zeros(1, states.bits, dtype=torch.float64))[0])
        steps = MaskedTraining(states.groups, training.objective)
        training.fit(model, objective=steps, after_step=(steps.after_step, *self._after_step))

    def finish(self, model: nn.Module) -> tuple[nn.Module, PruningReport]:
        return finish_masked(self.name, model, self._image)
