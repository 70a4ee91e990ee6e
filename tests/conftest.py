# SPDX-License-Identifier: Apache-2.0
"""Fixtures and options that every test may use."""

from __future__ import annotations

import pytest

from tests.support.golden import add_option, golden

__all__ = ["golden"]


def pytest_addoption(parser: pytest.Parser) -> None:
    add_option(parser)
