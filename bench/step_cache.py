# SPDX-License-Identifier: Apache-2.0
"""What steps cost when they ran, kept in a folder: a refit of coefficients need not run again what did not change.

Invariant: a figure is found again only with the same core, kernel sources, tables, program, image, cycle model and
compiler. Used by ``calibrate.py`` and ``selection.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.plan import Layout, Plan
from picobnn.codegen.program import Program
from picobnn.codegen.runtime_code import COMMON_RUNTIME, TRANSPOSE_RUNTIME
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import Board
from picobnn.files import write_json
from picobnn.toolchain import compiler_version


class StepCache:
    """Of one board, for one program at a time. Costs are cycles, or instructions on a core without a model; None where
    the step did not run yet."""

    def __init__(self, folder: Path | None, board: Board) -> None:
        self._board = board
        self._path = None if folder is None else folder / f"{board.target.core}.json"
        has_file = self._path is not None and self._path.is_file()
        self._costs: dict[str, int] = json.loads(self._path.read_text("utf-8")) if has_file and self._path else {}
        self._program: tuple[Program, bytes] | None = None

    def begin(self, program: Program, image: npt.NDArray[np.uint8]) -> None:
        """The program and the image that all following figures belong to."""
        self._program = program, model_hash(program) + hashlib.sha256(image.tobytes()).digest()

    def find(self, index: int, strategy: str) -> int | None:
        return self._costs.get(self._step_key(index, strategy))

    def keep(self, index: int, strategy: str, cost: int) -> None:
        self._costs[self._step_key(index, strategy)] = cost

    def find_transpose(self, index: int, wanted: Layout) -> int | None:
        return self._costs.get(self._transpose_key(index, wanted))

    def keep_transpose(self, index: int, wanted: Layout, cost: int) -> None:
        self._costs[self._transpose_key(index, wanted)] = cost

    def has_all(self, plan: Plan) -> bool:
        """Whether every step and transpose of the plan is known."""
        return all(
            self.find(index, planned.strategy) is not None
            and (not planned.transpose_bytes or self.find_transpose(index, planned.input_layout) is not None)
            for index, planned in enumerate(plan.steps)
        )

    def save(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, self._costs)

    def _step_key(self, index: int, name: str) -> str:
        assert self._program is not None, "begin() comes first"
        program, model = self._program
        strategy, step, target = find_strategy(name), program.steps[index], self._board.target
        tables = strategy.tables(step, program, target)
        view = strategy.view(step, program, target, "step", {table.role: table.role for table in tables})
        runtime = _runtime((*COMMON_RUNTIME, *strategy.runtime_files(target)))
        return self._key(model, repr((index, name, view)).encode(), runtime, *(table.to_bytes() for table in tables))

    def _transpose_key(self, index: int, wanted: Layout) -> str:
        assert self._program is not None, "begin() comes first"
        return self._key(self._program[1], repr((index, wanted)).encode(), _runtime(TRANSPOSE_RUNTIME))

    def _key(self, *parts: bytes) -> str:
        return _digest((self._board.id.encode(), self._board.target.core.encode(), _tools(), *parts)).hex()[:24]


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


@cache
def _runtime(names: tuple[str, ...]) -> bytes:
    folder = resources.files("picobnn.firmware_templates") / "runtime"
    return _digest((folder / name).read_bytes() for name in names)


@cache
def _tools() -> bytes:
    """What counts and compiles."""
    folder = Path(str(resources.files("picobnn.sim.cycles")))
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".c", ".h"})
    return _digest([compiler_version().encode(), *(path.read_bytes() for path in files)])
