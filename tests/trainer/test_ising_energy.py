# SPDX-License-Identifier: Apache-2.0
"""The Ising energy and the evolution that lowers it: identities of methods.md 2.10, limits, and the search's worth."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.pruning import EvolutionForm, EvolutionSettings, Redundancy
from picobnn.trainer.pruning.differential_evolution import BinaryEvolution
from picobnn.trainer.pruning.ising import flip_to
from picobnn.trainer.pruning.ising_energy import (
    FLOOR_PENALTY,
    IsingEnergy,
    couplings,
    linear_for,
    map_entropy,
    redundancy,
)

seeds = st.integers(0, 2**31 - 1)


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _weights(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=_random(seed)) * 2 - 1


def _couplings(seed: int, widths: tuple[int, ...], fixed: int = 0, unconnected: float = -1.0) -> torch.Tensor:
    """Of random kernels, 3x3 with 12 inputs, and random activities."""
    generator = _random(seed)
    within = [redundancy(_weights(seed + i, width, 12, 3, 3), Redundancy.GAUSSIAN) for i, width in enumerate(widths)]
    edges = [(i, i + 1, torch.rand(width, generator=generator).double()) for i, width in enumerate(widths)]
    return couplings(within, edges if fixed else edges[:-1], fixed, unconnected)


def _states(seed: int, count: int, bits: int) -> torch.Tensor:
    return (torch.rand(count, bits, generator=_random(seed)) < 0.5).double()


def _every_state(bits: int) -> torch.Tensor:
    return (torch.arange(2**bits)[:, None] >> torch.arange(bits) & 1).double()


# ---- energy


def test_nothing_kept_costs_the_keep_floor_only() -> None:
    matrix = _couplings(1, (6, 5))
    assert float(IsingEnergy(matrix)(torch.zeros(1, 11))) == FLOOR_PENALTY * 11 * 0.1
    assert float(IsingEnergy(matrix, keep_floor=0.0)(torch.zeros(1, 11))) == 0.0


@pytest.mark.parametrize("value", [0.0, 0.25, 0.5])
def test_equal_couplings_give_the_parabola_exactly_with_its_minimum_at_half(value: float) -> None:
    bits = 12
    energy = IsingEnergy(torch.full((bits, bits), value - 1, dtype=torch.float64), keep_floor=0.0)
    states = _every_state(bits)
    kept = states.sum(1)
    assert torch.equal(energy(states), (1 - value) * (kept**2 - kept * bits))
    assert float(kept[energy(states).argmin()]) == bits / 2


@pytest.mark.parametrize("kept", [2, 4, 9])
def test_the_linear_coefficient_moves_the_minimum_to_any_count(kept: int) -> None:
    matrix = torch.full((15, 15), -0.75, dtype=torch.float64)
    for fixed in (0, 3):
        linear = linear_for(matrix, kept, fixed)
        energy = IsingEnergy(matrix, linear=linear, keep_floor=0.0, fixed=fixed)
        states = _every_state(15 - fixed)
        assert linear == pytest.approx(2 * 0.75 * (kept + fixed))
        assert float(states[energy(states).argmin()].sum()) == kept


def test_duplicate_kernels_cost_twice_their_coupling_where_both_stay_and_nothing_elsewhere() -> None:
    weight = _weights(3, 6, 4, 3, 3)
    alike = redundancy(weight, Redundancy.GAUSSIAN)
    apart = float(alike[1, 4])
    assert 0 < apart <= 0.5
    same = alike.clone()
    same[1, 4] = same[4, 1] = 0.0
    before = IsingEnergy(couplings([alike], []), linear=5.0)
    after = IsingEnergy(couplings([same], []), linear=5.0)
    states = _every_state(6)
    both = states[:, 1] * states[:, 4]
    torch.testing.assert_close(after(states) - before(states), 2 * apart * both, rtol=0, atol=1e-9)


@given(seeds, st.integers(0, 4), st.sampled_from([-1.0, 0.0]))
@settings(max_examples=15, deadline=None)
def test_flips_are_differences_of_energies_and_individuals_keep_their_own_bits(
    seed: int, fixed: int, unconnected: float
) -> None:
    """The release scores an individual with a mixture of all of them (methods.md 2.8, 2)."""
    matrix = _couplings(seed % 1000, (5, 4, 3), fixed, unconnected)
    energy = IsingEnergy(matrix, fixed=fixed, keep_floor=0.0)
    states = _states(seed, 7, 12)
    together = energy(states)
    for state, value in zip(states, together, strict=True):
        whole = torch.cat([state, torch.ones(fixed)]).double()
        by_hand = -sum(
            float(matrix[i, j]) for i, j in itertools.product(range(12 + fixed), repeat=2) if whole[i] and whole[j]
        ) - energy.linear * float(whole.sum())
        assert float(value) == pytest.approx(by_hand, abs=1e-9)
        assert float(energy(state[None])) == pytest.approx(by_hand, abs=1e-9)
        flipped = state.repeat(12, 1)
        flipped[range(12), range(12)] = 1 - state
        torch.testing.assert_close(energy(flipped) - value, energy.flips(state), rtol=0, atol=1e-9)


def test_couplings_stand_where_they_belong() -> None:
    matrix = couplings([torch.zeros(2, 2), torch.full((3, 3), 0.5)], [(0, 1, torch.tensor([0.2, 0.4]))], 1, 0.0)
    assert matrix[:2, :2].eq(-1).all()
    assert matrix[2:5, 2:5].eq(-0.5).all()
    assert matrix[:2, 2:5].tolist() == [pytest.approx([-0.8] * 3), pytest.approx([-0.6] * 3)]
    assert not matrix[2:5, :2].any()  # one direction
    assert not matrix[5].any()
    assert not matrix[:, 5].any()


# ---- coefficients


def _kl(weight: torch.Tensor, i: int, j: int) -> float:
    """KL(i || j) of torch's own Gaussians."""

    def gaussian(index: int) -> torch.distributions.MultivariateNormal:
        samples = weight[index].double().flatten(1)
        covariance = torch.cov(samples.T).reshape(samples.shape[1], samples.shape[1])
        ridge = 1e-4 * covariance.trace() / len(covariance)
        return torch.distributions.MultivariateNormal(
            samples.mean(0), covariance + ridge * torch.eye(len(covariance), dtype=torch.float64)
        )

    return float(torch.distributions.kl_divergence(gaussian(i), gaussian(j)))


