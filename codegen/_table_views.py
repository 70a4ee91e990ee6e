# SPDX-License-Identifier: Apache-2.0
"""Constant tables as the weights template sees them: literals in lines of limited width. Used by ``_views.py`` only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from picobnn.codegen.c_text import comment_text
from picobnn.codegen.program import Step
from picobnn.codegen.strategies import Table

ROW_WIDTH = 92


@dataclass(frozen=True, slots=True)
class TableView:
    symbol: str
    c_type: str
    length: int
    section: str
    comment: str
    rows: tuple[str, ...]


def table_view(table: Table, symbol: str, prefix: str, step: Step) -> TableView:
    """The table of ``step`` under its C symbol, in a section of its own."""
    values = table.values
    return TableView(
        symbol=symbol,
        c_type=table.c_type,
        length=values.size,
        section=f".rodata.{prefix}.{symbol.removeprefix(prefix + '_')}",
        comment=comment_text(f"{step.name}: {table.role}, {_range(table, step)}"),
        rows=literal_rows([_literal(value, table.c_type) for value in values.tolist()]),
    )


def _range(table: Table, step: Step) -> str:
    filters = len(step.weights)
    if table.role == "weights":
        return f"{filters} filters of {table.values.size // filters} words"
    if table.role == "flips":
        return f"{filters} bits"
    if table.c_type == "uint32_t":
        return f"{table.values.size} words"
    return f"{table.values.min()} to {table.values.max()}"


def _literal(value: int, c_type: str) -> str:
    if c_type == "uint32_t":
        return f"0x{value:08X}u"
    return "INT32_MIN" if value == np.iinfo(np.int32).min else str(value)


def literal_rows(literals: Iterable[str]) -> tuple[str, ...]:
    """Comma-separated literals in lines of at most ROW_WIDTH characters."""
    rows: list[str] = []
    row = ""
    for literal in literals:
        if row and len(row) + len(literal) + 2 > ROW_WIDTH:
            rows.append(row)
            row = ""
        row += f"{' ' if row else ''}{literal},"
    return (*rows, row)
