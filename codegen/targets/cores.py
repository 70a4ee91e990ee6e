# SPDX-License-Identifier: Apache-2.0
"""The Cortex-M cores that picobnn compiles for, one frozen record each. Ids are GCC's ``-mcpu`` names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from picobnn.errors import ErrorId, PicobnnError


class InstructionSet(Enum):
    """What kernels may assume: v6-M (Thumb-1 only), v7-M and v8-M Mainline, and v8.1-M with Helium (MVE)."""

    V6M = "v6m"
    V7M = "v7m"
    MVE = "mve"


@dataclass(frozen=True, slots=True)
class Target:
    """A core. ``compiler_flags`` select it for arm-none-eabi-gcc; ``has_dsp`` says UADD8, USADA8 and SMLAD exist."""

    core: str
    name: str
    isa: InstructionSet
    has_dsp: bool
    compiler_flags: tuple[str, ...]


_SOFT = ("-mthumb", "-mfloat-abi=soft")

CORES: tuple[Target, ...] = (
    Target("cortex-m0", "Cortex-M0", InstructionSet.V6M, False, ("-mcpu=cortex-m0", *_SOFT)),
    Target("cortex-m0plus", "Cortex-M0+", InstructionSet.V6M, False, ("-mcpu=cortex-m0plus", *_SOFT)),
    Target("cortex-m3", "Cortex-M3", InstructionSet.V7M, False, ("-mcpu=cortex-m3", *_SOFT)),
    Target("cortex-m4", "Cortex-M4", InstructionSet.V7M, True, ("-mcpu=cortex-m4", *_SOFT)),
    Target("cortex-m7", "Cortex-M7", InstructionSet.V7M, True, ("-mcpu=cortex-m7", *_SOFT)),
    Target("cortex-m33", "Cortex-M33", InstructionSet.V7M, True, ("-mcpu=cortex-m33", *_SOFT)),
    Target("cortex-m55", "Cortex-M55", InstructionSet.MVE, True, ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard")),
)


def find_core(name: str) -> Target:
    """The record of ``cortex-m4`` or, as the command line allows, ``m4``. Raises E_UNKNOWN_CORE."""
    wanted = name.lower().replace("+", "plus")
    for target in CORES:
        if wanted in (target.core, target.core.removeprefix("cortex-")):
            return target
    known = ", ".join(target.core for target in CORES)
    raise PicobnnError(
        ErrorId.UNKNOWN_CORE, f"no core is called '{name}'.", where="core", remedy=f"Known cores: {known}."
    )