@pytest.mark.parametrize("shape", [(5, 20, 3, 3), (5, 4, 3, 3), (6, 7, 1, 1)])
def test_gaussian_redundancy_is_the_symmetrised_divergence(shape: tuple[int, ...]) -> None:
    weight = _weights(7, *shape)
    pairs = list(itertools.combinations(range(shape[0]), 2))
    wanted = {pair: _kl(weight, *pair) + _kl(weight, *pair[::-1]) for pair in pairs}
    found = redundancy(weight, Redundancy.GAUSSIAN)
    for pair, divergence in wanted.items():
        assert float(found[pair]) == pytest.approx(divergence / max(wanted.values()) / 2, rel=1e-6)


def test_hamming_redundancy_counts_bits() -> None:
    weight = torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, -0.1], [-1.0, -1.0, -1.0, -1.0]])
    found = redundancy(weight, Redundancy.HAMMING)
    assert found.tolist() == [[0.0, 0.125, 0.5], [0.125, 0.0, 0.375], [0.5, 0.375, 0.0]]


@given(seeds, st.integers(1, 12), st.integers(1, 6), st.sampled_from([(), (1, 1), (3, 3), (5, 5)]))
@settings(max_examples=20, deadline=None)
def test_redundancy_is_symmetric_between_0_and_a_half_whatever_the_shape(
    seed: int, filters: int, inputs: int, kernel: tuple[int, ...]
) -> None:
    """One input channel, fewer inputs than taps and equal kernels included: no NaN, no singular matrix."""
    weight = _weights(seed, filters, inputs, *kernel)
    if filters > 2:
        weight[1] = weight[0]
    for measure in Redundancy:
        found = redundancy(weight, measure)
        assert found.dtype == torch.float64
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found, found.T)
        assert 0 <= float(found.min()) <= float(found.max()) <= 0.5
        assert not found.diagonal().any()
        if filters > 2:
            assert float(found[0, 1]) < 1e-9


