# SPDX-License-Identifier: Apache-2.0
"""Learned gates: gradient, identities, what each phase may touch, regularizers, distillation, counts.

The tests of methods.md 1.11; those that compare methods are in test_gates_directions.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from picobnn.codegen.ir import Shape
from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import Dataset, load_dataset
from picobnn.trainer.export import to_graph
from picobnn.trainer.fit import FitOptions, StepRecord, fit, seed_everything
from picobnn.trainer.layers import BinaryConv2d, BinaryLinear, BinaryWeightLayer, FilterGate, InputConv2d, PadMode
from picobnn.trainer.models import Network, build_model
from picobnn.trainer.pruning import (
    Distillation,
    FilterGroup,
    GateLoss,
    Gates,
    Phase,
    PruningReport,
    Quota,
    Regularizer,
    Scope,
    Statistics,
    Training,
    apply,
    find_filters,
    make_quota,
    training_on,
)
from picobnn.trainer.pruning.bottom_up import bottom_up
from picobnn.trainer.pruning.distillation import distillation_loss
from picobnn.trainer.pruning.gate_loss import GateObjective
from picobnn.trainer.pruning.gates import chosen, shift_to_count
from picobnn.trainer.step import MemoryFormat, Precision, cross_entropy

_WIDTHS = {"layers.conv1": 8, "layers.conv2": 16, "layers.conv3": 16}
_PINNED = FitOptions(
    epochs=1, batch_size=64, precision=Precision.FLOAT32, memory_format=MemoryFormat.CHANNELS_LAST, threads=1
)
_NO_RETRAINING = Phase(1e-4, 0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def dense(digits: Dataset) -> Network:
    torch.set_num_threads(1)
    seed_everything(0)
    model = build_model("digits_cnn", {"widths": list(_WIDTHS.values())})
    fit(model, digits, replace(_PINNED, epochs=4))
    return model


@pytest.fixture
def training(digits: Dataset) -> Training:
    return training_on(digits, _PINNED)


def _images(digits: Dataset, count: int = 64) -> tuple[Tensor, Tensor]:
    return (
        torch.from_numpy(digits.train.images[:count].transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(digits.train.labels[:count]),
    )


def _gated(model: Network, m: float = 0.5) -> tuple[Network, dict[str, FilterGate]]:
    """A copy with a gate on every layer that has filters, all of them at ``m``."""
    copy = deepcopy(model)
    gates = {}
    for group in find_filters(copy):
        group.layer.gate = gates[group.name] = FilterGate(torch.full((group.filters,), m))
    return copy, gates


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@given(
    kind=st.sampled_from(["input", "minus_one", "zero", "linear"]),
    m=st.lists(st.sampled_from([-2.0, -1.0, -0.999, -1e-4, 0.0, 1e-4, 0.5, 0.999, 1.0, 3.0]), min_size=1, max_size=7),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_the_gradient_is_half_the_product_with_the_binary_filter_inside_the_window(
    kind: str, m: list[float], seed: int
) -> None:
    """dL/dm = 1/2 [|m| < 1] <dL/dW_eff, Wh>. For L = sum(r * acc) the product is sum(r * acc without gates): the layer
    is linear in its weights. Integers below 2**24 throughout, so that equality is exact."""
    torch.manual_seed(seed)
    filters = len(m)
    layer: BinaryWeightLayer
    x = torch.randint(0, 2, (3, 5, 4, 4)) * 2.0 - 1
    if kind == "input":
        layer, x = InputConv2d(2, filters, 3, padding=1), torch.randint(0, 256, (3, 2, 4, 4), dtype=torch.uint8)
    elif kind == "linear":
        layer, x = BinaryLinear(80, filters), x.flatten(1)
    else:
        layer = BinaryConv2d(5, filters, 3, padding=1, pad_mode=PadMode(kind))
    full = layer(x).detach()
    layer.gate = FilterGate(torch.tensor(m))
    got = layer(x)
    direction = torch.randint(-8, 9, got.shape).float()
    (got * direction).sum().backward()
    each = (full * direction).sum(dim=[d for d in range(full.dim()) if d != 1])
    inside = torch.tensor([abs(value) < 1 for value in m])
    assert layer.gate.m.grad is not None
    assert torch.equal(layer.gate.m.grad, torch.where(inside, 0.5 * each, torch.zeros(filters)))
    kept = torch.tensor([value > 0 for value in m])
    assert torch.equal(layer.gate.kept(), kept)
    assert torch.equal(got.detach(), full * kept.view(1, -1, *([1] * (full.dim() - 2))))
    assert layer.weight.grad is not None
    assert not layer.weight.grad[~kept].any()


def test_gates_at_one_are_the_main_network_bit_for_bit(dense: Network, digits: Dataset) -> None:
    images, labels = _images(digits)
    main = deepcopy(dense)
    gated, _ = _gated(dense)
    for training in (False, True):
        assert torch.equal(gated.train(training)(images), main.train(training)(images))
    losses = [cross_entropy(model, images, labels)[0] for model in (main, gated)]
    for loss in losses:
        loss.backward()
    assert torch.equal(losses[0], losses[1])
    for name, parameter in main.named_parameters():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gated.get_parameter(name).grad)


def test_a_gate_at_or_below_zero_zeroes_its_filter(dense: Network, digits: Dataset) -> None:
    images, _ = _images(digits)
    gated, gates = _gated(dense)
    main = deepcopy(dense)
    for group in find_filters(main):
        keep = torch.ones(group.filters)
        keep[[1, 4]] = 0
        gates[group.name].m.data[1], gates[group.name].m.data[4] = -1.0, 0.0

        def zero(_m: nn.Module, _i: object, acc: Tensor, keep: Tensor = keep) -> Tensor:
            return acc * keep.view(1, -1, 1, 1)

        group.layer.register_forward_hook(zero)
    for training in (False, True):
        assert torch.equal(gated.train(training)(images), main.train(training)(images))


def test_gate_training_moves_nothing_but_gates(dense: Network, training: Training) -> None:
    """Without retraining, a whole run leaves every parameter as it was; statistics and masks change."""
    model = deepcopy(dense)
    places: list[StepRecord] = []

    def watch(watched: Network, place: StepRecord) -> None:
        assert sum(isinstance(module, FilterGate) for module in watched.modules()) == 1
        places.append(place)

    method = Gates(gates=Phase(1e-3, 1), retrain=_NO_RETRAINING, after_step=[watch])
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

    bottom_up(model, find_filters(model)[1:2], decide, _NO_RETRAINING, training)
    loss, _ = cross_entropy(model.train(), *_images(digits))
    loss.backward()
    gradient = model.layers.conv2.weight.grad
    assert not gradient[~kept].any()
    assert gradient[kept].flatten(1).any(dim=1).all()
    assert not model.layers.conv3.weight.grad[:, ~kept].any()


def test_masked_equals_compacted_and_counts_are_met(dense: Network, training: Training, digits: Dataset) -> None:
    quota = make_quota(_WIDTHS, _WIDTHS, 0.4, Scope.LAYER, 1)
    model = deepcopy(dense)
    method = Gates(gates=Phase(1e-3, 1), retrain=Phase(1e-3, 1))
    method.prepare(model)
    method.run(model, quota, training)
    small, report = method.finish(model)
    images, _ = _images(digits)
    with torch.no_grad():
        assert torch.equal(model.eval()(images), small.eval()(images))
    assert isinstance(quota.remove, dict)
    assert {layer.name: layer.total - layer.kept for layer in report.layers} == quota.remove
    assert report.filters_removed == pytest.approx(18 / 40)
    assert report.filters_removed_elsewhere == report.filters_removed
    assert 0.4 < report.macs_removed < 0.8


def test_the_first_layer_may_be_left_alone(dense: Network, training: Training) -> None:
    method = Gates(gates=Phase(1e-3, 1), retrain=_NO_RETRAINING, first_layer=False)
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


_POINTS = torch.tensor([-3.0, -1.0, -0.5, 0.0, 1e-4, 0.5, 1.0, 2.0])


@pytest.mark.parametrize(
    ("regularizer", "value", "gradient"),
    [
        (Regularizer.KEPT, 8.0, [0, 0, 0, 0, 1, 1, 0, 0]),
        (Regularizer.L1, 8.0001, [-1, -1, -1, 0, 1, 1, 1, 1]),
        (Regularizer.L0, 7.0, [0] * 8),
        (Regularizer.NONE, 0.0, [0] * 8),
    ],
)
def test_regularizers_and_their_gradients(regularizer: Regularizer, value: float, gradient: list[float]) -> None:
    m = _POINTS.clone().requires_grad_()
    result = regularizer(m)
    assert float(result.detach()) == pytest.approx(value)
    (result + 0 * m.sum()).backward()
    assert m.grad is not None
    assert m.grad.tolist() == gradient


def test_the_objective_is_the_sum_of_its_terms(dense: Network, digits: Dataset) -> None:
    """And distillation vanishes, exactly, while every gate is 1."""
    images, labels = _images(digits)
    for m, deleted in ((0.5, 0), (0.5, 3)):
        gated, gates = _gated(dense, m)
        gated.train()
        group = find_filters(gated)[1]
        gate = gates["layers.conv2"]
        gate.m.data[:deleted] = -0.25
        loss = GateLoss(Regularizer.KEPT, 0.01, 0.1, Distillation(2.0, 3.0), Statistics.BATCH)
        total, logits = GateObjective(loss, group, gate.m, dense)(gated, images, labels)
        plain, expected = cross_entropy(gated, images, labels)
        main = deepcopy(dense).train()(images).softmax(1)
        warm = deepcopy(dense).train()(images).div(3).softmax(1)
        distance = 9 * (warm * (warm.log() - expected.div(3).log_softmax(1))).sum(1).mean()
        assert torch.equal(logits, expected)
        assert (float(distance.detach()) > 1e-3) == (deleted > 0)
        terms = plain + 0.01 * 2 * (16 - deleted) + 0.05 * gate.m.square().sum() + 2 * distance
        assert float(total.detach()) == pytest.approx(float(terms.detach()), rel=1e-5)
        assert float(distillation_loss(main, main).detach()) == 0.0
    off = GateLoss(Regularizer.NONE, 1.0, 0.0, None, Statistics.BATCH)
    total, _ = GateObjective(off, group, gate.m, dense)(gated, images, labels)
    assert torch.equal(total, plain)


def test_with_batch_statistics_kept_gates_feel_next_to_nothing(dense: Network, digits: Dataset) -> None:
    """Why FIXED is the default: batch norm on the batch's own statistics takes out a filter's scale, and -1/+1 weights
    leave a derivative below float32's rounding."""
    images, labels = _images(digits)
    largest = {}
    for statistics in Statistics:
        gated, gates = _gated(dense)
        gate = gates["layers.conv2"]
        loss = GateLoss(Regularizer.NONE, 0.0, 0.0, None, statistics)
        value, _ = GateObjective(loss, find_filters(gated)[1], gate.m, dense)(gated.train(), images, labels)
        value.backward()
        assert gate.m.grad is not None
        largest[statistics] = float(gate.m.grad.abs().max())
    assert largest[Statistics.BATCH] < 1e-6
    assert largest[Statistics.FIXED] > 1e-3


