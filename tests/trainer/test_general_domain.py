# SPDX-License-Identifier: Apache-2.0
"""{alpha, beta} weights: identities, the closed form, the constraint and its gradient, training, exact export."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from picobnn.codegen.ir import Shape
from picobnn.codegen.lower import compile_graph
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.reference import run_program
from picobnn.trainer.checkpoint import checkpoint_of, read_checkpoint, restore_model, write_checkpoint
from picobnn.trainer.data import Dataset
from picobnn.trainer.evaluate import predict
from picobnn.trainer.export import to_graph
from picobnn.trainer.fit import FitOptions, StepRecord, fit, seed_everything
from picobnn.trainer.layers import BinaryConv2d, BinaryLinear, PadMode, TwoValues, best_two_values, fractional_bits
from picobnn.trainer.models import Network, build_model, hidden_layers, valued_layers
from picobnn.trainer.pruning import (
    FilterScale,
    GeneralDomain,
    Ones,
    Quota,
    Training,
    apply,
    reestimate_norms,
    training_on,
)
from picobnn.trainer.pruning.general_domain import Constraint, Ramp, keep_largest, share_of_ones
from picobnn.trainer.step import MemoryFormat, Precision, cross_entropy

_SMALL = {"widths": [8, 16, 16]}
_PINNED = FitOptions(
    epochs=12, batch_size=64, precision=Precision.FLOAT32, memory_format=MemoryFormat.CHANNELS_LAST, threads=1
)


@pytest.fixture(scope="module")
def dense(digits: Dataset) -> Network:
    seed_everything(0)
    model = build_model("digits_cnn", _SMALL)
    fit(model, digits, replace(_PINNED, epochs=8))
    return model


@given(st.integers(1, 8), st.floats(0.01, 3), st.floats(-2, 2), st.integers(0, 2**16), st.sampled_from(list(PadMode)))
@settings(max_examples=40, deadline=None)
def test_layers_compute_the_integers_of_their_domain(
    shift: int, tau: float, phi: float, seed: int, pad_mode: PadMode
) -> None:
    """acc = 2**k * sum(x where u=1) + r * sum(x), padding included, in eval and in train mode."""
    torch.manual_seed(seed)
    conv = BinaryConv2d(5, 3, 3, padding=1, pad_mode=pad_mode)
    conv.learn_values(shift)
    values = conv.values
    assert values is not None
    values.start_from(phi - tau, phi + tau)
    rho = min(1.0, max(-1.0, (phi - tau) / (2 * tau)))
    assert abs(values.ratio - rho * 2**shift) <= 0.5 + 1e-4 * 2**shift
    x = torch.randint(0, 2, (2, 5, 6, 6)) * 2.0 - 1
    outside = -1.0 if pad_mode is PadMode.MINUS_ONE else 0.0
    padded = nn.functional.pad(x, (1, 1, 1, 1), value=outside).double()
    bits = (conv.weight >= 0).double()
    ones = nn.functional.conv2d(padded, bits)
    every = nn.functional.conv2d(padded, torch.ones_like(bits))
    wanted = 2.0**shift * ones + values.ratio * every
    with torch.no_grad():
        assert torch.equal(conv.eval()(x).double(), wanted)
        torch.testing.assert_close(conv.train()(x).double(), wanted, rtol=1e-5, atol=1e-3)


def test_the_first_values_are_minus_and_plus_one() -> None:
    values = TwoValues(4)
    assert values.ratio == -8
    assert values(torch.tensor([-1.0, 1.0])).tolist() == [-8.0, 8.0]


def test_tau_and_phi_get_the_gradient_of_rho_and_signs_that_of_the_scale() -> None:
    values = TwoValues(3)
    signs = torch.tensor([-1.0, 1.0, 1.0], requires_grad=True)
    values(signs).sum().backward()
    assert signs.grad is not None
    assert values.phi.grad is not None
    assert values.tau.grad is not None
    assert signs.grad.tolist() == [4.0, 4.0, 4.0]
    assert float(values.phi.grad) == pytest.approx(3 * 8 / 2)  # d rho / d phi = 1 / (2 tau)
    assert float(values.tau.grad) == pytest.approx(0.0)  # d rho / d tau = -phi / (2 tau^2)


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=9), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_the_closed_form_is_the_best_of_all_splits(numbers: list[int], ones: int) -> None:
    weights = torch.tensor(numbers, dtype=torch.float64)
    if len(set(numbers)) == 1:
        with pytest.raises(PicobnnError):
            best_two_values(weights)
        return

    def error(chosen: tuple[int, ...]) -> float:
        mask = torch.zeros(len(numbers), dtype=torch.bool)
        mask[list(chosen)] = True
        parts = (weights[mask], weights[~mask])
        return sum(float((part - part.mean()).square().sum()) for part in parts)

    def reached(alpha: float, beta: float, count: int | None) -> float:
        order = weights.sort().values
        if count is None:
            return float(torch.minimum((order - alpha).square(), (order - beta).square()).sum())
        split = len(order) - count
        return float((order[:split] - alpha).square().sum() + (order[split:] - beta).square().sum())

    indices = range(len(numbers))
    best = min(error(chosen) for size in range(1, len(numbers)) for chosen in combinations(indices, size))
    assert reached(*best_two_values(weights), None) == pytest.approx(best, abs=1e-9)
    count = min(ones, len(numbers) - 1)
    largest = error(tuple(torch.argsort(weights, descending=True)[:count].tolist()))
    assert reached(*best_two_values(weights, count), count) == pytest.approx(largest, abs=1e-9)


def test_the_closed_form_of_symmetric_weights_is_the_mean_magnitude() -> None:
    half = torch.rand(50, dtype=torch.float64)
    alpha, beta = best_two_values(torch.cat([half, -half]), 50)
    assert beta == pytest.approx(float(half.mean()))
    assert alpha == pytest.approx(-float(half.mean()))


def test_fractional_bits_resolve_the_share() -> None:
    assert [fractional_bits(share) for share in (0.5, 0.25, 0.1, 0.05, 0.01)] == [1, 2, 4, 5, 7]


@pytest.mark.parametrize("gamma", [0.02, 0.1, 0.7])
def test_the_penalty_is_the_part_gamma_of_the_total_and_pushes_every_binary_weight_alike(
    dense: Network, digits: Dataset, gamma: float
) -> None:
    model = build_model("digits_cnn", _SMALL)
    model.load_state_dict(dense.state_dict())
    GeneralDomain().prepare(model)
    images = torch.from_numpy(digits.train.images[:64].transpose(0, 3, 1, 2).copy())
    labels = torch.from_numpy(digits.train.labels[:64])
    model.train()
    plain, _ = cross_entropy(model, images, labels)
    total, _ = Constraint(Ones(0.1, gamma))(model, images, labels)
    assert float(((total - plain) / total).detach()) == pytest.approx(gamma, rel=1e-4)
    parameters = dict(model.named_parameters())
    both = torch.autograd.grad(total, list(parameters.values()))
    task = torch.autograd.grad(plain, list(parameters.values()))
    weights = [layer.weight for layer in hidden_layers(model)]
    count = sum(weight.numel() for weight in weights)
    excess = float(share_of_ones(weights).detach()) - 0.1
    push = gamma * float(plain.detach()) / (excess * (1 - gamma)) / (2 * count)
    for parameter, with_penalty, without in zip(parameters.values(), both, task, strict=True):
        wanted = push if any(parameter is weight for weight in weights) else 0.0
        torch.testing.assert_close(with_penalty - without, torch.full_like(without, wanted), rtol=1e-3, atol=1e-6)


def test_the_penalty_is_off_when_the_goal_is_met_or_is_one_half(dense: Network) -> None:
    images, labels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    plain, _ = cross_entropy(dense, images, labels)
    for goal in (Ones(0.5), Ones(0.1, 0.0)):
        assert float(Constraint(goal)(dense, images, labels)[0].detach()) == float(plain.detach())
    sparse = build_model("digits_cnn", _SMALL)
    for layer in hidden_layers(sparse):
        layer.weight.data.fill_(-0.5)
    plain, _ = cross_entropy(sparse, images, labels)
    assert float(Constraint(Ones(0.1, 0.5))(sparse, images, labels)[0].detach()) == float(plain.detach())


def test_a_ramp_lowers_the_share_from_the_first_one_to_the_goal() -> None:
    """What is above the goal falls with the cube of what is left of the ramp."""
    ramp, model = Ramp(Ones(0.1), 0.5), build_model("digits_cnn", _SMALL)
    weights = [layer.weight for layer in hidden_layers(model)]
    total = sum(weight.numel() for weight in weights)
    first = sum(int((weight >= 0).sum()) for weight in weights) / total
    for step, left in ((0, 0.98), (24, 0.5), (49, 0.0), (99, 0.0)):
        ramp(model, StepRecord(step, 100, 0.01))
        limit = 0.1 + left**3 * (first - 0.1)
        assert sum(int((weight >= 0).sum()) for weight in weights) == int(limit * total)
        for weight in weights:
            weight.data.uniform_(-1, 1)


@given(
    st.lists(
        st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=6), min_size=1, max_size=3
    ),
    st.integers(0, 18),
)
def test_the_projection_is_the_nearest_point_with_so_many_ones(values: list[list[float]], count: int) -> None:
    """The least of the ones change sides and go to the border; all others keep their value."""
    weights = [torch.tensor(each) for each in values]
    before = torch.cat(weights)
    keep_largest(weights, count)
    after = torch.cat(weights)
    ones = int((before >= 0).sum())
    assert int((after >= 0).sum()) == min(ones, count)
    moved = after != before
    assert bool(((before >= 0) & (after < 0) & (after > -1e-5))[moved].all())
    assert int(moved.sum()) == max(0, ones - count)
    if bool(moved.any()) and count:
        assert float(before[moved].max()) <= float(before[(before >= 0) & ~moved].min())


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(PicobnnError) as caught:
        Ones(share)
    assert caught.value.error_id is ErrorId.PRUNING


def _exported_exactly(model: Network, digits: Dataset, folder: Path) -> Program:
    """The program of a network that went through a file; both give its logits, bit for bit."""
    path = folder / "sparse.safetensors"
    write_checkpoint(checkpoint_of(model), path)
    again = restore_model(read_checkpoint(path), str(path))
    images = digits.test.images[:64]
    wanted = predict(model, images)
    assert torch.equal(predict(again, images), wanted)
    program = compile_graph(to_graph(again, Shape(8, 8, 1), "sparse"))
    logits = run_program(program, images)[-1]
    assert np.array_equal(logits.reshape(len(images), -1), np.asarray(wanted))
    return program


def test_training_reaches_the_share_and_exports_exactly(dense: Network, digits: Dataset, tmp_path) -> None:
    """The values leave -1 and +1 with alpha < 0 < beta and |alpha| << |beta|; torch = reference, logits and bits."""
    small, report = apply(dense, GeneralDomain(), Ones(0.1), training_on(digits, _PINNED))
    assert report.density is not None
    assert 0.09 < report.density <= 0.1
    assert all(layer.shift == 4 and -8 < layer.ratio <= 1 for layer in report.ones)
    program = _exported_exactly(small, digits, tmp_path)
    step = program.steps[1]
    assert isinstance(step, BinaryConv2dStep)
    assert step.domain.ratio * 2**4 == report.ones[0].ratio * 2**step.domain.shift


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.25, 0.1, 0.05, 0.03, 0.01])
def test_each_share_is_reached_and_too_small_a_penalty_leaves_it_far_above(
    dense: Network, digits: Dataset, share: float
) -> None:
    """methods.md 3.9: at the end within .01 of the goal, here from below. By the penalty 12 epochs are too few for any
    goal with the release's gamma (.475 for .25), let alone with a smaller one."""
    _, report = apply(dense, GeneralDomain(), Ones(share), training_on(digits, _PINNED))
    _, above = apply(dense, GeneralDomain(ramp=0), Ones(share, 1e-4), training_on(digits, _PINNED))
    assert report.density is not None
    assert above.density is not None
    assert share - min(0.01, share / 20) < report.density <= share
    assert above.density > 0.4