@pytest.mark.parametrize("measure", list(Redundancy))
def test_kernels_are_not_scrambled(measure: Redundancy) -> None:
    """Swapping output kernels swaps rows and columns; the release mixes kernels with inputs (methods.md 2.8, 3)."""
    weight = _weights(11, 6, 4, 3, 3)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(redundancy(weight[order], measure), redundancy(weight, measure)[order][:, order])


def test_one_input_channel_leaves_the_distance_of_kernels() -> None:
    weight = _weights(2, 5, 1, 3, 3)
    found = redundancy(weight, Redundancy.GAUSSIAN)
    distance = torch.cdist(weight.double().flatten(1), weight.double().flatten(1)).square()
    torch.testing.assert_close(found, distance / distance.max() / 2, rtol=1e-6, atol=1e-12)


def test_entropy_is_that_of_the_mean_map() -> None:
    """A constant map says nothing, two equal halves one bit, four quarters two; the largest becomes 1."""
    maps = torch.zeros(3, 4, 2, 4)
    maps[:, 1, 0] = 1.0
    maps[:, 2] = torch.tensor([0.0, 0.3, 0.6, 1.0])
    maps[0, 3], maps[1, 3] = 0.9, 0.0  # changes with the image only: the mean map is constant
    assert map_entropy(maps).tolist() == pytest.approx([0.0, 0.5, 1.0, 0.0])
    assert not map_entropy(torch.ones(3, 4, 2, 2)).any()


def test_entropy_of_units_is_over_the_batch() -> None:
    units = torch.tensor([[0.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.0, 1.0, 0.1], [1.0, 1.0, 0.9]])
    assert map_entropy(units).tolist() == pytest.approx([2 / 3, 0.0, 1.0])


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_entropy_matches_a_histogram_made_by_hand(seed: int) -> None:
    maps = torch.randn(4, 3, 5, 5, generator=_random(seed))
    mean = maps.double().mean(0).flatten(1)
    low, high = float(mean.min()), float(mean.max())
    wanted = []
    for row in mean.tolist():
        counts: dict[int, int] = {}
        for value in row:
            index = min(255, int((value - low) / (high - low) * 256))
            counts[index] = counts.get(index, 0) + 1
        wanted.append(-sum(n / 25 * math.log2(n / 25) for n in counts.values()))
    assert map_entropy(maps).tolist() == pytest.approx([each / max(wanted) for each in wanted])


def test_the_filter_without_information_is_the_cheapest_to_drop_among_equals() -> None:
    within = [torch.full((4, 4), 0.3, dtype=torch.float64).fill_diagonal_(0.0), torch.zeros(3, 3)]
    energy = IsingEnergy(couplings(within, [(0, 1, torch.tensor([0.7, 0.7, 0.0, 0.7]))]))
    assert int(energy.flips(torch.ones(7))[:4].argmin()) == 2


# ---- evolution


@given(seeds, st.sampled_from(list(EvolutionForm)), st.integers(4, 12))
@settings(max_examples=15, deadline=None)
def test_the_best_energy_never_rises(seed: int, form: EvolutionForm, population: int) -> None:
    energy = IsingEnergy(_couplings(seed % 1000, (6, 8)))
    search = BinaryEvolution(14, EvolutionSettings(population, form=form), _random(seed))
    search.score(energy)
    for _ in range(20):
        before = search.energies.clone()
        search.generation(energy)
        assert bool((search.energies <= before).all())
        torch.testing.assert_close(search.energies, energy(search.states))
        assert search.best_energy == float(energy(search.best[None])) == float(search.energies.min())


