# SPDX-License-Identifier: Apache-2.0
"""What a program costs on cores, per layer: tables, RAM, and with a compiler the linked size.

Table and arena bytes are the plan's (estimated; the linked image has the same, which a test holds). Flash and RAM
of the model come from the map file of an image that is linked for the asking. Cycles are modelled from a run on the
emulator, on request only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picobnn.config import BudgetSection, Config
from picobnn.errors import ErrorId, PicobnnError
from picobnn.flow.budget import budget_failure
from picobnn.flow.golden_costs import golden_costs
from picobnn.flow.image import (
    BuildOutcome,
    build_outcome,
    golden_vectors,
    load_program,
    make_image,
    make_plan_for,
    placement_for,
    prefix_of,
)
from picobnn.flow.progress import Say, silent

if TYPE_CHECKING:
    from picobnn.codegen.plan import Plan
    from picobnn.codegen.program import Program
    from picobnn.codegen.targets import Board, FlashTiming
    from picobnn.flow.profile import ProfileOutcome


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One step. ``weight_density`` is the share of ones; sizes in bytes; ``flash_bytes`` are the linked tables, None
    without a cross compiler; ``cycles`` modelled at zero wait states, None if not asked; ``cycles_up_to``: with those
    of the board's flash, see ``profile.py``. ``estimated_cycles``: what the choice of kernels went by; ``golden_*``: of
    one estimate per golden vector where the time depends on the image; ``worst_cycles``: with the worst of all images,
    the same as the estimate where the kernel is ``input_independent``; ``transpose_cycles`` come on top. All None where
    the core has no coefficients. ``beat``: the estimates of the kernels that were not chosen."""

    name: str
    strategy: str
    input_shape: str
    output_shape: str
    macs: int
    weight_density: float
    table_bytes: int
    output_bytes: int
    scratch_bytes: int
    flash_bytes: int | None
    cycles: int | None
    cycles_up_to: int | None
    estimated_cycles: int | None
    golden_mean_cycles: int | None
    golden_worst_cycles: int | None
    worst_cycles: int | None
    input_independent: bool
    transpose_cycles: int | None
    beat: dict[str, int]


