# SPDX-License-Identifier: Apache-2.0
"""What one inference costs on an emulated board: instructions counted, cycles modelled, per layer.

The counting plugin watches the real ELF; the cycle model is applied to the blocks that ran. An emulator has no
latency: nothing here is called measured.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from picobnn.errors import ErrorId, PicobnnError
from picobnn.flow.image import BuildOutcome, Image, build_outcome

if TYPE_CHECKING:
    from picobnn.codegen.program import Program


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """One step. ``instructions`` counted, ``cycles`` modelled at zero wait states, None on a core without a model;
    ``cycles_up_to``: with the wait states of the board's flash and nothing that hides them (``sim/cycles/flash.py``).
    ``flash_bytes``: its tables, from the map file. ``ram_bytes``: input, output and scratch in the arena."""

    name: str
    op: str
    strategy: str
    macs: int
    instructions: int
    cycles: int | None
    cycles_up_to: int | None
    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True, slots=True)
class ProfileOutcome:
    """One image on one board. ``error_band_percent`` belongs to ``cycles`` and is None where none was established, and
    where the model had to guess: ``unexplained`` counts interrupts and instructions that it does not know.
    ``cycles_up_to``: the upper end of the range at the flash's ``wait_states``; the band is not in it."""

    board: str
    core: str
    model_hash: str
    instructions: int
    cycles: int | None
    cycles_up_to: int | None
    wait_states: int
    error_band_percent: float | None
    unexplained: int
    cycles_per_32_macs: float | None
    is_latency: bool
    layers: tuple[LayerProfile, ...]
    build: BuildOutcome

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def profile_image(image: Image, program: Program, picture: npt.NDArray[np.uint8]) -> ProfileOutcome:
    """Run ``picture``, uint8 (H, W, C), once on the emulated board and count; the result must equal the reference.

    Raises E_EMULATOR_FAILED, E_TOOL_MISSING, E_MODEL_MISMATCH, E_MISMATCH when the counted run computed another result.
    """
    from picobnn.codegen.bnn_file import model_hash
    from picobnn.codegen.pack import store_tensor
    from picobnn.codegen.plan import Layout
    from picobnn.harness.emulated import flash_emulated
    from picobnn.harness.vectors import run_image
    from picobnn.sim.cycles import (
        build_plugin,
        find_model,
        flash_lines,
        layer_costs,
        plugin_argument,
        read_counts,
        total_cycles,
        total_instructions,
    )
    from picobnn.sim.reference import run_program

    board, manifest = image.board, image.manifest
    flash, wait_states = flash_lines(board), board.flash_timing.wait_states
    expected = store_tensor(run_program(program, picture[None])[-1][0], Layout(manifest.steps[-1].output_layout))
    with tempfile.TemporaryDirectory(prefix="picobnn-profile-") as folder:
        counts = Path(folder) / "counts.txt"
        plugin = plugin_argument(build_plugin(_cache_folder()), counts, flash=flash)
        with flash_emulated(board, image.built.elf, model_hash=model_hash(program), plugin=plugin) as session:
            result = run_image(session, picture.tobytes())
        segments = read_counts(counts)
    if result != expected:
        raise PicobnnError(
            ErrorId.MISMATCH,
            "the counted run computed another result than the reference.",
            where=board.id,
            remedy="Run 'picobnn verify --on emulator' to find the first difference.",
        )
    costs = layer_costs(segments, image.built.elf, board.target.core, len(manifest.steps), flash)
    model = find_model(board.target.core)
    total, unexplained = total_cycles(costs), sum(cost.interrupted + cost.undecoded for cost in costs)
    sizes = build_outcome(image)
    buffers = {buffer.tensor: buffer.size_bytes for buffer in manifest.buffers}
    macs = sum(step.macs for step in manifest.steps)
    return ProfileOutcome(
        board=board.id,
        core=board.target.core,
        model_hash=manifest.model_hash,
        instructions=total_instructions(costs),
        cycles=total,
        cycles_up_to=None if total is None else total + sum(wait_states * cost.line_changes for cost in costs),
        wait_states=wait_states,
        error_band_percent=None if model is None or unexplained else model.error_band_percent,
        unexplained=unexplained,
        cycles_per_32_macs=None if total is None else round(32 * total / macs, 2),
        is_latency=False,
        layers=tuple(
            LayerProfile(
                name=step.name,
                op=step.op,
                strategy=step.strategy,
                macs=step.macs,
                instructions=cost.instructions,
                cycles=cost.cycles,
                cycles_up_to=None if cost.cycles is None else cost.cycles + wait_states * cost.line_changes,
                flash_bytes=flash_bytes,
                ram_bytes=buffers[step.input] + buffers[step.output] + step.scratch_bytes,
            )
            for step, cost, flash_bytes in zip(manifest.steps, costs, sizes.layer_flash_bytes, strict=True)
        ),
        build=sizes,
    )


def _cache_folder() -> Path:
    import os

    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "picobnn"
