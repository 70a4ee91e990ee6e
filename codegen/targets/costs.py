# SPDX-License-Identifier: Apache-2.0
"""Cost coefficients of the kernels on one core, read from ``costs/<core>.toml``.

``bench/calibrate.py`` writes the files (:func:`costs_text`) from runs of the real firmware; ``select.py`` multiplies
them with what a layer does (``Strategy.cost_terms``). Invariant: a record in memory is complete and finite, no
coefficient is negative, and one record has one text.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from picobnn.codegen.targets.bounds import load_bounds
from picobnn.codegen.targets.code_sizes import CodeSizes, CodeUnit, code_lines
from picobnn.codegen.targets.cores import find_core
from picobnn.errors import ErrorId, PicobnnError

FORMAT: Literal[2] = 2
TRANSPOSE = "transpose"
"""The name of the transposes among the kernels; every core that has coefficients has theirs."""


class CostBasis(Enum):
    """What the coefficients were fitted to: cycles of silicon, cycles of the model, or counted instructions (for a core
    without a model; the unit of every cost on that core is then the instruction)."""

    MEASURED = "measured"
    MODELLED = "modelled"
    COUNTED = "counted"


@dataclass(frozen=True, slots=True)
class KernelCosts:
    """Of one strategy, or of ``transpose``. ``coefficients``: cycles per unit of each term, by the term's name.
    ``error_percent``: the largest relative error of the fit over the layers that it was fitted to."""

    coefficients: Mapping[str, float]
    error_percent: float


@dataclass(frozen=True, slots=True)
class CoreCosts:
    """All that is known of a core. ``source`` says what was run, for people. ``code``: see ``code_sizes.py``; None
    where nobody looked. ``bounds``: see ``bounds.py``; of a file of their own."""

    core: str
    basis: CostBasis
    source: str
    kernels: Mapping[str, KernelCosts]
    code: CodeSizes | None = None
    bounds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class _KernelTable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    error_percent: float
    coefficients: dict[str, float]


class _UnitTable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    bytes: int
    uses: list[str] = []


class _ModelTable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    once: int
    step: int
    transpose: int


class _CodeTable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    model: _ModelTable
    layers: dict[str, int]
    units: dict[str, _UnitTable]


class _CostsFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    format: Literal[2]
    core: str
    basis: Literal["measured", "modelled", "counted"]
    source: str
    kernels: dict[str, _KernelTable]
    code: _CodeTable | None = None


def parse_costs(text: str, where: str) -> CoreCosts:
    """The record in TOML ``text``. Raises E_CONFIG_FILE (no TOML), E_CONFIG_VALUE (names the field), E_UNKNOWN_CORE."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PicobnnError(
            ErrorId.CONFIG_FILE, f"not a TOML file: {error}.", where=where, remedy="Correct the file."
        ) from error
    try:
        found = _CostsFile.model_validate(table)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _bad(where, f"'{field}': {first['msg']}.") from None
    if TRANSPOSE not in found.kernels:
        raise _bad(where, f"'kernels.{TRANSPOSE}' is missing.")
    for name, kernel in found.kernels.items():
        for term, value in {"error_percent": kernel.error_percent, **kernel.coefficients}.items():
            if not math.isfinite(value) or value < 0:
                raise _bad(where, f"'kernels.{name}': {term} is {value}; costs are finite and not negative.")
    try:
        code = None if found.code is None else _code(found.code)
    except ValueError as error:
        raise _bad(where, f"'code': {error}.") from None
    return CoreCosts(
        core=find_core(found.core).core,
        basis=CostBasis(found.basis),
        source=found.source,
        kernels={
            name: KernelCosts(kernel.coefficients, kernel.error_percent) for name, kernel in found.kernels.items()
        },
        code=code,
    )


def _code(table: _CodeTable) -> CodeSizes:
    units = {name: CodeUnit(unit.bytes, tuple(unit.uses)) for name, unit in table.units.items()}
    own = table.model
    return CodeSizes(units, table.layers, own.once, own.step, own.transpose)


def costs_text(costs: CoreCosts) -> str:
    """The TOML text of a record: kernels and units sorted, terms in their own order, four decimals.

    ``source`` must be one line without quotes and backslashes; names must be bare TOML keys.
    """
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        "# Written by bench/calibrate.py: cycles per unit of each term at zero wait states, bytes of code.",
        f"format = {FORMAT}",
        f'core = "{costs.core}"',
        f'basis = "{costs.basis.value}"',
        f'source = "{costs.source}"',
    ]
    for name, kernel in sorted(costs.kernels.items()):
        lines += ["", f"[kernels.{name}]", f"error_percent = {kernel.error_percent:.1f}"]
        lines += ["", f"[kernels.{name}.coefficients]"]
        lines += [f"{term} = {value:.4f}" for term, value in kernel.coefficients.items()]
    if costs.code is not None:
        lines += ["", *code_lines(costs.code)]
    return "\n".join(lines) + "\n"


@cache
def load_costs(core: str) -> CoreCosts | None:
    """The coefficients of a core, None where nobody has calibrated it. Raises what :func:`parse_costs` does."""
    name = f"{find_core(core).core}.toml"
    entry = resources.files("picobnn.codegen.targets") / "costs" / name
    if not entry.is_file():
        return None
    costs = parse_costs(entry.read_text(encoding="utf-8"), f"costs/{name}")
    return replace(costs, bounds=load_bounds(core))


def _bad(where: str, what: str) -> PicobnnError:
    return PicobnnError(
        ErrorId.CONFIG_VALUE, what, where=where, remedy="Write the file with bench/calibrate.py, or correct it."
    )
