# SPDX-License-Identifier: Apache-2.0
"""The option that puts inner loops and weights into RAM, from the configuration to the linked figures."""

from __future__ import annotations

import pytest

from picobnn.config import load_config
from picobnn.flow.analyze import BoardAnalysis, analyze
from tests.support.small_run import HAVE_FIRMWARE
from tests.support.tree import ROOT

ZOO = ROOT / "zoo" / "digits_cnn"


def analyzed(*overrides: str, board: str = "mps2-an386", with_cycles: bool = True) -> BoardAnalysis:
    config = load_config(None, ["target.kernels=auto", "target.optimize=balanced", *overrides])
    found = analyze(config, ZOO / "model.bnn", ZOO / "golden.npz", [board], with_cycles=with_cycles)
    return found.boards[0]


@pytest.mark.qemu
@pytest.mark.skipif(not HAVE_FIRMWARE, reason="needs the cross compiler")
def test_analyze_adds_what_lies_in_ram() -> None:
    plain = analyzed(with_cycles=False)
    moved = analyzed("target.hot_code=ram", "target.rows_weights=ram", with_cycles=False)
    assert (plain.ram_table_bytes, plain.hot_code_bytes) == (0, 0)
    assert moved.hot_code_bytes is not None
    assert moved.hot_code_bytes > 0
    assert moved.ram_table_bytes > 0
    assert moved.ram_bytes == (plain.ram_bytes or 0) + moved.hot_code_bytes + moved.ram_table_bytes
    assert moved.arena_bytes == plain.arena_bytes
    assert moved.table_bytes == plain.table_bytes


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.skipif(not HAVE_FIRMWARE, reason="needs the cross compiler and the emulator")
def test_wait_states_give_a_range_that_ram_makes_narrower() -> None:
    plain = analyzed(board="netduinoplus2")
    moved = analyzed("target.hot_code=ram", "target.rows_weights=ram", board="netduinoplus2")
    assert plain.wait_states == moved.wait_states == 5
    for found in (plain, moved):
        assert found.cycles is not None
        assert found.cycles_up_to is not None
        assert found.cycles < found.cycles_up_to
        # Whole wait states, in every layer, and the layers add up.
        assert (found.cycles_up_to - found.cycles) % 5 == 0
        assert found.cycles_up_to == sum(layer.cycles_up_to or 0 for layer in found.layers)
        assert any("RM0090" in note for note in found.notes)
    assert (moved.cycles_up_to or 0) < (plain.cycles_up_to or 0)
    emulated = analyzed(board="mps2-an386")
    assert emulated.cycles == emulated.cycles_up_to
    assert emulated.cycles == plain.cycles  # the same core
