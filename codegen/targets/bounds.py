# SPDX-License-Identifier: Apache-2.0
"""What one run of each part of a kernel takes on one core at most, read from ``bounds/<core>.toml``; for the bounds on
kernels whose cycles depend on the input.

``bench/rows_bounds.py`` writes the files (:func:`bounds_text`). What is promised: no layer of the calibration, on none
of its inputs, took more modelled cycles at zero wait states than its parts add up to, with the runtime and the compiler
of that run; ``source`` says how many runs that were.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from picobnn.codegen.targets.cores import find_core
from picobnn.errors import ErrorId, PicobnnError

FORMAT: Literal[1] = 1


class _BoundsFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    format: Literal[1]
    core: str
    source: str
    parts: dict[str, dict[str, float]]


def parse_bounds(text: str, where: str) -> dict[str, dict[str, float]]:
    """Cycles by strategy and part. Raises E_CONFIG_FILE (no TOML), E_CONFIG_VALUE, E_UNKNOWN_CORE."""
    try:
        found = _BoundsFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PicobnnError(
            ErrorId.CONFIG_FILE, f"not a TOML file: {error}.", where=where, remedy="Correct the file."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _bad(where, f"'{'.'.join(str(part) for part in first['loc'])}': {first['msg']}.") from None
    find_core(found.core)
    for strategy, parts in found.parts.items():
        for part, value in parts.items():
            if not math.isfinite(value) or value < 0:
                raise _bad(where, f"'parts.{strategy}': {part} is {value}; cycles are finite and not negative.")
    return found.parts


def bounds_text(core: str, source: str, parts: Mapping[str, Mapping[str, float]]) -> str:
    """The TOML text: sorted, cycles rounded up to the fourth decimal. ``source``: one line without quotes and
    backslashes; names must be bare TOML keys."""
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        "# Written by bench/rows_bounds.py: cycles at zero wait states that one run of a part takes at most.",
        f"format = {FORMAT}",
        f'core = "{core}"',
        f'source = "{source}"',
    ]
    for strategy, cycles in sorted(parts.items()):
        lines += ["", f"[parts.{strategy}]"]
        lines += [f"{part} = {math.ceil(value * 10000) / 10000:.4f}" for part, value in sorted(cycles.items())]
    return "\n".join(lines) + "\n"


@cache
def load_bounds(core: str) -> dict[str, dict[str, float]]:
    """Of a core; empty where nobody has calibrated it. Raises what :func:`parse_bounds` does."""
    name = f"{find_core(core).core}.toml"
    entry = resources.files("picobnn.codegen.targets") / "bounds" / name
    if not entry.is_file():
        return {}
    return parse_bounds(entry.read_text(encoding="utf-8"), f"bounds/{name}")


def _bad(where: str, what: str) -> PicobnnError:
    return PicobnnError(
        ErrorId.CONFIG_VALUE, what, where=where, remedy="Write the file with bench/rows_bounds.py, or correct it."
    )
