# SPDX-License-Identifier: Apache-2.0
"""What a user wants of pruning, in bytes, cycles or shares, and how a network is measured for it.

Flash is that of a linked image: tables by the plan, code linked once per set of kernels while settings are tried, and
the image of the trained network in the end. Without a cross compiler the plan's estimate serves, where the core has
sizes of code. Cycles are the plan's estimate. Called by ``prune.py``.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from picobnn.config import Config, parse_cycles_goal
from picobnn.errors import ErrorId, PicobnnError
from picobnn.flow.export import export_program
from picobnn.flow.image import build_outcome, make_image, make_plan_for

if TYPE_CHECKING:
    from picobnn.codegen.plan import Plan
    from picobnn.codegen.program import Program
    from picobnn.codegen.targets import Board, Target
    from picobnn.trainer.models import Network
    from picobnn.trainer.pruning.reach import Aim

MEASURED_IMAGES = 32  # what densities are counted on while settings are tried


@dataclass(frozen=True, slots=True)
class GoalOutcome:
    """What was asked for and what came out. ``difference``: of ``reached``, as a share of ``target``; ``basis``:
    "linked", "estimated" or "counted"; ``met``: within 5 %."""

    what: str
    target: float
    reached: float
    difference: float
    basis: str
    met: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class FlashGauge:
    """Flash bytes of networks on the configured board."""

    def __init__(self, config: Config, images: npt.NDArray[np.uint8]) -> None:
        from picobnn.codegen.targets import load_board

        self._config = config
        self._images = images[:MEASURED_IMAGES]
        self._board: Board = load_board(config.target.board)
        self._code: dict[tuple[tuple[str, bool], ...], int] = {}
        self.basis = "linked"

    @property
    def what(self) -> str:
        return f"flash on {self._board.id}"

    def predicted(self, network: Network) -> float:
        """Tables of the plan, and the code that its kernels were linked with before."""
        program, _ = export_program(network, self._config.model.name, self._images)
        plan = make_plan_for(program, self._board.target, self._config)
        kernels = tuple((step.strategy, step.transpose_bytes > 0) for step in plan.steps)
        tables = _table_bytes(plan, self._board.target)
        if kernels not in self._code:
            self._code[kernels] = self._measure(program, plan) - tables
        return tables + self._code[kernels]

    def figure(self, network: Network) -> float:
        """The linked image's, or without a cross compiler the plan's estimate."""
        program, _ = export_program(network, self._config.model.name, self._images)
        return self._measure(program, make_plan_for(program, self._board.target, self._config))

    def _measure(self, program: Program, plan: Plan) -> int:
        try:
            with tempfile.TemporaryDirectory(prefix="picobnn-prune-") as folder:
                image = make_image(program, Path(folder) / self._board.id, self._board.id, self._config, None)
                return build_outcome(image).flash_bytes
        except PicobnnError as error:
            if error.error_id is not ErrorId.TOOL_MISSING or plan.flash_bytes is None:
                raise
        self.basis = "estimated"
        return plan.flash_bytes


class CycleGauge:
    """Estimated cycles of one inference on a core, transposes included."""

    basis = "estimated"

    def __init__(self, config: Config, core: str, images: npt.NDArray[np.uint8]) -> None:
        from picobnn.codegen.targets import find_core

        self._config = config
        self._target: Target = find_core(core)
        self._images = images[:MEASURED_IMAGES]

    @property
    def what(self) -> str:
        return f"cycles on {self._target.core}"

    def predicted(self, network: Network) -> float:
        """Of the plan; PRUNING error where the core has no coefficients."""
        program, _ = export_program(network, self._config.model.name, self._images)
        cycles = 0
        for step in make_plan_for(program, self._target, self._config).steps:
            if step.cost is None or step.transpose_cycles is None:
                raise PicobnnError(
                    ErrorId.PRUNING, "there are no cost coefficients for this core.", where=self.what,
                    remedy="Name another core, or give a target rate or flash size.",
                )  # fmt: skip
            cycles += step.cost.cycles + step.transpose_cycles
        return cycles

    figure = predicted


Gauge = FlashGauge | CycleGauge


def gauge_of(config: Config, images: npt.NDArray[np.uint8]) -> Gauge | None:
    """How the configured goal is measured; None for a share or no goal. Raises E_UNKNOWN_BOARD, E_UNKNOWN_CORE."""
    if config.prune.target_flash is not None:
        return FlashGauge(config, images)
    if config.prune.target_cycles is not None:
        return CycleGauge(config, parse_cycles_goal(config.prune.target_cycles)[0], images)
    return None


def aim_of(config: Config, gauge: Gauge | None) -> Aim | None:
    """The configured goal, None without one."""
    from picobnn.trainer.pruning.reach import Aim

    section = config.prune
    if isinstance(gauge, FlashGauge) and section.target_flash is not None:
        return Aim(gauge.what, section.target_flash, "bytes")
    if isinstance(gauge, CycleGauge) and section.target_cycles is not None:
        return Aim(gauge.what, parse_cycles_goal(section.target_cycles)[1], "cycles")
    return None if section.target_rate is None else Aim("share removed", section.target_rate)


def _table_bytes(plan: Plan, target: Target) -> int:
    from picobnn.codegen.strategies import find_strategy, table_bytes

    return sum(
        table_bytes(find_strategy(planned.strategy).tables(step, plan.program, target))
        for step, planned in zip(plan.program.steps, plan.steps, strict=True)
    )
