# SPDX-License-Identifier: Apache-2.0
"""Rows of ``bench/methods.py``: one network as firmware on both cores, and the file that holds all rows.

Flash, weights and RAM are those of the linked image that ran; cycles are modelled at zero wait states, never measured.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from layer_runs import PREFIX, board_of, link_plan, plan_for, run_plan
from methods_lab import Lab, Trained, cpu_seconds

from picobnn.codegen.budget import Budget
from picobnn.codegen.plan import Kernels, Optimize, Plan
from picobnn.codegen.program import Program
from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import write_json
from picobnn.flow.export import export_program
from picobnn.map_file import model_memory
from picobnn.trainer.evaluate import evaluate
from picobnn.trainer.pruning import count_macs, find_filters
from picobnn.trainer.pruning.general_domain import count_ones

CORES = {"cortex-m0plus": "m0plus", "cortex-m4": "m4"}
MAIN_CORE = "cortex-m4"
DENSITY_IMAGES = 256

FLASH_LIMITS = (1.2, 0.7, 0.5)
"""Of the dense network's flash (``reference_flash``): those of the bars."""
ESTIMATES_WITHIN = 0.01
"""Room below a limit: it is kept as estimated, and what counts is what was linked."""

Row = dict[str, Any]


def make_rows(
    lab: Lab, method: str, setting: str, seed: int, trained: Trained, commit: str, dense_flash: int | None = None
) -> list[Row]:
    """One row per kind of plan, named in ``optimize``: the fastest plan, the balanced one, and for each of
    :data:`FLASH_LIMITS` the fastest with that flash on Cortex-M4 at most, where there is one.

    ``dense_flash``: bytes that the limits are relative to; None: this network's own. The test split
    is scored here and nowhere else. ``flash_bytes``, ``weight_bytes`` and ``ram_bytes`` are those of Cortex-M4;
    ``images`` has them of both cores. ``cpu_seconds``: of training; ``firmware_cpu_seconds``: of scoring, linking and
    running, compilers and emulator included.
    """
    started = cpu_seconds()
    images = lab.dataset.val.images
    program, _ = export_program(trained.network, lab.model, images[:DENSITY_IMAGES])
    facts = {"method": method, "setting": setting, "seed": seed, "commit": commit, **_facts(lab, trained)}
    made: dict[tuple[str, ...], Row] = {}

    def figures(optimize: Optimize, limit: int | None = None) -> Row | None:
        """Of one kind of plan, None where there is none; an image that is there already is not made again."""
        plans = _plans(program, optimize, limit)
        if plans is None:
            return None
        keys = {core: (core, *(step.strategy for step in plan.steps)) for core, plan in plans.items()}
        for core, plan in plans.items():
            if keys[core] not in made:
                made[keys[core]] = _image(plan, CORES[core], images[0])
        return _sizes_and_cycles({core: made[keys[core]] for core in CORES})

    kinds = {each.value: figures(each) for each in (Optimize.SPEED, Optimize.BALANCED)}
    whole = dense_flash or min(row["flash_bytes"] for row in kinds.values() if row is not None)
    for ratio in FLASH_LIMITS:
        kinds[f"flash {ratio:g}x"] = figures(Optimize.SPEED, int(ratio * (1 - ESTIMATES_WITHIN) * whole))
    spent = round(cpu_seconds() - started, 1)
    return [
        {**facts, **row, "optimize": kind, "firmware_cpu_seconds": spent}
        for kind, row in kinds.items()
        if row is not None
    ]


def _facts(lab: Lab, trained: Trained) -> Row:
    """The columns that no plan changes."""
    network, data, dense = trained.network, lab.dataset, lab.fresh(0)
    probe = torch.from_numpy(data.val.images[:1]).permute(0, 3, 1, 2)
    ones = count_ones(network)
    return {
        "accuracy": evaluate(network, data.test.images, data.test.labels),
        "val_accuracy": evaluate(network, data.val.images, data.val.labels),
        "pfr": 1 - _filters(network) / _filters(dense),
        "pcr": 1 - count_macs(network, probe) / count_macs(dense, probe),
        "density": sum(layer.ones for layer in ones) / sum(layer.total for layer in ones),
        "widths": list(network.config.widths),
        "macs": count_macs(network, probe),
        "seconds": round(trained.seconds, 1),
        "cpu_seconds": round(trained.cpu_seconds, 1),
        **trained.notes,
    }


