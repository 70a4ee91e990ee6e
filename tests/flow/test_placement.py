# SPDX-License-Identifier: Apache-2.0
"""The option that puts inner loops and weights into RAM, from the configuration to the linked figures."""

from __future__ import annotations

import pytest

from picobnn.config import load_config
from picobnn.flow.analyze import BoardAnalysis, analyze
from tests.support.small_run import HAVE_FIRMWARE
from tests.support.tree import ROOT

ZOO = ROOT / "zoo" / "digits_cnn"


def analyzed(*overrides: str) -> BoardAnalysis:
    config = load_config(None, ["target.kernels=auto", "target.optimize=balanced", *overrides])
    found = analyze(config, ZOO / "model.bnn", ZOO / "golden.npz", ["mps2-an386"], with_cycles=False)
    return found.boards[0]


@pytest.mark.qemu
@pytest.mark.skipif(not HAVE_FIRMWARE, reason="needs the cross compiler")
def test_analyze_adds_what_lies_in_ram() -> None:
    plain = analyzed()
    moved = analyzed("target.hot_code=ram", "target.rows_weights=ram")
    assert (plain.ram_table_bytes, plain.hot_code_bytes) == (0, 0)
    assert moved.hot_code_bytes is not None
    assert moved.hot_code_bytes > 0
    assert moved.ram_table_bytes > 0
    assert moved.ram_bytes == (plain.ram_bytes or 0) + moved.hot_code_bytes + moved.ram_table_bytes
    assert moved.arena_bytes == plain.arena_bytes
    assert moved.table_bytes == plain.table_bytes
