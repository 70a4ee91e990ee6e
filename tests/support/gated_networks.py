# SPDX-License-Identifier: Apache-2.0
"""A small network for digits, what it trains with, and copies of it with gates: for the tests of learned gates."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from picobnn.trainer.data import Dataset
from picobnn.trainer.fit import FitOptions, fit, seed_everything
from picobnn.trainer.layers import FilterGate
from picobnn.trainer.models import Network, build_model
from picobnn.trainer.pruning import Phase, find_filters
from picobnn.trainer.step import MemoryFormat, Precision

WIDTHS = {"layers.conv1": 8, "layers.conv2": 16, "layers.conv3": 16}
PINNED = FitOptions(
    epochs=1, batch_size=64, precision=Precision.FLOAT32, memory_format=MemoryFormat.CHANNELS_LAST, threads=1
)
NO_RETRAINING = Phase(1e-4, 0)


def dense_digits(digits: Dataset) -> Network:
    """Trained for four epochs."""
    seed_everything(0)
    model = build_model("digits_cnn", {"widths": list(WIDTHS.values())})
    fit(model, digits, replace(PINNED, epochs=4))
    return model


def images_of(digits: Dataset, count: int = 64) -> tuple[Tensor, Tensor]:
    return (
        torch.from_numpy(digits.train.images[:count].transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(digits.train.labels[:count]),
    )


def with_gates(model: Network, m: float = 0.5) -> tuple[Network, dict[str, FilterGate]]:
    """A copy with a gate on every layer that has filters, all of them at ``m``."""
    copy = deepcopy(model)
    gates = {}
    for group in find_filters(copy):
        group.layer.gate = gates[group.name] = FilterGate(torch.full((group.filters,), m))
    return copy, gates
