# SPDX-License-Identifier: Apache-2.0
"""``manifest.json``: what was generated, for everything that later meets the sources or the firmware.

Invariant: one plan, prefix and set of files give one text, and a file that does not say everything, or says more, is
refused whole (E_MANIFEST). Made by the flow after ``emit.py``; read by the harness, the simulator and the size report.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from picobnn import __version__
from picobnn.codegen._views import op_name, step_symbols
from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.placement import IN_FLASH, Placement, ram_tables
from picobnn.codegen.plan import Plan
from picobnn.codegen.program import step_macs
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import Shape
from picobnn.errors import ErrorId, PicobnnError
from picobnn.files import read_bytes, write_bytes

LayoutName = Literal["hwc_bytes", "channel_words", "hwc_int32", "pixel_planes"]

FORMAT: Literal[1] = 1
REMEDY = "Generate the sources again."


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One generated file: path relative to the output folder, text with Unix newlines."""

    path: str
    text: str


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TensorShape(_Record):
    """Height, width, channels."""

    height: int
    width: int
    channels: int


class ManifestInput(_Record):
    """The image: uint8, H, W, C."""

    shape: TensorShape
    zero_point: int
    size_bytes: int


class ManifestOutput(_Record):
    """The result of the last step; ``kind`` as in ``ElementKind``."""

    kind: Literal["bit", "i32", "u8"]
    shape: TensorShape


class ManifestTable(_Record):
    """One constant table and its bytes (estimated; the map file has the linked ones). ``in_ram``: start-up copies it to
    RAM, where it takes the same bytes once more."""

    symbol: str
    role: str
    size_bytes: int
    in_ram: bool


class ManifestAlternative(_Record):
    """A strategy that would have run a step too, with its estimates."""

    strategy: str
    estimated_cycles: int
    worst_cycles: int


class ManifestStep(_Record):
    """One step. ``scratch_bytes`` and ``transpose_bytes`` lie in the arena during the step only; the latter hold the
    input in ``input_layout`` where its buffer has another one. ``estimated_cycles`` (mean) and ``worst_cycles`` come on
    top of ``transpose_cycles``; they are None on a core without coefficients. ``input_independent``: the step takes the
    same cycles whatever the image; elsewhere ``worst_cycles`` is a bound on modelled cycles where the core has one
    (``targets/bounds.py``), else an estimate. See ``PlannedStep``."""

    name: str
    source: str
    op: str
    strategy: str
    macs: int
    fan_in: int
    input: int
    output: int
    input_layout: LayoutName
    input_shape: TensorShape
    output_shape: TensorShape
    output_kind: Literal["bit", "i32", "u8"]
    output_layout: LayoutName
    output_bytes: int
    scratch_bytes: int
    scratch_offset_bytes: int
    transpose_bytes: int
    transpose_offset_bytes: int
    estimated_cycles: int | None
    worst_cycles: int | None
    input_independent: bool
    transpose_cycles: int | None
    alternatives: tuple[ManifestAlternative, ...]
    tables: tuple[ManifestTable, ...]
    table_bytes: int


class ManifestBuffer(_Record):
    """Where a tensor lies in the arena, and during which steps."""

    tensor: int
    layout: LayoutName
    size_bytes: int
    offset_bytes: int
    first_step: int
    last_step: int


class ManifestFile(_Record):
    """One generated file and the SHA-256 of its bytes."""

    path: str
    sha256: str


