# SPDX-License-Identifier: Apache-2.0
"""What every cycle model offers, and the table of the models.

Invariant: a model is a pure function of instructions; it knows no counts, no memory contents and no emulator. All
figures are core cycles with every memory at zero wait states. Used by :mod:`picobnn.sim.cycles.costs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from picobnn.codegen.targets.cores import find_core
from picobnn.sim.cycles.instruction import Instruction
from picobnn.sim.cycles.m3_m4 import CORTEX_M3, CORTEX_M4
from picobnn.sim.cycles.m7 import CORTEX_M7
from picobnn.sim.cycles.m33 import CORTEX_M33
from picobnn.sim.cycles.m55 import CORTEX_M55
from picobnn.sim.cycles.v6m import CORTEX_M0, CORTEX_M0PLUS


class CycleModel(Protocol):
    """Cycles of executed code on one core.

    ``error_band_percent``: figures are claimed to lie within plus or minus this of silicon at zero wait states; None
    where no silicon was compared (the figure is then modelled without a band, and whoever prints it says so).
    """

    @property
    def name(self) -> str:
        """As printed, e.g. ``Cortex-M4``."""

    @property
    def core(self) -> str:
        """GCC's name, e.g. ``cortex-m4``."""

    @property
    def error_band_percent(self) -> int | None: ...

    def block_cycles(self, block: Sequence[Instruction]) -> int:
        """Cycles of one pass through straight-line code whose last branch, if any, is not taken.

        Calls, returns and other jumps through a register always leave, so their whole cost is in here.
        """

    def taken_cycles(self, block: Sequence[Instruction], target: Instruction | None) -> int:
        """What is added when the block is left by its last instruction, to ``target`` (None: unknown code)."""


MODELS: tuple[CycleModel, ...] = (CORTEX_M0, CORTEX_M0PLUS, CORTEX_M3, CORTEX_M4, CORTEX_M33, CORTEX_M7, CORTEX_M55)


def find_model(core: str) -> CycleModel | None:
    """The model of a core (``cortex-m4`` or ``m4``), None for one that has none.

    Raises E_UNKNOWN_CORE for no core of picobnn's.
    """
    wanted = find_core(core).core
    return next((model for model in MODELS if model.core == wanted), None)
