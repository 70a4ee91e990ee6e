# SPDX-License-Identifier: Apache-2.0
"""The handful of functions that ``import picobnn`` offers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import picobnn
from picobnn.flow.vectors import read_vectors

ZOO = Path(__file__).resolve().parents[2] / "zoo" / "digits_cnn"


def test_every_public_name_is_there() -> None:
    for name in picobnn.__all__:
        assert getattr(picobnn, name) is not None
    with pytest.raises(AttributeError):
        _ = picobnn.no_such_function


@pytest.mark.parametrize("pure", ["0", "1"])
def test_simulate_gives_the_stored_logits(pure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICOBNN_PURE", pure)
    vectors = read_vectors(ZOO / "golden.npz")
    assert np.array_equal(picobnn.simulate(ZOO / "model.bnn", vectors.images), vectors.logits)