@pytest.mark.parametrize("ramp", [-0.1, 1.1])
def test_a_ramp_that_does_not_end_is_refused(ramp: float) -> None:
    with pytest.raises(PicobnnError) as caught:
        GeneralDomain(ramp=ramp)
    assert caught.value.error_id is ErrorId.PRUNING


def test_a_ramp_takes_no_penalty_share(dense: Network, digits: Dataset) -> None:
    with pytest.raises(PicobnnError) as caught:
        apply(dense, GeneralDomain(), Ones(0.1, 0.05), training_on(digits, _PINNED))
    assert caught.value.error_id is ErrorId.PRUNING


def test_it_combines_with_filters_removed_before(dense: Network, digits: Dataset) -> None:
    training = training_on(digits, replace(_PINNED, epochs=1))
    fewer, _ = apply(dense, FilterScale(), Quota(10), training)
    sparse, report = apply(fewer, GeneralDomain(), Ones(0.4), training)
    assert sparse.config.widths == fewer.config.widths
    assert sparse.config.value_bits == 4
    assert [layer.total for layer in report.ones] == [layer.weight.numel() for layer in hidden_layers(sparse)]


def test_the_head_may_have_two_values_too(dense: Network, digits: Dataset, tmp_path) -> None:
    training = training_on(digits, replace(_PINNED, epochs=2))
    sparse, report = apply(dense, GeneralDomain(head=True), Ones(0.2), training)
    layers = valued_layers(sparse)
    assert layers[:-1] == hidden_layers(sparse)
    assert [layer.total for layer in report.ones] == [layer.weight.numel() for layer in layers]
    assert sum(layer.ones for layer in report.ones) <= 0.2 * sum(layer.total for layer in report.ones)
    assert 0 < report.ones[-1].ones < report.ones[-1].total / 2

    program = _exported_exactly(sparse, digits, tmp_path)
    assert isinstance(program.steps[-1], BinaryDenseStep)
    assert program.steps[-1].domain != PLUS_MINUS_ONE


