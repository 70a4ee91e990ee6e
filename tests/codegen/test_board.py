# SPDX-License-Identifier: Apache-2.0
"""Board records: the files that ship are complete, and a wrong file is refused with the key that is wrong."""

from __future__ import annotations

import pytest

from picobnn.codegen.targets import Board, Place, Tier, board_ids, load_board
from picobnn.codegen.targets.board import FlashBackend, parse_board
from picobnn.errors import ErrorId, PicobnnError
from tests.support.tree import ROOT

BOARDS = {
    "microbit": "cortex-m0",
    "mps2-an385": "cortex-m3",
    "mps2-an385-v6m": "cortex-m0plus",
    "mps2-an386": "cortex-m4",
    "mps2-an500": "cortex-m7",
    "mps2-an505": "cortex-m33",
    "mps3-an547": "cortex-m55",
    "netduinoplus2": "cortex-m4",
}
GOOD = (ROOT / "codegen" / "targets" / "boards" / "netduinoplus2.toml").read_text(encoding="utf-8")


def test_the_boards_are_these() -> None:
    assert {board: load_board(board).target.core for board in board_ids()} == BOARDS


@pytest.mark.parametrize("board_id", BOARDS)
def test_every_board_is_complete(board_id: str) -> None:
    board = load_board(board_id)
    assert isinstance(board, Board)
    assert board.tier is Tier.EMULATED
    assert board.emulator is not None
    assert FlashBackend.EMULATOR in board.flash_backends
    assert board.flash.size_bytes >= 64 * 1024
    assert board.ram.size_bytes >= 16 * 1024
    assert board.ram.origin % 8 == 0
    assert 2 * board.uart.max_payload_bytes + board.stack_bytes < board.ram.size_bytes // 2


def test_only_the_m0plus_board_runs_on_another_core() -> None:
    unfaithful = [board for board in board_ids() if (emulator := load_board(board).emulator) and not emulator.faithful]
    assert unfaithful == ["mps2-an385-v6m"]


def test_an_unknown_board_names_the_close_ones() -> None:
    with pytest.raises(PicobnnError, match="mps2-an386") as error:
        load_board("mps2-an368")
    assert error.value.error_id is ErrorId.UNKNOWN_BOARD
    with pytest.raises(PicobnnError, match="microbit, mps2-an385"):
        load_board("zzz")


def test_a_board_may_put_loops_and_weights_into_ram() -> None:
    assert load_board("netduinoplus2").hot_code is load_board("netduinoplus2").rows_weights is Place.FLASH
    text = GOOD.replace("[memory.flash]", '[memory]\nhot_code = "ram"\nrows_weights = "ram"\n\n[memory.flash]', 1)
    board = parse_board("moved", text, "boards/moved.toml")
    assert board.hot_code is board.rows_weights is Place.RAM


@pytest.mark.parametrize(
    ("find", "replace", "error_id", "says"),
    [
        ("clock_hz", "clokc_hz", ErrorId.CONFIG_UNKNOWN_KEY, "Did you mean 'clock_hz'"),
        ("enable_mask", "enable_maks", ErrorId.CONFIG_UNKNOWN_KEY, "Did you mean 'enable_mask'"),
        ("stack_bytes = 4096\n", "", ErrorId.CONFIG_VALUE, "'stack_bytes' is missing"),
        ("stack_bytes = 4096", 'stack_bytes = "4 KiB"', ErrorId.CONFIG_VALUE, "'stack_bytes' is a str"),
        ("stack_bytes = 4096", "stack_bytes = true", ErrorId.CONFIG_VALUE, "'stack_bytes' is a bool"),
        ("stack_bytes = 4096", "stack_bytes = -1", ErrorId.CONFIG_VALUE, "is negative"),
        ('driver = "stm32_usart"', 'driver = "stm32"', ErrorId.CONFIG_VALUE, "driver = 'stm32' is not known"),
        ('tier = "emulated"', 'tier = "best"', ErrorId.CONFIG_VALUE, "Known: built, emulated, hardware"),
        ("line_bytes = 16", "line_bytes = 12", ErrorId.CONFIG_VALUE, "power of two"),
        ("wait_states = 5", "wait_states = 256", ErrorId.CONFIG_VALUE, "at most 255 wait states"),
        ('cache = "yes"', 'cache = "maybe"', ErrorId.CONFIG_VALUE, "Known: yes, no, unknown"),
        ("[memory.ram]", '[memory]\nhot_code = "rom"\n[memory.ram]', ErrorId.CONFIG_VALUE, "hot_code = 'rom'"),
        ("max_payload_bytes = 1024", "max_payload_bytes = 30", ErrorId.CONFIG_VALUE, "from 32 to 4096"),
        ('core = "cortex-m4"', 'core = "cortex-m5"', ErrorId.UNKNOWN_CORE, "cortex-m5"),
        ("[uart]", "[uart", ErrorId.CONFIG_FILE, "not a TOML file"),
        (GOOD[GOOD.index("[emulator]") :], "", ErrorId.CONFIG_VALUE, "no \\[emulator\\]"),
    ],
)
def test_a_wrong_file_is_refused(find: str, replace: str, error_id: ErrorId, says: str) -> None:
    assert find in GOOD
    with pytest.raises(PicobnnError, match=says) as error:
        parse_board("wrong", GOOD.replace(find, replace), "boards/wrong.toml")
    assert error.value.error_id is error_id
    assert error.value.where.startswith("boards/wrong.toml") or error_id is ErrorId.UNKNOWN_CORE
