# SPDX-License-Identifier: Apache-2.0
"""Compaction: the smaller network gives the masked network's integers, for all masks, shapes, paddings and scales."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.export import module_outputs, to_graph
from picobnn.trainer.layers import BinaryLinear, InputConv2d, LogitScale, Sign
from picobnn.trainer.models import build_model
from picobnn.trainer.pruning import compact, find_filters, set_masks
from tests.support.random_networks import random_images, random_network, random_norm

seeds = st.integers(0, 2**32 - 1)


def _random_masks(model: nn.Module, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    masks = {}
    for group in find_filters(model):
        mask = torch.from_numpy(rng.random(group.filters) < rng.uniform(0.1, 1.0))
        mask[int(rng.integers(group.filters))] = True
        masks[group.name] = mask
    return masks


def _logits(model: nn.Module, images: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))


@given(seed=seeds)
@settings(deadline=None, max_examples=60)
def test_compacted_equals_masked(seed):
    net = random_network(seed)
    images = random_images(seed, net.input_shape, 6)
    masks = _random_masks(net.model, np.random.default_rng(seed))
    before = _logits(net.model, images)
    set_masks(net.model, masks)
    masked = _logits(net.model, images)
    small = compact(net.model)
    assert torch.equal(_logits(small, images), masked)
    assert [group.filters for group in find_filters(small)] == [int(mask.sum()) for mask in masks.values()]
    assert all(bool(group.kept().all()) for group in find_filters(small))
    assert torch.equal(_logits(net.model, images), masked)
    set_masks(net.model, {})
    assert torch.equal(_logits(net.model, images), before)


@given(seed=seeds)
@settings(deadline=None, max_examples=10)
def test_every_kept_channel_is_the_same(seed):
    net = random_network(seed)
    images = random_images(seed, net.input_shape, 3)
    masks = _random_masks(net.model, np.random.default_rng(seed))
    set_masks(net.model, masks)
    masked = module_outputs(net.model, images)
    compacted = module_outputs(compact(net.model), images)
    for name, mask in masks.items():
        assert np.array_equal(compacted[name], masked[name][..., mask.numpy()])


@pytest.mark.parametrize("name", ["digits_cnn", "fmnist_cnn"])
def test_networks_are_rebuilt_from_their_configuration(name):
    torch.manual_seed(5)
    model = build_model(name)
    rng = np.random.default_rng(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            random_norm(module, rng, 200.0)
    model.eval()
    masks = _random_masks(model, rng)
    set_masks(model, masks)
    small = compact(model)
    widths = tuple(int(mask.sum()) for mask in masks.values())
    assert small.config.widths == widths
    assert not small.training
    again = build_model(name, small.config.as_dict()).eval()
    again.load_state_dict(small.state_dict())
    channels, height, width = model.input_shape
    images = torch.from_numpy(rng.integers(0, 256, (8, channels, height, width), dtype=np.uint8))
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


def test_without_masks_nothing_changes():
    net = random_network(11)
    small = compact(net.model)
    for key, value in net.model.state_dict().items():
        assert torch.equal(small.state_dict()[key], value)


def test_a_layer_cannot_lose_everything():
    net = random_network(11)
    group = find_filters(net.model)[0]
    with pytest.raises(PicobnnError) as caught:
        set_masks(net.model, {group.name: torch.zeros(group.filters, dtype=torch.bool)})
    assert caught.value.error_id is ErrorId.PRUNING
    for sign in group.signs:
        sign.channel_mask.zero_()
    with pytest.raises(PicobnnError) as caught:
        compact(net.model)
    assert caught.value.error_id is ErrorId.PRUNING
    assert caught.value.where == group.name


@pytest.mark.parametrize(
    "mask", [{"nothing": torch.ones(3, dtype=torch.bool)}, {"0": torch.ones(1000, dtype=torch.bool)}]
)
def test_masks_must_fit(mask):
    with pytest.raises(PicobnnError) as caught:
        set_masks(random_network(11).model, mask)
    assert caught.value.error_id is ErrorId.PRUNING


def test_masks_that_disagree_are_refused():
    net = random_network(12)
    find_filters(net.model)[0].signs[0].channel_mask[0] = 0
    with pytest.raises(PicobnnError) as caught:
        compact(net.model)
    assert caught.value.error_id is ErrorId.PRUNING


def test_networks_without_filters_are_refused():
    net = nn.Sequential(InputConv2d(1, 3, 8), nn.BatchNorm2d(3), Sign(3))
    with pytest.raises(PicobnnError) as caught:
        find_filters(net)
    assert caught.value.error_id is ErrorId.PRUNING
    net = nn.Sequential(InputConv2d(1, 3, 8), nn.ReLU(), Sign(3), nn.Flatten(), BinaryLinear(3, 2), LogitScale(2))
    with pytest.raises(PicobnnError) as caught:
        find_filters(net)
    assert caught.value.error_id is ErrorId.UNSUPPORTED_LAYER


def test_masked_networks_export_only_after_compaction():
    net = random_network(13)
    groups = find_filters(net.model)
    name = next(group.name for group in groups if group.filters > 1)
    mask = torch.ones(next(group.filters for group in groups if group.name == name), dtype=torch.bool)
    mask[0] = False
    set_masks(net.model, {name: mask})
    with pytest.raises(PicobnnError) as caught:
        to_graph(net.model, net.input_shape, "masked")
    assert caught.value.error_id is ErrorId.PRUNING
    to_graph(compact(net.model), net.input_shape, "compacted")
