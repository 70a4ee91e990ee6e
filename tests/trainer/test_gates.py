# SPDX-License-Identifier: Apache-2.0
"""Learned gates: what each phase may touch, counts, ties and floors, refusals.

The tests of methods.md 1.11, with those of test_filter_gate.py and test_gate_loss.py; those that compare methods are in
test_gates_directions.py.
"""

from __future__ import annotations

from copy import deepcopy

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import Dataset
from picobnn.trainer.fit import StepRecord
from picobnn.trainer.layers import FilterGate
from picobnn.trainer.models import Network
from picobnn.trainer.pruning import (
    Distillation,
    FilterGroup,
    Gates,
    Phase,
    PruningReport,
    Quota,
    Scope,
    Training,
    apply,
    find_filters,
    make_quota,
)
from picobnn.trainer.pruning.bottom_up import bottom_up
from picobnn.trainer.pruning.gates import chosen, shift_to_count
from picobnn.trainer.step import cross_entropy
from tests.support.gated_networks import NO_RETRAINING, WIDTHS, images_of


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_gate_training_moves_nothing_but_gates(dense: Network, training: Training) -> None:
    """Without retraining, a whole run leaves every parameter as it was; statistics and masks change."""
    model = deepcopy(dense)
    places: list[StepRecord] = []

    def watch(watched: Network, place: StepRecord) -> None:
        assert sum(isinstance(module, FilterGate) for module in watched.modules()) == 1
        places.append(place)

    method = Gates(gates=Phase(1e-3, 1), retrain=NO_RETRAINING, after_step=[watch])
    method.prepare(model)
    method.run(model, None, training)
    assert [place.step for place in places] == 3 * list(range(places[0].steps))
    before = _parameters(dense)
    assert before.keys() == _parameters(model).keys()
    for name, value in _parameters(model).items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(isinstance(module, FilterGate) for module in model.modules())
    for group in find_filters(model):
        gates = method.trained[group.name]
        assert gates.m.abs().max() > 2e-4  # beyond the draw: they were trained
        assert torch.equal(gates.kept, group.kept())
        assert torch.equal(gates.kept, gates.m > 0)
        assert len(gates.records) == 1
    assert not torch.equal(model.layers.norm3.running_mean, dense.layers.norm3.running_mean)


def test_retraining_moves_only_the_layer_and_what_is_above(dense: Network, training: Training) -> None:
    model = deepcopy(dense)
    layers = find_filters(model)
    seen: list[dict[str, Tensor]] = []
    wanted = [torch.arange(group.filters) % 4 != 0 for group in layers]

    def decide(number: int, group: FilterGroup) -> Tensor:
        seen.append(_parameters(model))
        for below in range(number):
            assert torch.equal(find_filters(model)[below].kept(), wanted[below])
        assert bool(group.kept().all())
        return wanted[number]

    bottom_up(model, layers, decide, Phase(3e-3, 1), training)
    seen.append(_parameters(model))
    names = [str(number + 1) for number in range(len(layers))]
    for number in range(len(layers)):
        before, after = seen[number], seen[number + 1]
        for name, value in after.items():
            rests = any(name.startswith((f"layers.conv{x}.", f"layers.norm{x}.")) for x in names[:number])
            assert torch.equal(value, before[name]) == rests, (number, name)
        for below in range(number + 1):
            assert torch.equal(find_filters(model)[below].kept(), wanted[below])


def test_deleted_filters_get_no_gradient_in_retraining(dense: Network, training: Training, digits: Dataset) -> None:
    model = deepcopy(dense)
    kept = torch.arange(16) % 3 != 0

    def decide(_number: int, _group: FilterGroup) -> Tensor:
        return kept

    bottom_up(model, find_filters(model)[1:2], decide, NO_RETRAINING, training)
    loss, _ = cross_entropy(model.train(), *images_of(digits))
    loss.backward()
    gradient = model.layers.conv2.weight.grad
    assert not gradient[~kept].any()
    assert gradient[kept].flatten(1).any(dim=1).all()
    assert not model.layers.conv3.weight.grad[:, ~kept].any()


