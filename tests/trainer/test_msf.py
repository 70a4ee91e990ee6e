# SPDX-License-Identifier: Apache-2.0
"""MSF-Layerwise and MSF-Cascade: their rules by definition, and what each ranks on."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import Dataset
from picobnn.trainer.fit import FitOptions
from picobnn.trainer.models import Network, build_model
from picobnn.trainer.pruning import (
    MsfCascade,
    MsfLayerwise,
    Phase,
    Quota,
    Rule,
    Scope,
    Training,
    apply,
    choose_kept,
    find_filters,
    make_quota,
    training_on,
)
from picobnn.trainer.pruning.msf import agreement, deletion_order, filter_scales
from picobnn.trainer.step import MemoryFormat, Precision

_WIDTHS = {"layers.conv1": 8, "layers.conv2": 16, "layers.conv3": 16}


@pytest.fixture
def training(digits: Dataset) -> Training:
    options = FitOptions(
        epochs=1, batch_size=64, precision=Precision.FLOAT32, memory_format=MemoryFormat.CHANNELS_LAST, threads=1
    )
    return training_on(digits, options)


@pytest.fixture
def model() -> Network:
    torch.manual_seed(3)
    return build_model("digits_cnn", {"widths": list(_WIDTHS.values())}).eval()


def test_scales_are_the_mean_magnitude_of_centred_clipped_weights() -> None:
    weight = torch.randn(5, 4, 3, 3) * 2
    latent = weight.double().numpy()
    centred = np.clip(latent - latent.mean(axis=1, keepdims=True), -1, 1)
    np.testing.assert_allclose(filter_scales(weight).numpy(), np.abs(centred).mean(axis=(1, 2, 3)), rtol=1e-5)
    assert filter_scales(torch.full((2, 1, 3, 3), -0.5)).tolist() == [0.5, 0.5]
    assert Rule.SCALE.scores(weight).argsort().tolist() == filter_scales(weight).argsort().tolist()


def test_agreement_counts_equal_bits_and_may_count_flips() -> None:
    weight = torch.tensor([[1.0, 1, -1, 1], [-1, 1, -1, 1], [-1, -1, 1, -1]])
    assert agreement(weight, opposite=False).tolist() == [[0, 0.75, 0], [0.75, 0, 0.25], [0, 0.25, 0]]
    assert agreement(weight, opposite=True).tolist() == [[0, 0.75, 1], [0.75, 0, 0.75], [1, 0.75, 0]]


@pytest.mark.parametrize("rule", [Rule.SIMILAR, Rule.SIMILAR_OR_OPPOSITE])
def test_doubles_go_first_the_weaker_of_each_pair(rule: Rule) -> None:
    torch.manual_seed(1)
    weight = torch.randn(8, 6, 3, 3) * 0.1
    weight[5] = weight[2] * 0.5
    weight[3] = -weight[6] * 2
    order = deletion_order(weight, opposite=rule is Rule.SIMILAR_OR_OPPOSITE)
    assert sorted(order.tolist()) == list(range(8))
    gone = order.argsort().tolist()
    if rule is Rule.SIMILAR:
        assert gone[0] == 5
    else:
        assert set(gone[:2]) == {5, 6}
    assert torch.equal(rule.scores(weight), order)


def test_one_filter_has_an_order_too() -> None:
    assert deletion_order(torch.ones(1, 3), opposite=False).tolist() == [0.0]


@pytest.mark.parametrize("rule", list(Rule))
def test_layerwise_ranks_every_layer_on_the_original_network(model: Network, training: Training, rule: Rule) -> None:
    quota = make_quota(_WIDTHS, _WIDTHS, 0.4, Scope.LAYER, 1)
    wanted = choose_kept({g.name: rule.scores(g.layer.weight) for g in find_filters(model)}, quota)
    changed = deepcopy(model)
    method = MsfLayerwise(rule, retrain=Phase(3e-2, 1))
    method.prepare(changed)
    method.run(changed, quota, training)
    for group in find_filters(changed):
        assert torch.equal(group.kept(), wanted[group.name])
    assert not torch.equal(changed.layers.conv1.weight, model.layers.conv1.weight)
    small, report = method.finish(changed)
    images = training.batches[0][0]  # type: ignore[index]
    with torch.no_grad():
        assert torch.equal(changed.eval()(images), small.eval()(images))
    assert {layer.name: layer.total - layer.kept for layer in report.layers} == quota.remove
    assert report.method == "msf_layerwise"


def test_without_retraining_layerwise_and_cascade_agree_and_with_it_cascade_looks_again(
    model: Network, training: Training
) -> None:
    quota = make_quota(_WIDTHS, _WIDTHS, 0.4, Scope.LAYER, 1)

    def kept(method: MsfLayerwise | MsfCascade) -> list[torch.Tensor]:
        changed = deepcopy(model)
        method.prepare(changed)
        method.run(changed, quota, training)
        return [group.kept() for group in find_filters(changed)]

    layerwise = kept(MsfLayerwise(retrain=None))
    assert all(map(torch.equal, layerwise, kept(MsfCascade(retrain=Phase(1e-4, 0)))))
    again = kept(MsfCascade(retrain=Phase(3e-2, 1)))
    assert torch.equal(again[0], layerwise[0])
    assert not torch.equal(again[2], layerwise[2])


def test_cascade_may_leave_the_first_layer(model: Network, training: Training) -> None:
    method = MsfCascade(Rule.SIMILAR, retrain=Phase(1e-4, 0), first_layer=False)
    small, report = apply(model, method, Quota({"layers.conv3": 6}), training)
    assert small.config.widths == (8, 16, 10)
    assert report.fixed == ("layers.conv1",)


@pytest.mark.parametrize("method", [MsfLayerwise(), MsfCascade()])
def test_they_need_a_count_for_each_layer(model: Network, training: Training, method: MsfLayerwise) -> None:
    with pytest.raises(PicobnnError) as caught:
        apply(model, method, Quota(10), training)
    assert caught.value.error_id is ErrorId.PRUNING
