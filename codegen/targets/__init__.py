# SPDX-License-Identifier: Apache-2.0
"""Targets (cores) as frozen records and boards as TOML files.

A :class:`Target` is what the compiler may assume of a core. A :class:`Board` adds clock, memory map, UART, flash back
ends and, where one exists, the emulator that plays it. Boards are data: ``boards/<id>.toml``.
"""

from picobnn.codegen.targets.board import (
    Board,
    Emulator,
    FlashTiming,
    Known,
    MemoryRegion,
    Place,
    Tier,
    Uart,
    UartDriver,
    board_ids,
    load_board,
)
from picobnn.codegen.targets.cores import CORES, InstructionSet, Target, find_core

__all__ = [
    "CORES",
    "Board",
    "Emulator",
    "FlashTiming",
    "InstructionSet",
    "Known",
    "MemoryRegion",
    "Place",
    "Target",
    "Tier",
    "Uart",
    "UartDriver",
    "board_ids",
    "find_core",
    "load_board",
]
