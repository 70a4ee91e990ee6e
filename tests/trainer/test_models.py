# SPDX-License-Identifier: Apache-2.0
"""Networks: shapes, rebuilding from their configuration, the float twin, bad settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from picobnn.errors import ErrorId, PicobnnError
from picobnn.trainer.models import MODELS, build_model


@pytest.mark.parametrize("name", sorted(MODELS))
def test_train_and_eval_outputs(name: str) -> None:
    model = build_model(name)
    images = torch.randint(0, 256, (3, *model.input_shape), dtype=torch.uint8)
    assert model(images).dtype is torch.float32
    assert model(images).shape == (3, 10)
    logits = model.eval()(images)
    assert logits.dtype is torch.int32
    assert logits.shape == (3, 10)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_rebuilt_from_its_own_configuration(name: str) -> None:
    model = build_model(name, {"widths": [5, 7, 11], "zero_point": 3}).eval()
    again = build_model(name, model.config.as_dict()).eval()
    again.load_state_dict(model.state_dict())
    images = torch.randint(0, 256, (3, *model.input_shape), dtype=torch.uint8)
    assert torch.equal(model(images), again(images))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_float_twin_has_the_same_chain(name: str) -> None:
    twin = build_model(name, {"float_twin": True})
    images = torch.randint(0, 256, (3, *twin.input_shape), dtype=torch.uint8)
    assert twin.eval()(images).dtype is torch.float32
    binary = [type(layer).__name__ for layer in build_model(name).layers]
    real = [type(layer).__name__ for layer in twin.layers]
    assert real.count("ReLU") == binary.count("Sign")
    assert real.count("MaxPool2d") == binary.count("MaxPool2d")


@pytest.mark.parametrize(
    ("name", "config", "error"),
    [
        ("lenet", {}, ErrorId.CONFIG_VALUE),
        ("digits_cnn", {"width": [1]}, ErrorId.CONFIG_UNKNOWN_KEY),
        ("digits_cnn", {"widths": "16"}, ErrorId.CONFIG_VALUE),
        ("digits_cnn", {"widths": [16, 0, 3]}, ErrorId.CONFIG_VALUE),
        ("digits_cnn", {"widths": [16, 32]}, ErrorId.BAD_INPUT),
        ("digits_cnn", {"zero_point": 256}, ErrorId.BAD_INPUT),
        ("digits_cnn", {"value_head": True}, ErrorId.CONFIG_VALUE),
        ("digits_cnn", {"value_bits": 4, "value_head": "no"}, ErrorId.CONFIG_VALUE),
    ],
)
def test_bad_settings(name: str, config: dict[str, Any], error: ErrorId) -> None:
    with pytest.raises(PicobnnError) as caught:
        build_model(name, config)
    assert caught.value.error_id is error
