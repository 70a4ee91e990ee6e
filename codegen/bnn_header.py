# SPDX-License-Identifier: Apache-2.0
"""The JSON header of a `.bnn` file: everything of a program except its arrays, and which arrays follow.

Invariant: reading accepts exactly what writing makes (strict keys, no floats, canonical text), and allocates nothing
whose size has not been compared with the bytes present. Called by ``bnn_file.py`` only; docs/bnn-format.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn, TypeVar

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, Tensor
from picobnn.codegen.vocabulary import ElementKind, Pool, Scale, Shape, WeightDomain, Window
from picobnn.errors import ErrorId, PicobnnError

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]
Record = dict[str, Json]
Choice = TypeVar("Choice", bound=Enum)

MAX_INTEGER = 2**63 - 1
WINDOW_KEYS = ("height", "pad_bottom", "pad_left", "pad_right", "pad_top", "stride_x", "stride_y", "width")


class Op(Enum):
    """What a step is, as the header says it."""

    INPUT_CONV2D = "input_conv2d"
    BINARY_CONV2D = "binary_conv2d"
    BINARY_DENSE = "binary_dense"


class EpilogueKind(Enum):
    """Which arrays follow the weights: thresholds and flips, or multipliers and biases."""

    THRESHOLD = "threshold"
    SCALE = "scale"


STEP_KEYS = {
    Op.INPUT_CONV2D: {"pool", "window"},
    Op.BINARY_CONV2D: {"domain", "groups", "pad_mode", "pool", "window"},
    Op.BINARY_DENSE: {"domain"},
}
KEPT = "kept"
"""Key of binary steps, true where a mask of kept taps follows the weights, absent otherwise."""

COMMON_STEP_KEYS = {"epilogue", "input", "name", "op", "output", "source", "weights"}


def canonical_json(record: Record) -> bytes:
    """Sorted keys, no spaces, ASCII only."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def header_record(program: Program, *, named: bool = True) -> Record:
    """The header of a program; ``named=False`` leaves out names, sources and statistics, as the model hash does."""
    record: Record = {
        "input_zero_point": program.input_zero_point,
        "steps": [_step_record(step, named) for step in program.steps],
        "tensors": [_tensor_record(tensor, named) for tensor in program.tensors],
    }
    if named:
        record["name"] = program.name
        record["statistics"] = [
            {"ones": density.ones, "tensor": density.tensor, "total": density.total} for density in program.statistics
        ]
    return record


def _tensor_record(tensor: Tensor, named: bool) -> Record:
    shape = tensor.shape
    record: Record = {"kind": tensor.kind.value, "shape": [shape.height, shape.width, shape.channels]}
    return record | {"name": tensor.name} if named else record


def _step_record(step: Step, named: bool) -> Record:
    kind = EpilogueKind.SCALE if isinstance(step.epilogue, Scale) else EpilogueKind.THRESHOLD
    record: Record = {
        "epilogue": kind.value,
        "input": step.input,
        "output": step.output,
        "weights": list(step.weights.shape),
    }
    if named:
        record |= {"name": step.name, "source": step.source}
    if not isinstance(step, BinaryDenseStep):
        record |= {"window": _window_record(step.window), "pool": _pool_record(step.pool)}
    if not isinstance(step, InputConv2dStep):
        record["domain"] = {"ratio": step.domain.ratio, "shift": step.domain.shift}
        if step.kept is not None:
            record[KEPT] = True
    match step:
        case InputConv2dStep():
            return record | {"op": Op.INPUT_CONV2D.value}
        case BinaryConv2dStep():
            return record | {"op": Op.BINARY_CONV2D.value, "pad_mode": step.pad_mode.value, "groups": step.groups}
        case BinaryDenseStep():
            return record | {"op": Op.BINARY_DENSE.value}


def _window_record(window: Window) -> Record:
    return {key: getattr(window, key) for key in WINDOW_KEYS}


def _pool_record(pool: Pool | None) -> Record | None:
    return None if pool is None else {"stage": pool.stage.value, "window": _window_record(pool.window)}


@dataclass(frozen=True, slots=True)
class HeaderReader:
    """Takes typed values out of parsed JSON; ``where`` is the file, for errors."""

    where: str

    def fail(self, what: str) -> NoReturn:
        raise PicobnnError(
            ErrorId.BNN_FORMAT, what, where=self.where, remedy="Export the model again, or copy the file again."
        )

    def parse(self, data: bytes) -> Record:
        """Canonical JSON bytes -> record; anything that writing would not make is refused."""

        def refuse(text: str) -> NoReturn:
            self.fail(f"the header holds {text[:40]!a}, which is not an integer.")

        try:
            value: Json = json.loads(data.decode("ascii"), parse_float=refuse, parse_constant=refuse)
            is_canonical = isinstance(value, dict) and canonical_json(value) == data
        except (ValueError, RecursionError) as error:
            self.fail(f"the header is not JSON ({type(error).__name__}).")
        if not isinstance(value, dict):
            self.fail("the header is not a JSON object.")
        if not is_canonical:
            self.fail("the header is not in canonical form.")
        return value

    def record(self, value: Json, label: str, keys: set[str]) -> Record:
        """An object with exactly ``keys``."""
        if not isinstance(value, dict):
            self.fail(f"{label} is not an object.")
        for key in sorted(keys ^ value.keys()):
            self.fail(f"{label} has an unknown key {key[:40]!a}." if key in value else f"{label} lacks '{key}'.")
        return value

    def records(self, value: Json, label: str) -> Iterator[tuple[str, Record]]:
        """The objects of an array, each with a label of its own."""
        if not isinstance(value, list):
            self.fail(f"{label} is not an array.")
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                self.fail(f"{label}[{index}] is not an object.")
            yield f"{label}[{index}]", item

    def integer(self, value: Json, label: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        if type(value) is not int or not low <= value <= high:
            self.fail(f"{label} is not an integer from {low} to {high}.")
        return value

    def text(self, value: Json, label: str) -> str:
        if not isinstance(value, str):
            self.fail(f"{label} is not a string.")
        return value

    def choice(self, value: Json, label: str, kind: type[Choice]) -> Choice:
        found = [member for member in kind if member.value == value]
        if not found:
            self.fail(f"{label} is none of {', '.join(str(member.value) for member in kind)}.")
        return found[0]

    def extent(self, value: Json, label: str, rank: int) -> tuple[int, ...]:
        """``rank`` positive integers."""
        if not isinstance(value, list) or len(value) != rank:
            self.fail(f"{label} does not hold {rank} integers.")
        return tuple(self.integer(item, label, 1) for item in value)

    def shape(self, value: Json, label: str) -> Shape:
        return Shape(*self.extent(value, label, 3))

    def window(self, value: Json, label: str) -> Window:
        record = self.record(value, label, set(WINDOW_KEYS))
        return Window(**{key: self.integer(record[key], f"{label}.{key}") for key in WINDOW_KEYS})

    def domain(self, value: Json, label: str) -> WeightDomain:
        record = self.record(value, label, {"ratio", "shift"})
        shift = self.integer(record["shift"], f"{label}.shift")
        return WeightDomain(shift, self.integer(record["ratio"], f"{label}.ratio", -MAX_INTEGER))

    def kind(self, value: Json, label: str) -> ElementKind:
        return self.choice(value, label, ElementKind)
