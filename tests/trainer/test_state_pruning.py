# SPDX-License-Identifier: Apache-2.0
"""Pruning by an evolving state: counts, what rests, what freezes, and the directions that small real data show."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import Dataset
from picobnn.trainer.evaluate import images_tensor, predict
from picobnn.trainer.fit import FitOptions, StepRecord, seed_everything
from picobnn.trainer.models import Network, build_model
from picobnn.trainer.modes import probing
from picobnn.trainer.pruning import (
    EDropout,
    EvolutionSettings,
    GeneralDomain,
    IsingPruning,
    Ones,
    PruningSettings,
    Quota,
    RandomState,
    Redundancy,
    Scope,
    SearchSettings,
    Training,
    apply,
    find_filters,
    prune,
    set_masks,
    training_on,
)
from picobnn.trainer.pruning.edropout import margin_energy
from picobnn.trainer.pruning.filter_states import Allowed, FilterStates
from picobnn.trainer.pruning.state_pruning import StatePruning
from picobnn.trainer.step import MemoryFormat, Precision, cross_entropy
from tests.support.random_networks import random_images, random_network

_SMALL = {"widths": [8, 12, 12]}
_PINNED = FitOptions(
    epochs=1, batch_size=64, precision=Precision.FLOAT32, memory_format=MemoryFormat.CHANNELS_LAST, threads=1
)
_BRIEF = SearchSettings(EvolutionSettings(population=6))
_PER_LAYER = Quota({"layers.conv1": 3, "layers.conv3": 7})

METHODS: list[Callable[..., StatePruning]] = [
    IsingPruning,
    lambda *given, **named: IsingPruning(*given, measure=Redundancy.HAMMING, unconnected=0.0, **named),
    EDropout,
]
methods = pytest.mark.parametrize("make", METHODS, ids=["ising", "hamming", "edropout"])


@pytest.fixture(scope="module")
def some(digits: Dataset) -> Dataset:
    """Ten steps of 64 images."""
    return replace(digits, train=digits.train.take(torch.arange(640).numpy()))


def _network(seed: int = 0) -> Network:
    seed_everything(seed)
    return build_model("digits_cnn", _SMALL)


def _kept(model: nn.Module) -> list[int]:
    return [int(group.kept().sum()) for group in find_filters(model)]


def _masks(model: nn.Module) -> Tensor:
    return torch.cat([group.kept() for group in find_filters(model)])


class _Watch:
    """Sees each step from inside: masks of the forward pass, and parameters before and after the step."""

    def __init__(self) -> None:
        self.masks: list[Tensor] = []
        self.moved: list[dict[str, Tensor]] = []

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self.masks.append(_masks(model))
        self._before = {name: each.detach().clone() for name, each in model.named_parameters()}
        return cross_entropy(model, images, labels)

    def after_step(self, model: Network, _place: StepRecord) -> None:
        self.moved.append({name: each.detach() != self._before[name] for name, each in model.named_parameters()})

    def check_rest(self, widths: tuple[int, ...]) -> None:
        """No kernel, scale, shift or reader's weight of a filter that a step's mask removed has moved in it."""
        for mask, moved in zip(self.masks, self.moved, strict=True):
            parts = mask.split(widths)
            for number, part in enumerate(parts, start=1):
                gone = ~part
                assert not moved[f"layers.conv{number}.weight"][gone].any()
                assert not moved[f"layers.norm{number}.weight"][gone].any()
                assert not moved[f"layers.norm{number}.bias"][gone].any()
                if number < len(parts):
                    assert not moved[f"layers.conv{number + 1}.weight"][:, gone].any()
                assert moved[f"layers.conv{number}.weight"][part].any()
            assert not moved["layers.dense.weight"][:, (~parts[-1]).repeat_interleave(16)].any()


@methods
def test_only_kept_filters_learn_and_the_frozen_state_stays(make: Callable[..., StatePruning], some: Dataset) -> None:
    watch = _Watch()
    method = make(replace(_BRIEF, latest=0.7), after_step=[watch.after_step])
    model = _network()
    method.prepare(model)
    method.run(model, None, training_on(some, _PINNED, objective=watch.objective))
    watch.check_rest((8, 12, 12))
    assert method.result is not None
    assert method.result.steps == 7 == len(method.result.energies)
    assert len({tuple(mask.tolist()) for mask in watch.masks[:7]}) > 1  # pruned ones returned, others went
    assert all(torch.equal(mask, _masks(model)) for mask in watch.masks[7:])
    assert len(watch.masks) == 10
    assert method.result.kept == int(_masks(model).sum())
    small, report = method.finish(model)
    assert torch.equal(predict(small, some.test.images), predict(model, some.test.images))
    assert [layer.kept for layer in report.layers] == _kept(model) == list(small.config.widths)
    assert report.method == method.name


@methods
@pytest.mark.parametrize("goal", [Quota(15), Quota(25), _PER_LAYER])
def test_quotas_are_met_exactly(make: Callable[..., StatePruning], goal: Quota, some: Dataset) -> None:
    watch = _Watch()
    training = training_on(some, _PINNED, objective=watch.objective)
    small, report = apply(_network(1), make(_BRIEF), goal, training)
    kept = [layer.kept for layer in report.layers]
    assert list(small.config.widths) == kept
    if isinstance(goal.remove, int):
        assert sum(kept) == 32 - goal.remove
        share = sum(kept) / 32 / 2
        assert all(count >= max(1, int(share * total)) for count, total in zip(kept, (8, 12, 12), strict=True))
    else:
        assert kept == [5, 12, 5]
        assert all([int(part.sum()) for part in mask.split((8, 12, 12))] == kept for mask in watch.masks)


@methods
def test_the_same_seeds_give_the_same_bits(make: Callable[..., StatePruning], some: Dataset) -> None:
    """A search without a seed of its own draws from the training's: that of the run repeats all of it."""

    def run(search: int | None, training: int) -> dict[str, Tensor]:
        model = _network(2)
        method = make(replace(_BRIEF, seed=search))
        method.prepare(model)
        method.run(model, Quota(12), training_on(some, replace(_PINNED, seed=training)))
        return model.state_dict()

    def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
        return all(torch.equal(value, other[name]) for name, value in one.items())

    first = run(None, 1)
    assert same(first, run(1, 1))
    assert not same(first, run(2, 1))


