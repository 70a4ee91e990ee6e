# SPDX-License-Identifier: Apache-2.0
"""Export: the graph says, in integers, what the modules compute in eval mode; everything else is refused by name."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from picobnn.codegen import ir
from picobnn.codegen.ir import Shape
from picobnn.codegen.lower import compile_graph
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.reference import run_program
from picobnn.trainer.export import find_threshold, module_outputs, to_graph
from picobnn.trainer.layers import BinaryConv2d, BinaryLinear, InputConv2d, LogitScale, PadMode, Sign
from picobnn.trainer.models import build_model
from tests.support.random_networks import random_images, random_network, random_norm

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds)
@settings(deadline=None, max_examples=30)
def test_every_node_equals_its_module(seed):
    net = random_network(seed)
    graph = to_graph(net.model, net.input_shape, "random")
    images = random_images(seed, net.input_shape, 4)
    outputs = module_outputs(net.model, images)
    made = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        match node:
            case ir.Sign():
                acc = outputs[made[node.input].source]
                bits = (acc >= node.threshold.thresholds) ^ node.threshold.flip.astype(bool)
                reader = next(n for n in graph.nodes if getattr(n, "input", None) == node.name)
                if reader.source != node.source:  # else a pool follows before the module's output is seen
                    assert np.array_equal(bits, outputs[node.source])
            case ir.ScaleLogits():
                acc = outputs[made[node.input].source]
                logits = acc.astype(np.int64) * node.scale.multiplier + node.scale.bias
                assert np.array_equal(logits, outputs[node.source])
            case ir.BinaryDense():
                reads = made[node.input]
                bits = outputs[made[reads.input].source if isinstance(reads, ir.Flatten) else reads.source]
                signs = node.weights.reshape(len(node.weights), -1).astype(np.int64) * 2 - 1
                acc = (bits.reshape(len(bits), -1).astype(np.int64) * 2 - 1) @ signs.T
                assert np.array_equal(acc, outputs[node.source][:, 0, 0])
            case _:
                pass


@given(seed=seeds)
@settings(deadline=None, max_examples=40)
def test_programs_equal_the_network_on_every_step(seed):
    """Executors 1 and 2 of the equality chain, on every step's output."""
    assert_program_equals_network(seed, images=6)


@pytest.mark.slow
@given(seed=seeds)
@settings(deadline=None, max_examples=1000)
def test_many_programs_equal_the_network_on_every_step(seed):
    assert_program_equals_network(seed, images=10)


def assert_program_equals_network(seed: int, images: int) -> None:
    net = random_network(seed)
    program = compile_graph(to_graph(net.model, net.input_shape, "random"))
    pixels = random_images(seed, net.input_shape, images)
    outputs = module_outputs(net.model, pixels, {step.source for step in program.steps})
    results = run_program(program, pixels)
    assert len(results) == len(program.steps) == len(outputs)
    for step, result in zip(program.steps, results, strict=True):
        assert result.dtype == outputs[step.source].dtype
        assert np.array_equal(result, outputs[step.source]), step.name


@given(seed=seeds, is_map=st.booleans())
@settings(deadline=None, max_examples=25)
def test_thresholds_are_the_modules_own_bits(seed, is_map):
    rng = np.random.default_rng(seed)
    channels = int(rng.integers(1, 40))
    high = rng.integers(0, 300, channels)
    low = -rng.integers(0, 300, channels)
    norm = random_norm((nn.BatchNorm2d if is_map else nn.BatchNorm1d)(channels), rng, 900.0).eval()
    threshold = find_threshold([norm, Sign(channels)], low, high, is_map=is_map, where="norm")
    assert threshold.thresholds.dtype == np.int32
    assert (threshold.thresholds >= low).all()
    assert (threshold.thresholds <= high).all()
    acc = rng.integers(low, high + 1, (64, channels))
    x = torch.from_numpy(acc).float()
    y = norm(x.view(1, 8, 8, channels).permute(0, 3, 1, 2)) if is_map else norm(x)
    y = y.permute(0, 2, 3, 1).reshape(64, channels) if is_map else y
    bits = (acc >= threshold.thresholds) ^ threshold.flip.astype(bool)
    assert np.array_equal(bits, y.detach().numpy() >= 0)


