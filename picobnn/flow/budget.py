# SPDX-License-Identifier: Apache-2.0
"""The one decision about budgets: configured limits against the figures of one image."""

from __future__ import annotations

from collections.abc import Mapping

from picobnn.config import BudgetSection
from picobnn.errors import ErrorId, PicobnnError


def budget_failure(limits: BudgetSection, figures: Mapping[str, int | None], where: str) -> PicobnnError | None:
    """E_BUDGET_EXCEEDED for the first figure above its limit, E_TOOL_MISSING for a limited figure that is not known.

    ``figures``: ``flash_bytes``, ``ram_bytes`` and ``cycles``; ``where``: the board.
    """
    wanted = {"flash_bytes": limits.max_flash, "ram_bytes": limits.max_ram, "cycles": limits.max_cycles}
    for name, limit in wanted.items():
        value = figures.get(name)
        if limit is not None and value is None:
            return PicobnnError(
                ErrorId.TOOL_MISSING,
                f"{name} is limited but not known here.",
                where=where,
                remedy="Choose a core with a cycle model, and run 'picobnn doctor'; it says what is missing.",
            )
        if limit is not None and value is not None and value > limit:
            return PicobnnError(
                ErrorId.BUDGET_EXCEEDED,
                f"{name} is {value:,}, the limit is {limit:,}.",
                where=where,
                remedy="Raise prune.rate, choose smaller model.widths, or raise the budget.",
            )
    return None