@pytest.mark.parametrize("form", list(EvolutionForm))
def test_evolution_beats_random_search_at_equal_evaluations(form: EvolutionForm) -> None:
    wins = 0
    for seed in range(10):
        energy = IsingEnergy(_couplings(seed, (20, 24, 16)))
        search = BinaryEvolution(60, EvolutionSettings(16, form=form), _random(seed))
        search.score(energy)
        for _ in range(100):
            search.generation(energy)
        wins += search.best_energy < float(energy(_states(seed + 99, 16 * 101, 60)).min())
    assert wins == 10


@pytest.mark.parametrize("bits", [10, pytest.param(16, marks=pytest.mark.slow)])
def test_evolution_finds_the_minimum_of_few_bits_in_most_of_20_runs(bits: int) -> None:
    found = 0
    for seed in range(20):
        energy = IsingEnergy(_couplings(seed, (bits // 2, bits - bits // 2)))
        search = BinaryEvolution(bits, EvolutionSettings(32), _random(seed))
        search.score(energy)
        for _ in range(150):
            search.generation(energy)
        found += search.best_energy <= float(energy(_every_state(bits)).min()) + 1e-9
    assert found > 10


def test_the_release_form_drifts_to_zero_and_the_paper_form_does_not() -> None:
    """Density after one generation without selection: .4775 and .5 (methods.md 2.5)."""
    density = {}
    for form in EvolutionForm:
        search = BinaryEvolution(40_000, EvolutionSettings(8, form=form), _random(5))
        density[form] = float(search.cross(search.mutate()).mean())
    assert density[EvolutionForm.RELEASE] == pytest.approx(0.4775, abs=0.005)
    assert density[EvolutionForm.PAPER] == pytest.approx(0.5, abs=0.005)


def test_mutants_come_from_three_others() -> None:
    """In a population of one 1-state among 0-states: an individual never takes part in its own mutant."""
    search = BinaryEvolution(3000, EvolutionSettings(4), _random(2))
    search.states = torch.zeros(4, 3000, dtype=torch.float64)
    search.states[2] = 1.0
    for _ in range(20):
        assert not search.mutate()[2].any()
    search.states[2] = 0.0
    assert not search.mutate().any()


def test_evolution_follows_its_seed() -> None:
    def run(seed: int) -> torch.Tensor:
        energy = IsingEnergy(_couplings(1, (9, 9)))
        search = BinaryEvolution(18, EvolutionSettings(6), _random(seed))
        for _ in range(5):
            search.generation(energy)
        return search.states

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize("wrong", [{"population": 3}, {"start": 0.0}, {"factor": 1.5}])
def test_impossible_evolutions_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PicobnnError) as caught:
        EvolutionSettings(**wrong)  # type: ignore[arg-type]
    assert caught.value.error_id is ErrorId.PRUNING


# ---- repair


@given(seeds, st.integers(4, 14))
@settings(max_examples=20, deadline=None)
def test_flips_reach_the_count_by_the_least_energy_and_respect_floors(seed: int, keep: int) -> None:
    energy = IsingEnergy(_couplings(seed % 1000, (6, 8)), keep_floor=0.0)
    state = _states(seed, 1, 14)[0]
    state[:2], state[6:8] = 1.0, 1.0
    wanted = state.clone()
    while int(wanted.sum()) != keep:
        rises = keep > int(wanted.sum())
        left = wanted[:6].sum().expand(6), wanted[6:].sum().expand(8)
        allowed = wanted == 0 if rises else (wanted == 1) & (torch.cat(left) > 2)
        flips = wanted.repeat(14, 1)
        flips[range(14), range(14)] = 1 - wanted
        wanted = flips[int(energy(flips).masked_fill(~allowed, torch.inf).argmin())]
    assert torch.equal(flip_to(energy, state, (6, 8), keep, [2, 2]), wanted)