@given(seed=seeds)
@settings(deadline=None, max_examples=15)
def test_batch_norm_does_not_depend_on_position_size_or_format(seed):
    rng = np.random.default_rng(seed)
    channels, height, width, count = (int(rng.integers(1, n)) for n in (70, 20, 20, 6))
    norm = random_norm(nn.BatchNorm2d(channels), rng, 900.0).eval()
    flat = nn.BatchNorm1d(channels).eval()
    flat.load_state_dict(norm.state_dict())
    acc = torch.from_numpy(rng.integers(-200, 201, (count, channels, height, width))).float()
    column = torch.arange(-200, 201).float()
    with torch.no_grad():
        table = norm(column.view(1, 1, -1, 1).expand(1, channels, -1, 1).contiguous())[0, :, :, 0]
        wanted = table.gather(1, acc.transpose(0, 1).reshape(channels, -1).long() + 200)
        wanted = wanted.view(channels, count, height, width).transpose(0, 1)
        assert torch.equal(norm(acc), wanted)
        assert torch.equal(norm(acc.to(memory_format=torch.channels_last)), wanted)
        assert torch.equal(flat(column.view(-1, 1).expand(-1, channels).contiguous()).t(), table)


def test_zero_and_negative_scales():
    norm = nn.BatchNorm2d(4).eval()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -1.0, 0.0, 0.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.0, 0.5, -0.5]))
        norm.running_mean.fill_(3.0)
    threshold = find_threshold([norm, Sign(4)], np.full(4, -9), np.full(4, 9), is_map=True, where="norm")
    acc = np.arange(-9, 10)[:, None]
    bits = (acc >= threshold.thresholds) ^ threshold.flip.astype(bool)
    wanted = np.concatenate([acc >= 3, acc <= 3, acc >= -9, acc > 9], axis=1)
    assert np.array_equal(bits, wanted)


def test_graph_of_the_digits_network():
    torch.manual_seed(1)
    model = build_model("digits_cnn", {"zero_point": 7}).train()
    graph = to_graph(model, Shape(8, 8, 1), "digits")
    assert model.training
    kinds = [type(node).__name__ for node in graph.nodes]
    assert kinds == [
        "InputImage", "InputConv2d", "MaxPool2d", "Sign", "BinaryConv2d", "Sign", "BinaryConv2d", "Sign", "Flatten",
        "BinaryDense", "ScaleLogits",
    ]  # fmt: skip
    assert graph.nodes[0].zero_point == 7
    assert graph.nodes[9].weights.shape == (10, 1, 1, 4 * 4 * 32)
    assert graph.nodes[3].source == "layers.sign1"


class _Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = InputConv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


class _TwoInputs(_Functional):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.conv(x + y)


class _TwoOutputs(_Functional):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        return y, y


class _Branch(_Functional):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else x


class _Scaled(_Functional):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(image=x)


def _huge_logits() -> nn.Sequential:
    net = nn.Sequential(
        InputConv2d(1, 2, 8), nn.BatchNorm2d(2), Sign(2), nn.Flatten(), BinaryLinear(2, 2), LogitScale(2)
    )
    net[5].norm.bias.data.fill_(131_071.0)
    return net


def _stage(*extra: nn.Module) -> nn.Sequential:
    return nn.Sequential(InputConv2d(1, 2, 3), nn.BatchNorm2d(2), Sign(2), *extra)


def _masked() -> nn.Sequential:
    net = _stage()
    net[2].channel_mask[1] = 0
    return net


def _not_finite(of: str) -> nn.Sequential:
    net = _stage()
    with torch.no_grad():
        (net[0].weight if of == "weight" else net[1].weight).view(-1)[0] = float("nan")
    return net


