# SPDX-License-Identifier: Apache-2.0
"""The gate of a filter: its gradient, what it is at 1, at 0 and below, and that no network with one is exported."""

from __future__ import annotations

from copy import deepcopy

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from picobnn.codegen.ir import Shape
from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.data import Dataset
from picobnn.trainer.export import to_graph
from picobnn.trainer.layers import BinaryConv2d, BinaryLinear, BinaryWeightLayer, FilterGate, InputConv2d, PadMode
from picobnn.trainer.models import Network
from picobnn.trainer.pruning import (
    find_filters,
)
from picobnn.trainer.step import cross_entropy
from tests.support.gated_networks import images_of, with_gates


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
    images, labels = images_of(digits)
    main = deepcopy(dense)
    gated, _ = with_gates(dense)
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
    images, _ = images_of(digits)
    gated, gates = with_gates(dense)
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


def test_gated_networks_are_not_exported(dense: Network) -> None:
    gated, _ = with_gates(dense)
    with pytest.raises(PicobnnError) as caught:
        to_graph(gated, Shape(8, 8, 1), "gated")
    assert caught.value.error_id is ErrorId.PRUNING
