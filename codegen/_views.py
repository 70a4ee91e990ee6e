# SPDX-License-Identifier: Apache-2.0
"""What the model templates see: frozen records of numbers, names, lists and finished lines.

Invariant: everything a template could have to decide is decided here. Called by ``emit.py`` only.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import jinja2
import numpy as np
import numpy.typing as npt

from picobnn import __version__
from picobnn.codegen._table_views import TableView, literal_rows, table_view
from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.c_text import comment_text
from picobnn.codegen.pack import store_tensor
from picobnn.codegen.plan import Buffer, Layout, Plan, PlannedStep
from picobnn.codegen.program import BinaryDenseStep, Program, Step, step_macs
from picobnn.codegen.strategies import LayerView, find_strategy, table_bytes
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import PoolStage, Scale
from picobnn.errors import ErrorId, PicobnnError

RUNTIME_VERSION = 1
ARENA_ALIGN = 4
TRANSPOSE_HEADER = "picobnn_transpose.h"
C_KEYWORDS = "auto break case char const continue default do double else enum extern float for goto if inline int long"
C_KEYWORDS += " register restrict return short signed sizeof static struct switch typedef union unsigned void volatile"
C_KEYWORDS += " while class new delete this template namespace operator private public protected"


@dataclass(frozen=True, slots=True, eq=False)
class GoldenVector:
    """One image, uint8 (H, W, C), and the result the reference gives: bits 0/1 or int32, (H', W', O) or (O,)."""

    image: npt.NDArray[np.uint8]
    output: npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Constant:
    name: str
    value: int
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Accessor:
    """A function that returns the address of the result."""

    name: str
    c_type: str
    comment: str


@dataclass(frozen=True, slots=True)
class StepView:
    """``input``, ``output`` and ``scratch`` are C expressions; ``descriptor`` is rendered text; ``preparations`` are
    finished statements that come before the call."""

    index: int
    comment: str
    layer: LayerView
    descriptor: str
    preparations: tuple[str, ...]
    input: str
    output: str
    scratch: str
    output_word: int
    output_bytes: int


@dataclass(frozen=True, slots=True)
class ModelView:
    prefix: str
    macro: str
    runtime_version: int
    provenance: tuple[str, ...]  # each empty or with a leading space
    headers: tuple[str, ...]
    constants: tuple[Constant, ...]
    accessors: tuple[Accessor, ...]
    self_tests: tuple[str, ...]
    hash_rows: tuple[str, ...]
    steps: tuple[StepView, ...]
    tables: tuple[TableView, ...]
    weights_crc: str
    input_offset: int
    output_word: int


@dataclass(frozen=True, slots=True)
class SelfTestView:
    image_rows: tuple[str, ...]
    output_crc: str


def model_view(
    plan: Plan, prefix: str, templates: Mapping[str, jinja2.Template], command: str, *, has_self_test: bool
) -> ModelView:
    """The whole model; ``templates`` are the kernel templates by strategy. Raises USAGE for a bad prefix."""
    check_prefix(prefix)
    program = plan.program
    target, symbols = find_core(plan.core), step_symbols(program)
    steps, tables, contents = [], [], []
    for planned, step in zip(plan.steps, program.steps, strict=True):
        strategy = find_strategy(planned.strategy)
        symbol = symbols[planned.step]
        step_tables = strategy.tables(step, program, target)
        names = {table.role: f"{prefix}_{symbol}_{table.role}" for table in step_tables}
        layer = strategy.view(step, program, target, f"{symbol}_layer", names)
        descriptor = templates[strategy.name].render(layer=layer).strip()
        steps.append(_step_view(plan, planned.step, layer, descriptor))
        tables += [table_view(table, names[table.role], prefix, step) for table in step_tables]
        contents += [table.to_bytes() for table in step_tables]
    image, result = plan.buffers[0], plan.buffers[program.steps[-1].output]
    return ModelView(
        prefix=prefix,
        macro=prefix.upper(),
        runtime_version=RUNTIME_VERSION,
        provenance=_provenance(plan, command),
        headers=_headers(plan),
        constants=_constants(plan),
        accessors=_accessors(result),
        self_tests=(prefix,) if has_self_test else (),
        hash_rows=literal_rows([f"0x{byte:02X}u" for byte in model_hash(program)]),
        steps=tuple(steps),
        tables=tuple(tables),
        weights_crc=f"0x{zlib.crc32(b''.join(contents)):08X}",
        input_offset=image.offset_bytes,
        output_word=result.offset_bytes // 4,
    )


def self_test_view(plan: Plan, golden: GoldenVector) -> SelfTestView:
    """Raises BAD_INPUT when the vector does not fit the model."""
    program = plan.program
    result = plan.buffers[program.steps[-1].output]
    for values, tensor in ((golden.image, program.input), (golden.output, program.output)):
        if values.size != tensor.shape.elements:
            raise PicobnnError(
                ErrorId.BAD_INPUT,
                f"the golden vector has {values.size} values for '{tensor.name}' ({tensor.shape}).",
                where="self test",
                remedy="Take the vector from the program that is being generated.",
            )
    shape = program.output.shape
    stored = store_tensor(golden.output.reshape(shape.height, shape.width, shape.channels), result.layout)
    image = np.ascontiguousarray(golden.image, np.uint8).reshape(-1)
    return SelfTestView(literal_rows([f"{value}u" for value in image.tolist()]), f"0x{zlib.crc32(stored):08X}")


def check_prefix(prefix: str) -> None:
    """Raises USAGE unless ``prefix`` can begin C symbols without clashes."""
    is_identifier = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", prefix) is not None
    if not is_identifier or prefix in C_KEYWORDS.split() or prefix.lower().startswith("picobnn"):
        raise PicobnnError(
            ErrorId.USAGE,
            f"'{prefix}' cannot be the prefix of C symbols.",
            where="prefix",
            remedy="Use a letter, then letters, digits and '_'; no C keyword, and not starting with 'picobnn'.",
        )


def step_symbols(program: Program) -> tuple[str, ...]:
    """One C name per step, made from its name; unlike any other and unlike the model's own functions."""
    taken = {"check"}
    symbols = []
    for index, step in enumerate(program.steps):
        plain = re.sub(r"[^A-Za-z0-9_]", "_", step.name) or "step"
        usable = plain[0].isalpha() and not plain.lower().startswith("picobnn")
        symbol = plain if usable else f"step{index}_{plain}"
        while _table_stem(symbol) in taken:
            symbol = f"step{index}_{symbol}"
        taken.add(_table_stem(symbol))
        symbols.append(symbol)
    return tuple(symbols)


