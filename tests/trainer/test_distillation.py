# SPDX-License-Identifier: Apache-2.0
"""Training beside a better network: what the loss is made of, and that the better one stays as it is."""

from __future__ import annotations

from copy import deepcopy

import torch

from picobnn.trainer.data import Dataset
from picobnn.trainer.fit import seed_everything
from picobnn.trainer.models import Network, build_model
from picobnn.trainer.pruning import Distillation, Distilled, training_batches
from picobnn.trainer.pruning.distillation import distillation_loss
from picobnn.trainer.step import cross_entropy

_SMALL = {"widths": [8, 16, 16]}


def _network(seed: int) -> Network:
    seed_everything(seed)
    return build_model("digits_cnn", _SMALL).train()


def test_the_loss_is_the_task_and_the_weighted_distance_from_the_main_network(digits: Dataset) -> None:
    images, labels = training_batches(digits, images=64)[0]
    model, main = _network(0), _network(1)
    task, logits = cross_entropy(model, images, labels)
    distance = distillation_loss(logits, main(images).float(), 2.0)
    loss, ours = Distilled(main, Distillation(0.5, 2.0))(model, images, labels)
    assert torch.equal(ours, logits)
    torch.testing.assert_close(loss, task + 0.5 * distance)
    same, _ = Distilled(model)(model, images, labels)
    torch.testing.assert_close(same, task)


def test_the_main_network_is_copied_and_gets_no_gradient(digits: Dataset) -> None:
    images, labels = training_batches(digits, images=64)[0]
    model, main = _network(0), _network(1)
    objective = Distilled(main)
    before = objective(model, images, labels)[0].detach()
    with torch.no_grad():
        for parameter in main.parameters():
            parameter.mul_(-1)
    kept = deepcopy(main.state_dict())
    objective(model, images, labels)[0].backward()
    torch.testing.assert_close(objective(model, images, labels)[0].detach(), before)
    assert all(parameter.grad is None for parameter in main.parameters())
    assert all(torch.equal(value, kept[name]) for name, value in main.state_dict().items())
    assert any(parameter.grad is not None for parameter in model.parameters())
