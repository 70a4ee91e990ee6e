# SPDX-License-Identifier: Apache-2.0
"""What the trainer's tests share: one thread, so that a run repeats bit for bit, the bundled digits, and a dense
network trained on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from picobnn.trainer.data import Dataset, load_dataset
from picobnn.trainer.models import Network
from picobnn.trainer.pruning import Training, training_on
from tests.support.gated_networks import PINNED, dense_digits


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def dense(digits: Dataset) -> Network:
    return dense_digits(digits)


@pytest.fixture
def training(digits: Dataset) -> Training:
    return training_on(digits, PINNED)