def _table_stem(symbol: str) -> str:
    """Equal for symbols whose tables could get one name: ``a`` has ``final_flips``, ``a_final`` has ``flips``."""
    return re.sub(r"(_final)+$", "", symbol)


def step_words(step: Step) -> str:
    """What a step does, for people: "conv2d 3x3, pool 2x2 on bits, threshold"."""
    parts = [op_name(step)]
    if not isinstance(step, BinaryDenseStep):
        parts[0] += f" {step.window.height}x{step.window.width}"
        if step.pool is not None:
            stage = "accumulators" if step.pool.stage is PoolStage.ACC else "bits"
            parts.append(f"pool {step.pool.window.height}x{step.pool.window.width} on {stage}")
    parts.append("scale" if isinstance(step.epilogue, Scale) else "threshold")
    return ", ".join(parts)


def op_name(step: Step) -> str:
    """The op's stem, as in ``codegen/ops``: ``binary_conv2d``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(step).__name__.removesuffix("Step")).lower()


def _provenance(plan: Plan, command: str) -> tuple[str, ...]:
    program = plan.program
    lines = [
        f"Generated by picobnn {__version__}; do not edit.",
        f"model  {program.name}, {model_hash(program).hex()[:16]}",
        f"core   {plan.core}, kernels {plan.kernels.value}, optimize {plan.optimize.value}",
        f"command  {command}",
        "",
        f"{'layer':<14}{'source':<22}{'input -> output':<24}{'strategy':<10}{'MACs':>11}{'table bytes':>13}",
    ]
    total = 0
    for planned, step in zip(plan.steps, program.steps, strict=True):
        size = table_bytes(find_strategy(planned.strategy).tables(step, program, find_core(plan.core)))
        total += size
        shapes = f"{program.tensors[step.input].shape} -> {program.tensors[step.output].shape}"
        lines.append(
            f"{step.name:<14}{step.source:<22}{shapes:<24}{planned.strategy:<10}"
            f"{step_macs(program, step):>11}{size:>13}"
        )
    lines.append(f"tables {total} bytes, arena {plan.arena_bytes} bytes")
    return tuple(f" {comment_text(line)}".rstrip() for line in lines)


def _constants(plan: Plan) -> tuple[Constant, ...]:
    shape = plan.program.input.shape
    result = plan.buffers[plan.program.steps[-1].output]
    return (
        Constant("ARENA_BYTES", plan.arena_bytes),
        Constant("ARENA_ALIGN", ARENA_ALIGN),
        Constant("INPUT_BYTES", shape.elements),
        Constant("INPUT_HEIGHT", shape.height),
        Constant("INPUT_WIDTH", shape.width),
        Constant("INPUT_CHANNELS", shape.channels),
        Constant("INPUT_ZERO_POINT", plan.program.input_zero_point, " /* the byte that stands for 0 */"),
        Constant("OUTPUT_COUNT", plan.program.output.shape.elements),
        Constant("OUTPUT_BYTES", result.size_bytes),
        Constant("STEP_COUNT", len(plan.steps)),
        Constant("MODEL_HASH_BYTES", 32),
    )


def _accessors(result: Buffer) -> tuple[Accessor, ...]:
    output = Accessor("output", "const void *", "The result as stored.")
    if result.layout is Layout.HWC_INT32:
        return (output, Accessor("logits", "const int32_t *", "The result as int32."))
    return (output,)


def _step_view(plan: Plan, index: int, layer: LayerView, descriptor: str) -> StepView:
    planned, step = plan.steps[index], plan.program.steps[index]
    result = plan.buffers[step.output]
    return StepView(
        index=index,
        comment=comment_text(f"{step.name}: {step_words(step)}"),
        layer=layer,
        descriptor=descriptor,
        preparations=_preparations(plan, planned, step),
        input=_input(plan, planned, step),
        output=_address(result),
        scratch=f"&words[{planned.scratch_offset_bytes // 4}]" if planned.scratch_bytes else "NULL",
        output_word=result.offset_bytes // 4,
        output_bytes=result.size_bytes,
    )


def _input(plan: Plan, planned: PlannedStep, step: Step) -> str:
    if planned.transpose_bytes:
        return f"&words[{planned.transpose_offset_bytes // 4}]"
    return "input" if step.input == 0 else _address(plan.buffers[step.input])


def _preparations(plan: Plan, planned: PlannedStep, step: Step) -> tuple[str, ...]:
    """The transpose of the input, where its buffer has another layout than the strategy reads."""
    if not planned.transpose_bytes:
        return ()
    shape = plan.program.tensors[step.input].shape
    pixels = shape.height * shape.width
    extent = (pixels, shape.channels) if planned.input_layout is Layout.PIXEL_PLANES else (shape.channels, pixels)
    source = plan.buffers[step.input].offset_bytes // 4
    target = planned.transpose_offset_bytes // 4
    return (f"picobnn_transpose(&words[{source}], &words[{target}], {extent[0]}u, {extent[1]}u);",)


def _headers(plan: Plan) -> tuple[str, ...]:
    headers = {find_strategy(planned.strategy).header for planned in plan.steps}
    if any(planned.transpose_bytes for planned in plan.steps):
        headers.add(TRANSPOSE_HEADER)
    return tuple(sorted(headers))


def _address(buffer: Buffer) -> str:
    cast = "(int32_t *)" if buffer.layout is Layout.HWC_INT32 else ""
    return f"{cast}&words[{buffer.offset_bytes // 4}]"
