# SPDX-License-Identifier: Apache-2.0
"""The sign estimator: exact values, and a gradient that stops outside |x| <= 1."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.trainer.estimators import hard_sign, sign_ste

_CASES = [
    # x, sign, gradient passes
    (-3.0, -1.0, 0.0),
    (-1.0078125, -1.0, 0.0),
    (-1.0, -1.0, 1.0),
    (-1e-30, -1.0, 1.0),
    (-0.0, 1.0, 1.0),
    (0.0, 1.0, 1.0),
    (1e-30, 1.0, 1.0),
    (1.0, 1.0, 1.0),
    (1.0078125, 1.0, 0.0),
    (3.0, 1.0, 0.0),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("x", "sign", "passes"), _CASES)
def test_sign_table(x: float, sign: float, passes: float, dtype: torch.dtype) -> None:
    value = torch.full((33,), x, dtype=dtype, requires_grad=True)  # 33: vector lanes and a scalar tail
    result = sign_ste(value)
    (2.5 * result).sum().backward()
    assert result.dtype is dtype
    assert torch.equal(result, torch.full_like(result, sign))
    assert value.grad is not None
    assert torch.equal(value.grad, torch.full_like(value.grad, 2.5 * passes))


def test_float_neighbours_of_the_window() -> None:
    above = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    x = torch.stack([-above, torch.tensor(-1.0), torch.tensor(1.0), above]).requires_grad_()
    sign_ste(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=70))
def test_sign_is_never_zero(values: list[float]) -> None:
    x = torch.tensor(values)
    assert hard_sign(x).tolist() == [1.0 if value >= 0 else -1.0 for value in values]


def test_memory_format_is_kept() -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert sign_ste(x).is_contiguous(memory_format=torch.channels_last)