def _sizes_and_cycles(images: Mapping[str, Row]) -> Row:
    sizes = {name: images[MAIN_CORE][name] for name in ("weight_bytes", "flash_bytes", "ram_bytes")}
    return {**sizes, "cycles": {core: image["cycles"] for core, image in images.items()}, "images": dict(images)}


def _plans(program: Program, optimize: Optimize, limit: int | None) -> dict[str, Plan] | None:
    """By core; the limit is for the main core's, whose kernels another core need not have. None: no plan keeps it."""
    try:
        return {
            core: plan_for(
                program,
                board_of(name),
                Kernels.AUTO,
                optimize,
                budget=Budget(flash_bytes=limit if core == MAIN_CORE else None),
            )
            for core, name in CORES.items()
        }
    except PicobnnError as error:
        if error.error_id is not ErrorId.BUDGET_EXCEEDED:
            raise
        return None


def _image(plan: Plan, core: str, image: Any) -> Row:
    """One linked image. PicobnnError when a step's output is not that of the reference, or cycles are not modelled."""
    board = board_of(core)
    _, link_map = link_plan(plan, board)
    memory = model_memory(link_map, PREFIX)
    run = run_plan(plan, board, image)
    cycles = [(step.cycles, step.transpose_cycles) for step in run.steps]
    wrong = not all(step.is_equal for step in run.steps) or run.flash_bytes != memory.flash_bytes
    if wrong or any(None in pair for pair in cycles):
        raise PicobnnError(
            ErrorId.PLAN_INVALID, "the firmware differs from the reference or has no modelled cycles.",
            where=f"{plan.program.name} on {core}", remedy="This is a bug in a kernel or in the bench.",
        )  # fmt: skip
    return {
        "board": run.board,
        "kernels": [step.strategy for step in run.steps],
        "cycles": sum((first or 0) + (second or 0) for first, second in cycles),
        "weight_bytes": memory.weight_bytes,
        "flash_bytes": memory.flash_bytes,
        "ram_bytes": memory.data_bss_bytes + run.arena_bytes,
    }


def _filters(network: torch.nn.Module) -> int:
    return sum(group.filters for group in find_filters(network))


def key_of(row: Row) -> tuple[str, str, int, str]:
    """What makes a row one row."""
    return row["method"], row["setting"], row["seed"], row["optimize"]


def read_rows(path: Path, header: Row | None = None) -> list[Row]:
    """The rows of a results file, none where it is absent. PicobnnError when it belongs to another ``header``."""
    if not path.exists():
        return []
    stored = json.loads(path.read_text(encoding="utf-8"))
    found = {name: value for name, value in stored.items() if name != "rows"}
    if header is not None and found != header:
        raise PicobnnError(
            ErrorId.BAD_INPUT, f"its rows are of {found}, these of {header}.", where=str(path),
            remedy="Write to another file (--results), or remove this one.",
        )  # fmt: skip
    rows: list[Row] = stored["rows"]
    return rows


def merge_rows(path: Path, header: Row, new: Sequence[Row]) -> None:
    """Put rows into the file, whole or not at all, in place of all rows of their cells. Others may do so meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cells = done_cells(new)
        others = [row for row in read_rows(path, header) if not done_cells([row]) & cells]
        write_json(path, {**header, "rows": sorted((*others, *new), key=key_of)})
    finally:
        os.close(lock)


def done_cells(rows: Iterable[Row]) -> set[tuple[str, str, int]]:
    """Cells that have their row."""
    return {(row["method"], row["setting"], row["seed"]) for row in rows}
