# SPDX-License-Identifier: Apache-2.0
"""Layers in eval mode are exact integers whatever memory format, batch or threads; masks equal absence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.layers import BinaryConv2d, BinaryLinear, InputConv2d, LogitScale, PadMode, Sign
from picobnn.trainer.models import build_model


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(7)


@pytest.fixture
def one_and_two_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def _bits(*shape: int) -> Tensor:
    return torch.randint(0, 2, shape).float() * 2 - 1


def _convolution(x: Tensor, weight: Tensor, stride: int, padding: int, outside: int) -> np.ndarray:
    """The definition, in int64: ``x`` (N, I, H, W), ``weight`` (O, I, k, k)."""
    values = np.pad(
        x.numpy().astype(np.int64), ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=outside
    )
    taps = weight.numpy().astype(np.int64)
    size = taps.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(values, (size, size), (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nihwyx,oiyx->nohw", windows, taps)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 9),
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 2),
    st.integers(0, 2),
    st.sampled_from(PadMode),
)
def test_binary_conv_equals_its_definition(
    inputs: int, outputs: int, kernel: int, stride: int, padding: int, mode: PadMode
) -> None:
    layer = BinaryConv2d(inputs, outputs, kernel, stride, padding, mode).eval()
    x = _bits(3, inputs, 7, 6)
    expected = _convolution(x, layer.binary_weight().detach(), stride, padding, -1 if mode is PadMode.MINUS_ONE else 0)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        assert np.array_equal(layer(x.contiguous(memory_format=memory_format)).detach().numpy(), expected)
    layer.train()
    assert np.array_equal(layer(x).detach().numpy(), expected)  # float32 sums of integers are exact in training too


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(0, 255), st.integers(1, 2), st.integers(0, 2))
def test_input_conv_equals_its_definition(channels: int, zero_point: int, stride: int, padding: int) -> None:
    layer = InputConv2d(channels, 5, 3, stride, padding, zero_point).eval()
    image = torch.randint(0, 256, (2, channels, 9, 8), dtype=torch.uint8)
    expected = _convolution(
        image.to(torch.int64) - zero_point, layer.binary_weight().detach(), stride, padding, outside=0
    )
    assert np.array_equal(layer(image).detach().numpy(), expected)
    assert np.array_equal(layer(image.float()).detach().numpy(), expected)


def test_binary_linear_equals_its_definition() -> None:
    layer = BinaryLinear(6272, 10).eval()
    x = _bits(4, 6272)
    expected = x.numpy().astype(np.int64) @ layer.binary_weight().detach().numpy().astype(np.int64).T
    assert np.array_equal(layer(x).detach().numpy(), expected)


def test_eval_is_exact_under_autocast() -> None:
    convolution, dense = BinaryConv2d(64, 8, 3, padding=1).eval(), BinaryLinear(6272, 10).eval()
    x, y = _bits(2, 64, 7, 7), _bits(2, 6272)
    with torch.autocast("cpu", torch.bfloat16):
        low = convolution(x.bfloat16()), dense(y.bfloat16())
    assert torch.equal(low[0], convolution(x))
    assert torch.equal(low[1], dense(y))


def test_bfloat16_training_sums_are_exact_up_to_256_taps() -> None:
    layer = BinaryConv2d(28, 16, 3, padding=1)
    x = _bits(4, 28, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x.bfloat16())
    assert low.dtype is torch.bfloat16
    assert torch.equal(low.float(), layer(x))


@pytest.mark.parametrize("mode", list(PadMode))
def test_masked_input_channel_equals_absent_channel(mode: PadMode) -> None:
    whole = BinaryConv2d(6, 4, 3, padding=1, pad_mode=mode).eval()
    kept = torch.tensor([0, 2, 5])
    small = BinaryConv2d(3, 4, 3, padding=1, pad_mode=mode).eval()
    with torch.no_grad():
        small.weight.copy_(whole.weight[:, kept])
    whole.input_mask.zero_()
    whole.input_mask[kept] = 1
    x = _bits(2, 6, 5, 5)
    assert torch.equal(whole(x * whole.input_mask.view(1, -1, 1, 1)), small(x[:, kept]))
    assert torch.equal(whole(x), small(x[:, kept]))  # whatever stands in a removed channel


def test_masked_input_of_a_dense_layer_equals_absent_input() -> None:
    whole, small = BinaryLinear(8, 3).eval(), BinaryLinear(5, 3).eval()
    kept = torch.tensor([0, 1, 3, 6, 7])
    with torch.no_grad():
        small.weight.copy_(whole.weight[:, kept])
    whole.input_mask.zero_()
    whole.input_mask[kept] = 1
    x = _bits(4, 8)
    assert torch.equal(whole(x), small(x[:, kept]))


def test_convolution_gradients_equal_those_of_a_padded_copy() -> None:
    layer = BinaryConv2d(5, 4, 3, padding=1)
    x = _bits(2, 5, 6, 6).requires_grad_()
    upstream = torch.randn(2, 4, 6, 6)
    layer(x).backward(upstream)
    assert x.grad is not None
    assert layer.weight.grad is not None
    found = x.grad.clone(), layer.weight.grad.clone()
    x.grad = layer.weight.grad = None
    padded = nn.functional.pad(x, (1, 1, 1, 1), value=-1.0)
    nn.functional.conv2d(padded, layer.binary_weight()).backward(upstream)
    torch.testing.assert_close(found[0], x.grad)
    torch.testing.assert_close(found[1], layer.weight.grad, rtol=1e-5, atol=1e-5)


def test_sign_masks_channels_and_gives_the_gradient_of_its_mask() -> None:
    sign = Sign(3)
    x = torch.randn(2, 3, 4, 4)
    sign.channel_mask[1] = 0
    assert torch.equal(sign(x)[:, 1], torch.zeros(2, 4, 4))
    sign.channel_mask.fill_(1.0).requires_grad_()
    (sign(x) * 3).sum().backward()
    assert sign.channel_mask.grad is not None
    assert torch.equal(sign.channel_mask.grad, 3 * torch.where(x >= 0, 1.0, -1.0).sum((0, 2, 3)))
    assert Sign(4)(torch.randn(2, 4)).shape == (2, 4)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4), st.floats(2.0**-10, 1e6))
def test_logit_scale_has_15_bit_multipliers(gammas: list[float], variance: float) -> None:
    layer = _logits(gammas, variance)
    multiplier, _ = layer.integers()
    assert multiplier.dtype is torch.int32
    if max(abs(gamma) for gamma in gammas) > 1e-20:
        assert 2**14 <= int(multiplier.abs().max()) < 2**15


def _logits(gammas: list[float], variance: float) -> LogitScale:
    layer = LogitScale(len(gammas))
    with torch.no_grad():
        layer.norm.weight.copy_(torch.tensor(gammas))
        assert layer.norm.running_var is not None
        layer.norm.running_var.fill_(variance)
    return layer.eval()


def test_logit_scale_eval_is_the_integer_multiply_add() -> None:
    layer = _logits([1.0, -0.5, 2.0, 0.0], 900.0)
    with torch.no_grad():
        layer.norm.bias.copy_(torch.tensor([0.25, -1.0, 0.0, 3.0]))
    acc = torch.randint(-6272, 6273, (50, 4)).float()
    multiplier, bias = layer.integers()
    logits = layer(acc)
    assert logits.dtype is torch.int32
    assert torch.equal(logits, acc.to(torch.int32) * multiplier + bias)
    torch.testing.assert_close(layer.to_float(logits), layer.norm(acc).detach(), rtol=2e-3, atol=2e-3)


def test_logit_scale_refuses_a_shift_beyond_32_bits() -> None:
    layer = _logits([1e-6, 1e-6], 1.0)
    with torch.no_grad():
        layer.norm.bias.fill_(1e3)
    with pytest.raises(PicobnnError) as caught:
        layer.integers()
    assert caught.value.error_id is ErrorId.UNSUPPORTED_FEATURE


def test_networks_do_not_depend_on_format_batch_or_threads(one_and_two_threads: Callable[[int], None]) -> None:
    model = build_model("digits_cnn", {"widths": [9, 17, 20]})
    images = torch.randint(0, 256, (13, 1, 8, 8), dtype=torch.uint8)
    for _ in range(3):
        model(images)
    with torch.no_grad():  # scales of every sign and size, so that thresholds meet rounding
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.copy_(torch.randn_like(layer.weight))
                layer.bias.copy_(torch.randn_like(layer.bias))
    model.eval()
    with torch.no_grad():
        outputs = []
        for threads in (1, 2):
            one_and_two_threads(threads)
            for memory_format in (torch.contiguous_format, torch.channels_last):
                model.to(memory_format=memory_format)
                outputs.append(model(images.contiguous(memory_format=memory_format)))
                outputs.append(torch.cat([model(image[None]) for image in images]))
    assert all(torch.equal(outputs[0], other) for other in outputs[1:])


def test_batch_norm_floats_do_not_depend_on_format_batch_or_place() -> None:
    norm = nn.BatchNorm2d(21).eval()
    with torch.no_grad():
        for value in (norm.weight, norm.bias, norm.running_mean):
            assert value is not None
            value.copy_(torch.randn(21) * 3)
        assert norm.running_var is not None
        norm.running_var.copy_(torch.rand(21) * 50)
        acc = torch.randint(-500, 501, (5, 21, 7, 3)).float()
        expected = norm(acc)
        assert torch.equal(norm(acc.contiguous(memory_format=torch.channels_last)), expected)
        rows = acc.permute(0, 2, 3, 1).reshape(-1, 21, 1, 1)
        alone = norm(rows).reshape(5, 7, 3, 21).permute(0, 3, 1, 2)
        assert torch.equal(alone, expected)
        one_by_one = torch.cat([norm(row[None]) for row in rows[:20]])
        assert torch.equal(one_by_one, norm(rows)[:20])


@pytest.mark.parametrize(
    "build",
    [
        lambda: BinaryConv2d(0, 4, 3),
        lambda: BinaryConv2d(2**20, 1, 3),
        lambda: InputConv2d(1, 4, 3, zero_point=256),
        lambda: BinaryLinear(2**24, 1),
    ],
)
def test_impossible_layers_are_refused(build: Callable[[], nn.Module]) -> None:
    with pytest.raises(PicobnnError) as caught:
        build()
    assert caught.value.error_id is ErrorId.BAD_INPUT
