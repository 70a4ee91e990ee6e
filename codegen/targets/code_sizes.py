# SPDX-License-Identifier: Apache-2.0
"""What code takes in flash on one core: the sections that the linker may leave out or keep, and what each refers to.

Part of ``costs/<core>.toml`` (see ``costs.py``), written by ``bench/calibrate.py --code`` from compiled objects.
Invariant: every unit that a unit uses is known. Read by ``runtime_code.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodeUnit:
    """One section of the runtime, with the private ones that it alone refers to. ``size_bytes``: without the padding in
    front of it, as map files count. ``uses``: units that are linked whenever this one is, by name."""

    size_bytes: int
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CodeSizes:
    """``units`` by their symbol. A model's own code takes ``once`` bytes, ``step`` per step and ``transpose`` per
    transpose (fitted: the compiler sees addresses), and exactly ``layers[c_type]`` per step for its record."""

    units: Mapping[str, CodeUnit]
    layers: Mapping[str, int]
    once: int
    step: int
    transpose: int

    def __post_init__(self) -> None:
        """Raises ValueError."""
        own = {"once": self.once, "step": self.step, "transpose": self.transpose}
        units = {name: unit.size_bytes for name, unit in self.units.items()}
        for name, size in {**own, **self.layers, **units}.items():
            if size < 0:
                raise ValueError(f"{name} is {size}; sizes are not negative")
        for name, unit in self.units.items():
            for used in unit.uses:
                if used not in self.units:
                    raise ValueError(f"{name} uses {used}, which is not there")


def code_lines(code: CodeSizes) -> list[str]:
    """As tables of a TOML file, names sorted, a line per unit."""
    own = {"once": code.once, "step": code.step, "transpose": code.transpose}
    lines = ["[code.model]", *(f"{name} = {size}" for name, size in own.items())]
    lines += ["", "[code.layers]", *(f"{name} = {size}" for name, size in sorted(code.layers.items()))]
    lines += ["", "[code.units]"]
    for name, unit in sorted(code.units.items()):
        names = ", ".join(f'"{used}"' for used in unit.uses)
        uses = f", uses = [{names}]" if unit.uses else ""
        key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
        lines.append(f"{key} = {{ bytes = {unit.size_bytes}{uses} }}")
    return lines
