# SPDX-License-Identifier: Apache-2.0
"""Ising-energy pruning: keep kernels that differ from each other and whose maps carry information, by statistics alone.

IPruning (Salehinejad and Valaee, arXiv 2102.05437), methods.md 2: energy in ``ising_energy``, search in
``differential_evolution``, training in ``state_pruning``. Half of the filters go by the energy's own make; whether it
chooses well is only seen beside ``random_state``, the control with the same counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.fit import StepCallback
from picobnn.trainer.modes import probing
from picobnn.trainer.pruning.differential_evolution import Energy, EvolutionSettings
from picobnn.trainer.pruning.filter_states import FilterStates, Keep
from picobnn.trainer.pruning.ising_energy import (
    IsingEnergy,
    Redundancy,
    couplings,
    linear_for,
    map_entropy,
    redundancy,
)
from picobnn.trainer.pruning.state_pruning import SearchSettings, StatePruning

POPULATION = 32
"""States of the release's code; scoring one costs nothing beside a training step."""


class IsingPruning(StatePruning):
    """``linear``: the linear coefficient in units of the release's, above 0; for equal couplings ``linear * D / 2``
    filters stay. A quota sets it instead, so that its count is the optimum of equal couplings; where it gives the count
    of all layers together, the exact count is reached at the end by the flips that raise the energy least (inferred),
    and where it gives each layer's, the search stays inside those counts.

    ``unconnected``: what pairs of filters without a coefficient carry, -1 (the release) or 0 (perhaps the paper). With
    -1 a filter of the first layer, with the fewest edges, costs most whatever the data, and a good search empties that
    layer down to its floor; with 0 layers balance (measured on fresh networks of 16-32-32 and 32-64-128 filters).
    ``keep_floor``: share of the parameters below which the energy explodes. Kernels and maps are looked at once in
    ``settings.refresh_every`` steps, maps in front of the sign, of the network without masks, on that minibatch: the
    energy stands still in between, so that no parent's energy is old.
    """

    name: ClassVar[str] = "ising"
    stays_valid: ClassVar[bool] = True

    def __init__(
        self,
        settings: SearchSettings | None = None,
        *,
        measure: Redundancy = Redundancy.GAUSSIAN,
        linear: float = 1.0,
        unconnected: float = -1.0,
        keep_floor: float = 0.1,
        after_step: Sequence[StepCallback] = (),
    ) -> None:
        if linear <= 0 or unconnected not in (-1.0, 0.0) or not 0 <= keep_floor < 1:
            raise PicobnnError(
                ErrorId.PRUNING, f"linear {linear:.3g}, unconnected {unconnected:.3g}, keep floor {keep_floor:.3g}.",
                where="Ising energy", remedy="linear is above 0, unconnected -1 or 0, the keep floor 0 to below 1.",
            )  # fmt: skip
        chosen = settings or SearchSettings(EvolutionSettings(population=POPULATION))
        super().__init__(chosen, after_step)
        self._measure = measure
        self._linear = linear
        self.expected_share = min(1.0, linear / 2)
        self._unconnected = unconnected
        self._keep_floor = keep_floor

    def energy(
        self, model: nn.Module, states: FilterStates, images: Tensor, labels: Tensor, keep: Keep | None  # noqa: ARG002
    ) -> IsingEnergy:  # fmt: skip
        """The energy of these weights and images. Classes, which a state of the release has as entries that are always
        1, are fixed entries here: the last layer's maps act through them."""
        index = {id(group.layer): number for number, group in enumerate(states.groups)}
        outputs = {id(r): r.weight.shape[0] for g in states.groups for r in g.readers if id(r) not in index}
        fixed = sum(outputs.values())
        entropies = [map_entropy(each) for each in _maps(model, states, images)]
        matrix = couplings(
            [redundancy(group.layer.weight, self._measure) for group in states.groups],
            [
                (source, index.get(id(reader), len(states.groups)), entropies[source])
                for source, group in enumerate(states.groups)
                for reader in group.readers
            ],
            fixed,
            self._unconnected,
        )
        if keep is None:
            linear = self._linear * linear_for(matrix, len(matrix) / 2)
        else:
            linear = linear_for(matrix, keep if isinstance(keep, int) else sum(keep.values()), fixed)
        return IsingEnergy(matrix, linear=linear, sizes=states.sizes(), keep_floor=self._keep_floor, fixed=fixed)

    def search_among(self, keep: Keep | None) -> Keep | None:
        return None if isinstance(keep, int) else keep

    def settle(
        self, energy: Energy, states: FilterStates, state: Tensor, keep: Keep | None, floors: Sequence[int]
    ) -> Tensor:
        if not isinstance(keep, int):
            return state
        assert isinstance(energy, IsingEnergy)  # made above
        return flip_to(energy, state, states.widths, keep, floors)


def flip_to(energy: IsingEnergy, state: Tensor, widths: Sequence[int], keep: int, floors: Sequence[int]) -> Tensor:
    """``state`` (D,) with exactly ``keep`` ones: one flip at a time, the one with the least energy after it, layer i
    of ``widths[i]`` filters never below ``floors[i]``."""
    state = state.clone()
    while int(state.sum()) != keep:
        present = float(state.sum()) > keep
        may = state > 0 if present else state == 0
        if present:
            parts = zip(state.split(list(widths)), floors, strict=True)
            may &= torch.cat([(part.sum() > floor).expand(len(part)) for part, floor in parts])
        chosen = int(energy.flips(state).masked_fill(~may, torch.inf).argmin())
        state[chosen] = 1 - state[chosen]
    return state


def _maps(model: nn.Module, states: FilterStates, images: Tensor) -> list[Tensor]:
    """What the sign behind each layer gets, (N, O, ...), in the network that keeps every filter."""
    states.write(torch.ones(states.bits))
    found: list[Tensor] = [torch.empty(0)] * len(states.groups)

    def take(number: int, _sign: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        found[number] = inputs[0]

    hooks = [group.signs[0].register_forward_hook(partial(take, number)) for number, group in enumerate(states.groups)]
    try:
        with probing(model), torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found
