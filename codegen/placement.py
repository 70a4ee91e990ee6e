# SPDX-License-Identifier: Apache-2.0
"""What of a model lies in RAM: inner loops that run from there, tables that kernels read again and again.

Invariant: placement is a matter of the linker script alone. The model's sources are the same wherever they lie; what
is placed in RAM is copied from flash at start-up, once, and takes its bytes in both memories. Decided by the board or
the configuration, applied by ``project.py``, recorded by ``manifest.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from picobnn.codegen._views import step_symbols
from picobnn.codegen.plan import Plan
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import Board, Place, find_core
from picobnn.errors import ErrorId, PicobnnError

HOT_SECTIONS = ".text.picobnn_hot.*"
"""The runtime's inner loops, see PICOBNN_HOT in ``picobnn_runtime.h``."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the inner loops and the weights of ``rows`` lie."""

    hot_code: Place = Place.FLASH
    rows_weights: Place = Place.FLASH


@dataclass(frozen=True, slots=True)
class RamTable:
    """A table that is copied to RAM. ``section``: its input section, by which the linker script finds it."""

    symbol: str
    section: str
    size_bytes: int


IN_FLASH = Placement()


def placement_of(board: Board, hot_code: Place | None = None, rows_weights: Place | None = None) -> Placement:
    """The board's placement, where it is not overridden (None)."""
    return Placement(hot_code or board.hot_code, rows_weights or board.rows_weights)


def ram_tables(plan: Plan, prefix: str, placement: Placement) -> tuple[RamTable, ...]:
    """The tables that ``placement`` copies to RAM, in the order in which they are emitted."""
    if placement.rows_weights is Place.FLASH:
        return ()
    program, target = plan.program, find_core(plan.core)
    symbols = step_symbols(program)
    found = []
    for planned, step in zip(plan.steps, program.steps, strict=True):
        for table in find_strategy(planned.strategy).tables(step, program, target):
            if table.is_scattered:
                name = f"{symbols[planned.step]}_{table.role}"
                found.append(RamTable(f"{prefix}_{name}", f".rodata.{prefix}.{name}", table.size_bytes))
    return tuple(found)


def check_ram(plan: Plan, tables: tuple[RamTable, ...], board: Board) -> None:
    """Refuse a board whose RAM cannot hold arena, copies and stack (code in RAM and the application come on top: the
    linker has the last word). Raises DOES_NOT_FIT."""
    copies = sum(table.size_bytes for table in tables)
    needed = plan.arena_bytes + copies + board.stack_bytes
    if tables and needed > board.ram.size_bytes:
        raise PicobnnError(
            ErrorId.DOES_NOT_FIT,
            f"arena ({plan.arena_bytes:,}), tables copied to RAM ({copies:,}) and stack ({board.stack_bytes:,}) take "
            f"{needed:,} bytes, {needed - board.ram.size_bytes:,} more than the RAM has.",
            where=board.id,
            remedy="Leave the weights in flash: target.rows_weights = 'flash'.",
        )
