# SPDX-License-Identifier: Apache-2.0
"""Limits on a plan, and how far from them the best plan is when none keeps them. Called by ``select.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from picobnn.codegen.plan import Layout
from picobnn.codegen.search import best_way
from picobnn.codegen.ways import Measure, Stage, Way
from picobnn.errors import ErrorId, PicobnnError

_WORDS = {
    Measure.CYCLES: ("cycles of one inference (estimated)", "cycles"),
    Measure.FLASH: ("bytes of flash, tables and code (estimated)", "bytes"),
    Measure.RAM: ("bytes of arena", "bytes"),
}
_TABLES_ALONE = ("bytes of tables in flash", "bytes")


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits, inclusive; None: no limit. ``flash_bytes`` of tables and of the code that the model needs, as
    estimated (of tables alone where a core's file lacks sizes of code), ``ram_bytes`` of the arena (the stack and the
    application come on top), ``cycles`` of one inference as estimated, transposes included."""

    flash_bytes: int | None = None
    ram_bytes: int | None = None
    cycles: int | None = None

    def limits(self) -> dict[Measure, int]:
        """The limits that are set, in the order in which a breach is looked for."""
        pairs = ((Measure.RAM, self.ram_bytes), (Measure.FLASH, self.flash_bytes), (Measure.CYCLES, self.cycles))
        return {measure: limit for measure, limit in pairs if limit is not None}


def choose_within(
    stages: Sequence[Stage],
    start: Layout,
    objective: Sequence[Measure],
    budget: Budget,
    where: str,
    code_bytes: Mapping[str, int] | None = None,
) -> Way:
    """The best way within the budget, as ``search.best_way`` finds it. Raises BUDGET_EXCEEDED, saying by how much."""
    limits = budget.limits()
    way = best_way(stages, start, objective, limits, code_bytes)
    if way is None:
        raise _exceeded(stages, start, limits, where, code_bytes)
    return way


def _exceeded(
    stages: Sequence[Stage],
    start: Layout,
    limits: Mapping[Measure, int],
    where: str,
    code_bytes: Mapping[str, int] | None,
) -> PicobnnError:
    """Adds one limit after the other; the first that cannot be kept together with those before it is named."""
    kept: dict[Measure, int] = {}
    measure, limit, least = Measure.RAM, 0, 0
    for measure, limit in limits.items():
        others = [other for other in Measure if other is not measure]
        way = best_way(stages, start, (measure, *others), kept, code_bytes)
        least = 0 if way is None else way.totals[measure]
        if least > limit:
            break
        kept[measure] = limit
    words = _WORDS if code_bytes else {**_WORDS, Measure.FLASH: _TABLES_ALONE}
    what, unit = words[measure]
    within = "".join(f" within {kept[other]} {words[other][0]}" for other in kept)
    return PicobnnError(
        ErrorId.BUDGET_EXCEEDED,
        f"the plan needs at least {least} {what}{within}: {least - limit} {unit} above the limit of {limit}.",
        where=where,
        remedy="Raise the limit, allow --kernels auto and --optimize speed, or prune the network further.",
    )
