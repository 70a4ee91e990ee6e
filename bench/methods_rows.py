# SPDX-License-Identifier: Apache-2.0
"""Rows of ``bench/methods.py``: one network as firmware on both cores, and the file that holds all rows.

Flash, weights and RAM are those of the linked image that ran; cycles are modelled at zero wait states, never measured.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from layer_runs import PREFIX, board_of, link_plan, plan_for, run_plan
from methods_lab import Lab, Trained, cpu_seconds

from picobnn.codegen.plan import Kernels, Optimize, Plan
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

Row = dict[str, Any]


def make_rows(lab: Lab, method: str, setting: str, seed: int, trained: Trained, commit: str) -> list[Row]:
    """The row of the fastest plan and, where kernels differ on a core, that of the balanced one.

    The network's test split is scored here and nowhere else. ``flash_bytes``, ``weight_bytes`` and ``ram_bytes`` are
    those of Cortex-M4; ``images`` has them of both cores. ``cpu_seconds``: of training; ``firmware_cpu_seconds``: of
    scoring, linking and running, compilers and emulator included.
    """
    network, data = trained.network, lab.dataset
    started = cpu_seconds()
    val = data.val.images
    program, _ = export_program(network, lab.model, val[:DENSITY_IMAGES])
    dense = lab.fresh(0)
    probe = torch.from_numpy(val[:1]).permute(0, 3, 1, 2)
    ones = count_ones(network)
    common = {
        "method": method,
        "setting": setting,
        "seed": seed,
        "accuracy": evaluate(network, data.test.images, data.test.labels),
        "val_accuracy": evaluate(network, val, data.val.labels),
        "pfr": 1 - _filters(network) / _filters(dense),
        "pcr": 1 - count_macs(network, probe) / count_macs(dense, probe),
        "density": sum(layer.ones for layer in ones) / sum(layer.total for layer in ones),
        "widths": list(network.config.widths),
        "macs": count_macs(network, probe),
        "seconds": round(trained.seconds, 1),
        "cpu_seconds": round(trained.cpu_seconds, 1),
        "commit": commit,
        **trained.notes,
    }
    rows: list[Row] = []
    for optimize in (Optimize.SPEED, Optimize.BALANCED):
        plans = {core: plan_for(program, board_of(name), Kernels.AUTO, optimize) for core, name in CORES.items()}
        images = {core: _image(plan, CORES[core], val[0]) for core, plan in plans.items()}
        if rows and all(images[core]["kernels"] == rows[0]["images"][core]["kernels"] for core in CORES):
            break
        sizes = {name: images[MAIN_CORE][name] for name in ("weight_bytes", "flash_bytes", "ram_bytes")}
        cycles = {core: image["cycles"] for core, image in images.items()}
        rows.append({**common, **sizes, "cycles": cycles, "optimize": optimize.value, "images": images})
    spent = round(cpu_seconds() - started, 1)
    return [{**row, "firmware_cpu_seconds": spent} for row in rows]


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
