# SPDX-License-Identifier: Apache-2.0
"""What gates minimise: regularizers and their gradients, the sum of all terms, statistics, the strength alpha."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from picobnn.trainer.data import Dataset
from picobnn.trainer.models import Network
from picobnn.trainer.pruning import (
    Distillation,
    GateLoss,
    Gates,
    Phase,
    Regularizer,
    Statistics,
    Training,
    apply,
    find_filters,
    training_on,
)
from picobnn.trainer.pruning.distillation import distillation_loss
from picobnn.trainer.pruning.gate_loss import GateObjective
from picobnn.trainer.step import cross_entropy
from tests.support.gated_networks import NO_RETRAINING, PINNED, images_of, with_gates

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
    images, labels = images_of(digits)
    for m, deleted in ((0.5, 0), (0.5, 3)):
        gated, gates = with_gates(dense, m)
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


def test_gates_without_a_teacher_of_their_own_train_for_what_the_training_is_for(
    dense: Network, digits: Dataset
) -> None:
    images, labels = images_of(digits)
    gated, gates = with_gates(dense, 0.5)
    gated.train()
    group, m = find_filters(gated)[1], gates["layers.conv2"].m

    def doubled(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = cross_entropy(model, images, labels)
        return 2 * loss, logits

    plain, _ = cross_entropy(gated, images, labels)
    for teacher, factor in ((None, 2), (Distillation(), 1)):
        loss = GateLoss(Regularizer.NONE, 1.0, 0.0, teacher, Statistics.BATCH)
        total, _ = GateObjective(loss, group, m, dense, doubled)(gated, images, labels)
        torch.testing.assert_close(total, factor * plain)


def test_with_batch_statistics_kept_gates_feel_next_to_nothing(dense: Network, digits: Dataset) -> None:
    """Why FIXED is the default: batch norm on the batch's own statistics takes out a filter's scale, and -1/+1 weights
    leave a derivative below float32's rounding."""
    images, labels = images_of(digits)
    largest = {}
    for statistics in Statistics:
        gated, gates = with_gates(dense)
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
        GateLoss(regularizer, alpha, distillation=None), gates=Phase(1e-3), retrain=NO_RETRAINING, first_layer=False,
        floor=2,
    )  # fmt: skip
    small, _ = apply(model, method, None, training)
    return sum(small.config.widths[1:]), torch.cat([gates.m for gates in method.trained.values()])


def test_the_released_regularizer_does_nothing(dense: Network, training: Training) -> None:
    assert torch.equal(*(_kept_at(alpha, Regularizer.L0, dense, training)[1] for alpha in (0.0, 1.0)))


@pytest.mark.slow
def test_a_larger_alpha_removes_more(dense: Network, digits: Dataset) -> None:
    training = training_on(digits, replace(PINNED, epochs=3))
    counts = [_kept_at(alpha, Regularizer.KEPT, dense, training)[0] for alpha in (0.0, 1e-3, 1e-2, 1e-1, 1e1)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 4 < counts[0]  # everything but the floor