@dataclass(frozen=True, slots=True)
class BoardAnalysis:
    """One board. ``ram_table_bytes``: tables that start-up copies to RAM; ``hot_code_bytes``: linked inner loops that
    run from there; both are in ``flash_bytes`` and ``ram_bytes``.
    ``estimated_flash_bytes``: what a flash budget goes by. Linked figures are None without a cross compiler, ``cycles``
    unless asked for. The range of cycles goes from zero wait states to the ``wait_states`` of the flash."""

    board: str
    core: str
    layers: tuple[LayerFacts, ...]
    table_bytes: int
    arena_bytes: int
    estimated_flash_bytes: int | None
    ram_table_bytes: int
    hot_code_bytes: int | None
    flash_bytes: int | None
    ram_bytes: int | None
    cycles: int | None
    cycles_up_to: int | None
    wait_states: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """All boards asked for."""

    program: str
    model_hash: str
    macs: int
    weight_bits: int
    boards: tuple[BoardAnalysis, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def failure(self, config: Config) -> PicobnnError | None:
        """What the configured budgets say, of the first board that fails."""
        for board in self.boards:
            figures = {"flash_bytes": board.flash_bytes, "ram_bytes": board.ram_bytes, "cycles": board.cycles}
            found = budget_failure(config.budget, figures, board.board)
            if found is not None:
                return found
        return None


def analyze(
    config: Config, program_path: Path, golden: Path, boards: Sequence[str], *, with_cycles: bool, say: Say = silent
) -> Analysis:
    """Analyze a program on boards. Raises E_BNN_*, E_UNKNOWN_BOARD, E_NO_STRATEGY, E_DOES_NOT_FIT."""
    from picobnn.codegen.bnn_file import model_hash
    from picobnn.codegen.program import step_macs
    from picobnn.codegen.targets import load_board

    program = load_program(program_path)
    analyses = []
    for name in boards:
        board = load_board(name)
        say(f"analyzing on {board.id} ({board.target.core})")
        analyses.append(_analyze_board(config, program, board, golden, with_cycles))
    return Analysis(
        program=str(program_path),
        model_hash=model_hash(program).hex(),
        macs=sum(step_macs(program, step) for step in program.steps),
        weight_bits=sum(step.weights.size for step in program.steps),
        boards=tuple(analyses),
    )


def boards_of_cores(cores: Sequence[str]) -> tuple[str, ...]:
    """An emulated board for each core. Raises E_UNKNOWN_CORE, E_UNKNOWN_BOARD."""
    from picobnn.codegen.targets import board_ids, find_core, load_board

    known = [load_board(name) for name in board_ids()]
    chosen = []
    for core in cores:
        target = find_core(core)
        matching = [board.id for board in known if board.target == target and board.emulator is not None]
        if not matching:
            raise PicobnnError(
                ErrorId.UNKNOWN_BOARD,
                "no emulated board has this core.",
                where=target.core,
                remedy="Name a board with --board.",
            )
        chosen.append(matching[0])
    return tuple(chosen)


def _analyze_board(config: Config, program: Program, board: Board, golden: Path, with_cycles: bool) -> BoardAnalysis:
    from picobnn.codegen.placement import ram_tables
    from picobnn.codegen.pruning_pays import pruning_notes
    from picobnn.codegen.sparsity import sparsity_gains
    from picobnn.flow.profile import profile_image

    notes: list[str] = []
    try:
        plan = make_plan_for(program, board.target, config)
    except PicobnnError as error:
        if error.error_id is not ErrorId.BUDGET_EXCEEDED:
            raise
        # The figures without the budget are what the user needs to see; the linked ones decide the exit code.
        notes.append(f"no choice of kernels keeps the budget: {error.what} The figures are those without it.")
        config = config.model_copy(update={"budget": BudgetSection()})
        plan = make_plan_for(program, board.target, config)
    notes += [f"{plan.program.steps[index].name}: {gain}." for index, gain in sparsity_gains(plan).items()]
    sizes: BuildOutcome | None = None
    profile: ProfileOutcome | None = None
    vectors = golden_vectors(golden)
    with tempfile.TemporaryDirectory(prefix="picobnn-analyze-") as folder:
        try:
            image = make_image(plan.program, Path(folder) / board.id, board.id, config, vectors)
            sizes = build_outcome(image)
            if with_cycles and vectors is not None:
                profile = profile_image(image, plan.program, vectors.images[0])
                if profile.cycles is not None and profile.error_band_percent is None:
                    notes.append("cycles are modelled without a band: docs/cycle-models.md says why.")
                if profile.cycles is not None and profile.wait_states:
                    notes.append(_wait_state_note(board.flash_timing))
        except PicobnnError as error:
            if error.error_id is not ErrorId.TOOL_MISSING:
                raise
            notes.append(f"{error.what} {error.remedy}")
    layers = _layers(plan, sizes, profile, {} if vectors is None else golden_costs(plan, vectors))
    copies = ram_tables(plan, prefix_of(plan.program, config), placement_for(board, config))
    return BoardAnalysis(
        board=board.id,
        core=board.target.core,
        layers=layers,
        table_bytes=sum(layer.table_bytes for layer in layers),
        arena_bytes=plan.arena_bytes,
        estimated_flash_bytes=plan.flash_bytes,
        ram_table_bytes=sum(table.size_bytes for table in copies),
        hot_code_bytes=None if sizes is None else sizes.hot_code_bytes,
        flash_bytes=None if sizes is None else sizes.flash_bytes,
        ram_bytes=None if sizes is None else sizes.ram_bytes,
        cycles=None if profile is None else profile.cycles,
        cycles_up_to=None if profile is None else profile.cycles_up_to,
        wait_states=board.flash_timing.wait_states,
        notes=(*notes, *pruning_notes(plan)),
    )


def _wait_state_note(timing: FlashTiming) -> str:
    return (
        f"cycles lie between zero wait states and {timing.wait_states} at every change of a flash line of "
        f"{timing.line_bytes} bytes (cache: {timing.cache.value}, prefetch: {timing.prefetch.value}; neither counted "
        f"on); {timing.source}."
    )


def _layers(
    plan: Plan,
    sizes: BuildOutcome | None,
    profile: ProfileOutcome | None,
    golden: Mapping[int, tuple[int, int]],
) -> tuple[LayerFacts, ...]:
    from picobnn.codegen.program import step_macs
    from picobnn.codegen.strategies import find_strategy, table_bytes
    from picobnn.codegen.targets import find_core

    program = plan.program
    return tuple(
        LayerFacts(
            name=step.name,
            strategy=planned.strategy,
            input_shape=str(program.tensors[step.input].shape),
            output_shape=str(program.tensors[step.output].shape),
            macs=step_macs(program, step),
            weight_density=float(step.weights.mean()),
            table_bytes=table_bytes(find_strategy(planned.strategy).tables(step, program, find_core(plan.core))),
            output_bytes=plan.buffers[step.output].size_bytes,
            scratch_bytes=planned.scratch_bytes,
            flash_bytes=None if sizes is None else sizes.layer_flash_bytes[planned.step],
            cycles=None if profile is None else profile.layers[planned.step].cycles,
            cycles_up_to=None if profile is None else profile.layers[planned.step].cycles_up_to,
            estimated_cycles=None if planned.cost is None else planned.cost.cycles,
            golden_mean_cycles=golden[planned.step][0] if planned.step in golden else None,
            golden_worst_cycles=golden[planned.step][1] if planned.step in golden else None,
            worst_cycles=None if planned.cost is None else planned.cost.worst_cycles,
            input_independent=find_strategy(planned.strategy).input_independent,
            transpose_cycles=planned.transpose_cycles,
            beat={other.strategy: other.cost.cycles for other in planned.alternatives},
        )
        for step, planned in zip(program.steps, plan.steps, strict=True)
    )