def test_a_state_that_stays_the_best_freezes_early(some: Dataset) -> None:
    """With its window of 1 step the search ends once a generation brings nothing; not before ``earliest``."""
    late = SearchSettings(EvolutionSettings(population=4), window=1, earliest=0.3, latest=1.0)
    method = IsingPruning(late)
    apply(_network(3), method, Quota({"layers.conv1": 7}), training_on(some, replace(_PINNED, epochs=4)))
    assert method.result is not None
    assert 12 <= method.result.steps < 40


def test_the_linear_coefficient_sets_how_many_stay(some: Dataset) -> None:
    kept = []
    for linear in (0.4, 1.0, 1.6):
        method = IsingPruning(SearchSettings(EvolutionSettings(population=32), latest=1.0), linear=linear)
        _, report = apply(_network(), method, None, training_on(some, replace(_PINNED, epochs=3)))
        kept.append(sum(layer.kept for layer in report.layers))
    assert kept[0] < kept[1] < kept[2]


def test_rounds_work_with_a_method_that_trains(some: Dataset) -> None:
    small, report = prune(
        _network(), IsingPruning(_BRIEF), PruningSettings(0.5, rounds=2, scope=Scope.GLOBAL), training_on(some, _PINNED)
    )
    assert report.filters_removed == 0.5
    assert sum(small.config.widths) == 16


def test_two_values_are_learned_after_or_before_a_state_search(some: Dataset) -> None:
    training = training_on(some, _PINNED)
    fewer, _ = apply(_network(), IsingPruning(_BRIEF), Quota(12), training)
    after, report = apply(fewer, GeneralDomain(), Ones(0.4), training)
    assert after.config.widths == fewer.config.widths
    assert [layer.kept for layer in report.layers] == list(fewer.config.widths)
    before, _ = apply(_network(), GeneralDomain(), Ones(0.4), training)
    small, report = apply(before, EDropout(_BRIEF), Quota(12), training)
    assert sum(small.config.widths) == 20
    assert small.config.value_bits == before.config.value_bits == after.config.value_bits is not None


def test_the_control_keeps_the_same_counts_and_its_mask_from_the_first_step(some: Dataset) -> None:
    training = training_on(some, _PINNED)
    _, report = apply(_network(), IsingPruning(_BRIEF), Quota(12), training)
    masks = []
    for seed in (1, 2):
        watch = _Watch()
        counts = {layer.name: layer.kept for layer in report.layers}
        method = RandomState(counts, seed, after_step=[watch.after_step])
        model = _network()
        method.prepare(model)
        method.run(model, None, replace(training, objective=watch.objective))
        watch.check_rest((8, 12, 12))
        small, control = method.finish(model)
        assert control.layers == report.layers
        assert all(torch.equal(mask, _masks(model)) for mask in watch.masks)
        assert torch.equal(predict(small, some.test.images), predict(model, some.test.images))
        masks.append(_masks(model))
    assert not torch.equal(*masks)
    _, same = apply(_network(), RandomState.matching(report, 1), None, training)
    assert same.layers == report.layers