def test_a_head_that_gets_two_values_computes_the_same_logits_until_it_learns(dense: Network, digits: Dataset) -> None:
    """Up to batch norm's epsilon and the rounding of the last multiplier."""
    started = deepcopy(dense)
    GeneralDomain(head=True).prepare(started)
    ours, theirs = (model.layers.logits.to_float(predict(model, digits.val.images[:200])) for model in (started, dense))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    GeneralDomain(6).prepare(started)
    assert started.config.value_head
    assert all(layer.values is not None and int(layer.values.shift) == 6 for layer in valued_layers(started))


def test_statistics_are_those_of_the_last_values(dense: Network, digits: Dataset) -> None:
    """The values make a step of their grid behind the last batch."""

    def step_once(model: Network, place: StepRecord) -> None:
        if place.step + 1 == place.steps:
            for layer in hidden_layers(model):
                assert layer.values is not None
                layer.values.start_from(-0.2, 1.0)

    training = training_on(digits, replace(_PINNED, epochs=1))
    small, _ = apply(dense, GeneralDomain(after_step=[step_once]), Ones(0.3), training)
    expected = deepcopy(small)
    reestimate_norms(expected, training.batches)
    for name, value in expected.state_dict().items():
        assert torch.equal(small.state_dict()[name], value), name