def _kept_at(alpha: float, regularizer: Regularizer, model: Network, training: Training) -> tuple[int, Tensor]:
    method = Gates(
        GateLoss(regularizer, alpha, distillation=None), gates=Phase(1e-3), retrain=_NO_RETRAINING, first_layer=False,
        floor=2,
    )  # fmt: skip
    small, _ = apply(model, method, None, training)
    return sum(small.config.widths[1:]), torch.cat([gates.m for gates in method.trained.values()])


def test_the_released_regularizer_does_nothing(dense: Network, training: Training) -> None:
    assert torch.equal(*(_kept_at(alpha, Regularizer.L0, dense, training)[1] for alpha in (0.0, 1.0)))


@pytest.mark.slow
def test_a_larger_alpha_removes_more(dense: Network, digits: Dataset) -> None:
    training = training_on(digits, replace(_PINNED, epochs=3))
    counts = [_kept_at(alpha, Regularizer.KEPT, dense, training)[0] for alpha in (0.0, 1e-3, 1e-2, 1e-1, 1e1)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 4 < counts[0]  # everything but the floor


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


def test_gated_networks_are_not_exported(dense: Network) -> None:
    gated, _ = _gated(dense)
    with pytest.raises(PicobnnError) as caught:
        to_graph(gated, Shape(8, 8, 1), "gated")
    assert caught.value.error_id is ErrorId.PRUNING