def test_what_cannot_be_done_is_refused(some: Dataset) -> None:
    training = training_on(some, _PINNED)
    too_many = {"layers.conv1": 9, "layers.conv2": 3, "layers.conv3": 3}
    for act in (
        lambda: apply(_network(), IsingPruning(_BRIEF), Quota(32), training),
        lambda: apply(_network(), EDropout(_BRIEF), Quota({"layers.conv2": 12}), training),
        lambda: apply(_network(), IsingPruning(_BRIEF), None, training_on(some, replace(_PINNED, epochs=0))),
        lambda: apply(_network(), EDropout(_BRIEF), None, Training(training.batches)),
        lambda: apply(_network(), RandomState(too_many), None, training),
        lambda: IsingPruning(linear=0.0),
        lambda: IsingPruning(unconnected=-0.5),
        lambda: SearchSettings(earliest=0.6, latest=0.5),
        lambda: SearchSettings(window=0),
    ):  # fmt: skip
        with pytest.raises(PicobnnError) as caught:
            act()
        assert caught.value.error_id is ErrorId.PRUNING


def test_the_margin_is_that_to_the_next_best_class() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.5], [0.0, 4.0, 7.0]])
    assert float(margin_energy(logits, torch.tensor([0, 1]))) == -10 * (0.5 - 3.0) / 2


def test_the_margin_energy_is_that_of_each_masked_network(some: Dataset) -> None:
    model = _network(4)
    states = FilterStates(model)
    images, labels = images_tensor(some.train.images[:32]), torch.from_numpy(some.train.labels[:32])
    allowed = Allowed(states, torch.Generator().manual_seed(1), [1, 1, 1])
    population = allowed((torch.rand(5, states.bits) < 0.5).double())
    before = {name: each.clone() for name, each in model.named_buffers() if "mask" not in name}
    found = EDropout().energy(model, states, images, labels, None)(population)
    for state, energy in zip(population, found, strict=True):
        set_masks(model, states.split(state))
        with probing(model), torch.no_grad():
            assert float(margin_energy(model(images), labels)) == float(energy)
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers() if name in before)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_the_energy_of_any_network_is_finite_and_leaves_it_alone(seed: int) -> None:
    """Hidden dense units, pools behind signs, one channel, one image side: every group that find_filters finds."""
    net = random_network(seed)
    images = images_tensor(random_images(seed, net.input_shape, 5))
    states = FilterStates(net.model)
    before = {name: value.clone() for name, value in net.model.state_dict().items()}
    for measure in Redundancy:
        energy = IsingPruning(measure=measure).energy(net.model, states, images, torch.zeros(5).long(), None)
        assert len(energy.couplings) >= states.bits + 1  # classes are entries that stay 1
        assert torch.isfinite(energy(torch.ones(1, states.bits))).all()
        assert torch.isfinite(energy.flips(torch.ones(states.bits))).all()
    assert all(torch.equal(value, net.model.state_dict()[name]) for name, value in before.items())


@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_allowed_states_have_the_counts_and_allowed_ones_are_left_alone(seed: int, extra: int) -> None:
    states = FilterStates(_network())
    generator = torch.Generator().manual_seed(seed)
    drawn = (torch.rand(9, 32, generator=generator) < torch.rand(9, 1, generator=generator)).double()
    total = min(32, 7 + extra)
    for keep in (None, total, {"layers.conv1": 8, "layers.conv2": 1, "layers.conv3": 5}):
        allowed = Allowed(states, generator, [2, 2, 3], keep)
        found = allowed(drawn)
        counts = [part.sum(1) for part in found.split(states.widths, dim=1)]
        if isinstance(keep, dict):
            assert [set(each.tolist()) for each in counts] == [{8.0}, {1.0}, {5.0}]
        else:
            assert all(bool((each >= floor).all()) for each, floor in zip(counts, (2, 2, 3), strict=True))
        if isinstance(keep, int):
            assert set(found.sum(1).tolist()) == {float(keep)}
        if keep is None:
            assert bool((found >= drawn).all())
        assert torch.equal(allowed(found), found)


def test_states_and_masks_are_each_other() -> None:
    model = _network()
    states = FilterStates(model)
    state = (torch.rand(states.bits, generator=torch.Generator().manual_seed(3)) < 0.6).double()
    states.write(state)
    assert torch.equal(_masks(model).double(), state)
    assert torch.equal(states.join(states.split(state)), state)
    assert states.sizes().split(states.widths)[1].tolist() == [8 * 9 + 2.0] * 12


def test_probing_uses_the_batch_and_keeps_everything(some: Dataset) -> None:
    model = _network().eval()
    images = images_tensor(some.train.images[:32])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with probing(model), torch.no_grad():
        probed = model(images)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert not any(module.training for module in model.modules())
    with torch.no_grad():
        assert torch.equal(deepcopy(model).train()(images), probed)