def test_masked_equals_compacted_and_counts_are_met(dense: Network, training: Training, digits: Dataset) -> None:
    quota = make_quota(WIDTHS, WIDTHS, 0.4, Scope.LAYER, 1)
    model = deepcopy(dense)
    method = Gates(gates=Phase(1e-3, 1), retrain=Phase(1e-3, 1))
    method.prepare(model)
    method.run(model, quota, training)
    small, report = method.finish(model)
    images, _ = images_of(digits)
    with torch.no_grad():
        assert torch.equal(model.eval()(images), small.eval()(images))
    assert isinstance(quota.remove, dict)
    assert {layer.name: layer.total - layer.kept for layer in report.layers} == quota.remove
    assert report.filters_removed == pytest.approx(18 / 40)
    assert report.filters_removed_elsewhere == report.filters_removed
    assert 0.4 < report.macs_removed < 0.8


def test_the_first_layer_may_be_left_alone(dense: Network, training: Training) -> None:
    method = Gates(gates=Phase(1e-3, 1), retrain=NO_RETRAINING, first_layer=False)
    small, report = apply(dense, method, Quota({"layers.conv2": 4, "layers.conv3": 8}), training)
    assert small.config.widths == (8, 12, 8)
    assert report.fixed == ("layers.conv1",)
    assert report.filters_removed == pytest.approx(12 / 40)
    assert report.filters_removed_elsewhere == pytest.approx(12 / 32)
    assert PruningReport.then(report, report).fixed == report.fixed
    assert list(method.trained) == ["layers.conv2", "layers.conv3"]


def test_the_same_options_give_the_same_bits(dense: Network, training: Training) -> None:
    runs = []
    for _ in range(2):
        method = Gates(gates=Phase(1e-3, 1), retrain=Phase(1e-3, 1), first_layer=False)
        small, _ = apply(dense, method, None, training)
        runs.append((small.state_dict(), method.trained["layers.conv3"].m))
    assert torch.equal(runs[0][1], runs[1][1])
    assert all(torch.equal(value, runs[1][0][name]) for name, value in runs[0][0].items())


@given(
    m=st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=12, unique=True).filter(
        lambda values: len({round(value, 3) for value in values}) == len(values)
    ),
    part=st.floats(0, 1),
)
@settings(deadline=None, max_examples=80)
def test_shifted_gates_keep_order_and_delete_the_asked_count(m: list[float], part: float) -> None:
    removed = round(part * len(m))
    gates = torch.tensor(m)
    shift_to_count(gates, removed)
    assert int((gates <= 0).sum()) == removed
    assert gates.argsort().tolist() == torch.tensor(m).argsort().tolist()
    assert torch.equal(chosen(gates, removed, 1), gates > 0)


def test_ties_and_floors_are_settled_by_position() -> None:
    assert chosen(torch.zeros(4), 2, 1).tolist() == [True, True, False, False]
    assert chosen(torch.tensor([-3.0, -1.0, -2.0]), None, 2).tolist() == [False, True, True]
    assert chosen(torch.tensor([3.0, 1.0, -2.0]), None, 1).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("method", "goal"),
    [
        (Gates(), Quota(10)),
        (Gates(first_layer=False), Quota({"layers.conv1": 1})),
        (Gates(), Quota({"layers.conv2": 16})),
        (Gates(), Quota({"layers.conv2": 14}, floor=3)),
        (Gates(), Quota({"layers.nothing": 1})),
    ],
)
def test_impossible_goals_are_refused(dense: Network, training: Training, method: Gates, goal: Quota) -> None:
    with pytest.raises(PicobnnError) as caught:
        apply(dense, method, goal, training)
    assert caught.value.error_id is ErrorId.PRUNING


def test_what_has_no_layers_to_gate_is_refused(training: Training) -> None:
    with pytest.raises(PicobnnError) as caught:
        apply(nn.Identity(), Gates(), None, training)
    assert caught.value.error_id is ErrorId.PRUNING
    for weight, temperature in ((-1.0, 1.0), (1.0, 0.0)):
        with pytest.raises(PicobnnError) as caught:
            Distillation(weight, temperature)
        assert caught.value.error_id is ErrorId.PRUNING