class _Bump(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return 5.0 - x.abs()


_FEATURE, _LAYER = ErrorId.UNSUPPORTED_FEATURE, ErrorId.UNSUPPORTED_LAYER


@pytest.mark.parametrize(
    ("make", "error_id", "where"),
    [
        (lambda: _stage(nn.ReLU()), _LAYER, "3"),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3)), _LAYER, "0"),
        (_Functional, _LAYER, "relu"),
        (_TwoInputs, _FEATURE, "_TwoInputs"),
        (_TwoOutputs, _FEATURE, "_TwoOutputs"),
        (_Branch, _FEATURE, "_Branch"),
        (_Scaled, _FEATURE, "conv"),
        (_huge_logits, _FEATURE, "5"),
        (lambda: nn.Sequential(InputConv2d(3, 2, 1)), _FEATURE, "0"),
        (lambda: nn.Sequential(InputConv2d(1, 2, 3), nn.BatchNorm2d(3)), _FEATURE, "1"),
        (lambda: nn.Sequential(InputConv2d(1, 2, 3), nn.BatchNorm2d(2), Sign(3)), _FEATURE, "2"),
        (lambda: nn.Sequential(InputConv2d(1, 2, 3), LogitScale(3)), _FEATURE, "1"),
        (lambda: _stage(nn.Flatten(), nn.MaxPool2d(2)), _FEATURE, "4"),
        (lambda: _stage(nn.MaxPool2d(2, dilation=2)), _FEATURE, "3"),
        (lambda: _stage(nn.MaxPool2d(2, ceil_mode=True)), _FEATURE, "3"),
        (lambda: _stage(nn.MaxPool2d(2, return_indices=True)), _FEATURE, "3"),
        (lambda: _stage(nn.MaxPool2d(9)), _FEATURE, "3"),
        (lambda: _stage(nn.Flatten(0)), _FEATURE, "3"),
        (lambda: _stage(BinaryLinear(2 * 6 * 6, 3)), _FEATURE, "3"),
        (lambda: _stage(BinaryConv2d(3, 3, 1)), _FEATURE, "3"),
        (lambda: _stage(InputConv2d(2, 3, 1)), _FEATURE, "3"),
        (lambda: _stage(nn.BatchNorm2d(2)), _FEATURE, "3"),
        (lambda: _stage(Sign(2)), _FEATURE, "3"),
        (lambda: _stage(LogitScale(2)), _FEATURE, "3"),
        (lambda: nn.Sequential(InputConv2d(1, 2, 3), nn.BatchNorm2d(2)), _FEATURE, "1"),
        (lambda: nn.Sequential(InputConv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)), _FEATURE, "1"),
        (lambda: nn.Sequential(Sign(2)), _FEATURE, "0"),
        (lambda: nn.Sequential(*[BinaryConv2d(2, 2, 1)] * 2), _FEATURE, "0"),
        (_masked, ErrorId.PRUNING, "2"),
        (lambda: _not_finite("weight"), ErrorId.CHECKPOINT, "0"),
        (lambda: _not_finite("norm"), ErrorId.NOT_MONOTONE, "2"),
    ],
)  # fmt: skip
def test_refusals_name_the_module(make, error_id, where):
    with pytest.raises(PicobnnError) as caught:
        to_graph(make(), Shape(8, 8, 1), "bad")
    assert caught.value.error_id is error_id
    assert caught.value.where == where
    assert caught.value.remedy


def test_a_chain_that_is_not_monotone_is_refused():
    with pytest.raises(PicobnnError) as caught:
        find_threshold([_Bump(2), Sign(2)], np.full(2, -9), np.full(2, 9), is_map=True, where="bump")
    assert caught.value.error_id is ErrorId.NOT_MONOTONE


def test_unsupported_layer_lists_what_is_supported():
    with pytest.raises(PicobnnError) as caught:
        to_graph(_stage(nn.AvgPool2d(2)), Shape(8, 8, 1), "bad")
    assert "AvgPool2d" in caught.value.what
    assert "BinaryConv2d" in caught.value.remedy
    assert "MaxPool2d" in caught.value.remedy


def test_module_outputs_limits_sources_and_keeps_the_mode():
    torch.manual_seed(2)
    model = build_model("digits_cnn").train()
    images = random_images(3, Shape(8, 8, 1), 5)
    outputs = module_outputs(model, images, {"layers.sign2", "layers.logits"}, batch=2)
    assert model.training
    assert sorted(outputs) == ["layers.logits", "layers.sign2"]
    assert outputs["layers.sign2"].shape == (5, 4, 4, 32)
    assert outputs["layers.sign2"].dtype == np.uint8
    assert outputs["layers.logits"].dtype == np.int32
    assert outputs["layers.logits"].shape == (5, 1, 1, 10)


@pytest.mark.parametrize("pad_mode", list(PadMode))
def test_pad_modes_and_padding_reach_the_graph(pad_mode):
    net = _stage(BinaryConv2d(2, 3, 3, stride=2, padding=1, pad_mode=pad_mode))
    node = to_graph(net, Shape(8, 8, 1), "padded").nodes[-1]
    assert node.pad_mode.value == pad_mode.value
    assert (node.window.stride_y, node.window.pad_top, node.window.pad_right) == (2, 1, 1)