def test_symmetric_values_stay_symmetric(dense: Network, digits: Dataset) -> None:
    _, report = apply(dense, GeneralDomain(symmetric=True), Ones(0.2), training_on(digits, replace(_PINNED, epochs=2)))
    assert all(layer.ratio == -(2 ** (layer.shift - 1)) for layer in report.ones)


def test_values_may_start_from_the_closed_form(dense: Network, digits: Dataset) -> None:
    """The means of the weights at or above 0 and of those below; statistics fit before the first step."""
    skewed = deepcopy(dense)
    for layer in hidden_layers(skewed):
        layer.weight.data = torch.where(layer.weight < 0, 0.2 * layer.weight, layer.weight).detach()
    started = deepcopy(skewed)
    method = GeneralDomain(closed_form=True)
    method.prepare(started)
    for layer, latent in zip(hidden_layers(started), hidden_layers(skewed), strict=True):
        weight = latent.weight.detach()
        alpha, beta = float(weight[weight < 0].mean()), float(weight[weight >= 0].mean())
        assert layer.values is not None
        assert -8 < layer.values.ratio == round(16 * alpha / (beta - alpha)) < 0
    training = training_on(digits, replace(_PINNED, epochs=0))
    expected = deepcopy(started)
    reestimate_norms(expected, training.batches)
    assert not torch.equal(started.layers.norm2.running_mean, expected.layers.norm2.running_mean)
    method.run(started, Ones(0.3), training)
    for name, value in expected.state_dict().items():
        assert torch.equal(started.state_dict()[name], value), name
    with pytest.raises(PicobnnError) as caught:
        GeneralDomain(symmetric=True, closed_form=True)
    assert caught.value.error_id is ErrorId.PRUNING


def test_what_has_no_hidden_layers_is_refused() -> None:
    with pytest.raises(PicobnnError) as caught:
        apply(nn.Identity(), GeneralDomain(), Ones(0.1), Training([]))
    assert caught.value.error_id is ErrorId.PRUNING


def test_values_beyond_float32_are_refused() -> None:
    with pytest.raises(PicobnnError) as caught:
        BinaryLinear(8192, 2).learn_values(12)
    assert caught.value.error_id is ErrorId.BAD_INPUT
