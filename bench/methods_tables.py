# SPDX-License-Identifier: Apache-2.0
"""Rows of ``bench/methods.py`` by method, setting and seed; read by what says what they show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]

CORE = "cortex-m4"
FASTEST = "speed"
"""The plan of the rows that every network has."""


def fastest(rows: Iterable[Row]) -> list[Row]:
    """One row per network: that of the plan for speed."""
    return [row for row in rows if row["optimize"] == FASTEST]


def reference_flash(rows: Iterable[Row]) -> dict[int, int]:
    """By seed, the flash that others are relative to: of the dense network's fastest and balanced plans the smaller.

    The fastest plan may take kilobytes for a few hundredths of the cycles, and all would look small beside it."""
    found: dict[int, int] = {}
    for row in rows:
        if row["method"] == "dense" and row["optimize"] in (FASTEST, "balanced"):
            found[row["seed"]] = min(row["flash_bytes"], found.get(row["seed"], row["flash_bytes"]))
    return found


def table_of(rows: Iterable[Row], method: str) -> dict[str, dict[int, Row]]:
    """Setting -> seed -> row."""
    table: dict[str, dict[int, Row]] = {}
    for row in fastest(rows):
        if row["method"] == method:
            table.setdefault(row["setting"], {})[row["seed"]] = row
    return table


def accuracy_of(row: Row) -> float:
    return float(row["accuracy"])


def cycles_of(row: Row) -> float:
    return float(row["cycles"][CORE])