class Manifest(_Record):
    """See the module. ``model_hash`` is the hex SHA-256 of the integer program; ``board`` is the board whose project
    the files are, None for the model's own sources alone. ``hot_code``: where the kernels' inner loops run;
    ``ram_table_bytes``: tables that start-up copies to RAM, beside the arena."""

    format: Literal[1]
    tool_version: str
    model_hash: str
    name: str
    prefix: str
    core: str
    board: str | None
    kernels: Literal["xnor", "auto"]
    optimize: Literal["size", "balanced", "speed"]
    arena_bytes: int
    hot_code: Literal["flash", "ram"]
    ram_table_bytes: int
    input: ManifestInput
    output: ManifestOutput
    steps: tuple[ManifestStep, ...]
    buffers: tuple[ManifestBuffer, ...]
    files: tuple[ManifestFile, ...]

    def to_json(self) -> str:
        """Canonical text: sorted keys, two spaces, a newline at the end."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"


def build_manifest(
    plan: Plan,
    prefix: str,
    files: Sequence[SourceFile],
    board: str | None = None,
    placement: Placement = IN_FLASH,
) -> Manifest:
    """The manifest of one generated model, or of its whole project for ``board``."""
    program = plan.program
    tables_in_ram = ram_tables(plan, prefix, placement)
    moved = frozenset(table.symbol for table in tables_in_ram)
    image = program.input.shape
    return Manifest(
        format=FORMAT,
        tool_version=__version__,
        model_hash=model_hash(program).hex(),
        name=program.name,
        prefix=prefix,
        core=plan.core,
        board=board,
        kernels=plan.kernels.value,
        optimize=plan.optimize.value,
        arena_bytes=plan.arena_bytes,
        hot_code=placement.hot_code.value,
        ram_table_bytes=sum(table.size_bytes for table in tables_in_ram),
        input=ManifestInput(shape=_shape(image), zero_point=program.input_zero_point, size_bytes=image.elements),
        output=ManifestOutput(kind=program.output.kind.value, shape=_shape(program.output.shape)),
        steps=tuple(_step(plan, prefix, index, moved) for index in range(len(program.steps))),
        buffers=tuple(
            ManifestBuffer(
                tensor=buffer.tensor,
                layout=buffer.layout.value,
                size_bytes=buffer.size_bytes,
                offset_bytes=buffer.offset_bytes,
                first_step=buffer.first_step,
                last_step=buffer.last_step,
            )
            for buffer in plan.buffers
        ),
        files=tuple(
            ManifestFile(path=source.path, sha256=hashlib.sha256(source.text.encode()).hexdigest())
            for source in sorted(files, key=lambda source: source.path)
        ),
    )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the canonical text, whole or not at all."""
    write_bytes(path, manifest.to_json().encode())


def read_manifest(path: Path) -> Manifest:
    """Raises FILE_MISSING, and MANIFEST for anything but a manifest of this format, naming the field."""
    data = read_bytes(path, remedy=REMEDY)
    try:
        found = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _bad(path, f"this is no JSON text ({error}).") from None
    version = found.get("format") if isinstance(found, dict) else None
    if version != FORMAT:
        raise _bad(path, f"manifest format {version!r} is unknown; this picobnn reads format {FORMAT}.")
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _bad(path, f"field '{field}': {first['msg']}.") from None


def _bad(path: Path, what: str) -> PicobnnError:
    return PicobnnError(ErrorId.MANIFEST, what, where=str(path), remedy=REMEDY)


def _shape(shape: Shape) -> TensorShape:
    return TensorShape(height=shape.height, width=shape.width, channels=shape.channels)


def _step(plan: Plan, prefix: str, index: int, moved: frozenset[str]) -> ManifestStep:
    program, planned = plan.program, plan.steps[index]
    step, buffer = program.steps[index], plan.buffers[program.steps[index].output]
    symbol = step_symbols(program)[index]
    tables = tuple(
        ManifestTable(
            symbol=(name := f"{prefix}_{symbol}_{table.role}"),
            role=table.role,
            size_bytes=table.size_bytes,
            in_ram=name in moved,
        )
        for table in find_strategy(planned.strategy).tables(step, program, find_core(plan.core))
    )
    return ManifestStep(
        name=step.name,
        source=step.source,
        op=op_name(step),
        strategy=planned.strategy,
        macs=step_macs(program, step),
        fan_in=step.weights.size // len(step.weights),
        input=step.input,
        output=step.output,
        input_layout=planned.input_layout.value,
        input_shape=_shape(program.tensors[step.input].shape),
        output_shape=_shape(program.tensors[step.output].shape),
        output_kind=program.tensors[step.output].kind.value,
        output_layout=buffer.layout.value,
        output_bytes=buffer.size_bytes,
        scratch_bytes=planned.scratch_bytes,
        scratch_offset_bytes=planned.scratch_offset_bytes,
        transpose_bytes=planned.transpose_bytes,
        transpose_offset_bytes=planned.transpose_offset_bytes,
        estimated_cycles=None if planned.cost is None else planned.cost.cycles,
        worst_cycles=None if planned.cost is None else planned.cost.worst_cycles,
        input_independent=find_strategy(planned.strategy).input_independent,
        transpose_cycles=planned.transpose_cycles,
        alternatives=tuple(
            ManifestAlternative(
                strategy=other.strategy, estimated_cycles=other.cost.cycles, worst_cycles=other.cost.worst_cycles
            )
            for other in planned.alternatives
        ),
        tables=tables,
        table_bytes=sum(table.size_bytes for table in tables),
    )
