# SPDX-License-Identifier: Apache-2.0
"""The integer program: what a trained network computes, independent of any core, layout or strategy.

A program is a tuple of tensors (tensor 0 is the image) and a tuple of steps in execution order; every step reads
one tensor and writes one. All executors below PyTorch run this object; ``bnn_file.py`` stores it.

Integer semantics (fixed): a set bit is +1, a clear bit is -1; weight bits are (O, ky, kx, I);
``acc = 2**shift * sum(x where u=1) + ratio * sum(x)`` over the taps of the window that are kept; the input convolution
sees ``q - zero_point`` and pads with the zero point; a threshold epilogue writes ``(acc >= T) xor flip``; a scale
epilogue writes ``acc * m + b`` as int32.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from picobnn.codegen import rules
from picobnn.codegen.bounds import Reach, WeightValues, reach_of_binary_conv, reach_of_dense, reach_of_input_conv
from picobnn.codegen.rules import Subject
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    BitArray,
    ElementKind,
    Epilogue,
    Int32Array,
    PadMode,
    Pool,
    Scale,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)
from picobnn.errors import ErrorId


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value of the program. ``name`` is for people; programs that differ only in names have one hash."""

    name: str
    shape: Shape
    kind: ElementKind


@dataclass(frozen=True, slots=True, eq=False)
class InputConv2dStep:
    """First layer: uint8 image, +-1 weights. weights: uint8 0/1 (O, ky, kx, I). ``source`` names the module."""

    name: str
    source: str
    input: int
    output: int
    weights: BitArray
    window: Window
    pool: Pool | None
    epilogue: Epilogue


@dataclass(frozen=True, slots=True, eq=False)
class BinaryConv2dStep:
    """Binary convolution. weights: uint8 0/1 (O, ky, kx, I / groups).

    Output o reads the channels from ``g * I / groups`` on, g = o // (O / groups). ``kept``: None, or uint8 0/1 of the
    shape of weights, 0 where a tap is removed (there the weight bit is 0 too).
    """

    name: str
    source: str
    input: int
    output: int
    weights: BitArray
    window: Window
    pad_mode: PadMode
    pool: Pool | None
    epilogue: Epilogue
    domain: WeightDomain = PLUS_MINUS_ONE
    groups: int = 1
    kept: BitArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BinaryDenseStep:
    """Binary dense layer over a whole map. weights: uint8 0/1 (O, H, W, C), the order of the input tensor.

    ``kept``: None, or uint8 0/1 of the shape of weights, 0 where a tap is removed (there the weight bit is 0 too).
    """

    name: str
    source: str
    input: int
    output: int
    weights: BitArray
    epilogue: Epilogue
    domain: WeightDomain = PLUS_MINUS_ONE
    kept: BitArray | None = None


Step = InputConv2dStep | BinaryConv2dStep | BinaryDenseStep


@dataclass(frozen=True, slots=True)
class Density:
    """Share of ones of one bit tensor over golden vectors, as counts."""

    tensor: int
    ones: int
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """An integer program. Compare two with ``bnn_file.model_hash``."""

    name: str
    input_zero_point: int
    tensors: tuple[Tensor, ...]
    steps: tuple[Step, ...]
    statistics: tuple[Density, ...] = field(default=())

    @property
    def input(self) -> Tensor:
        return self.tensors[0]

    @property
    def output(self) -> Tensor:
        return self.tensors[self.steps[-1].output]


def step_macs(program: Program, step: Step) -> int:
    """Multiply-accumulates of one step, border and removed taps included: positions of the accumulators x weights."""
    shape = program.tensors[step.input].shape
    taps = step.weights.size
    if isinstance(step, BinaryDenseStep):
        return taps
    rows, columns = step.window.output_size(shape.height, shape.width)
    return rows * columns * taps


def accumulator_bounds(program: Program, step: Step) -> tuple[Int32Array, Int32Array]:
    """Least and greatest accumulator per output channel, int32 (O,) each: exact over all inputs and all positions.

    Before pooling. Raises PROGRAM_INVALID when a sum does not fit int32.
    """
    low, high = _reach(program, step).bounds()
    if low.min() < rules.INT32_MIN or high.max() > rules.INT32_MAX:
        raise Subject(ErrorId.PROGRAM_INVALID, step.name).fail(
            f"accumulators reach {low.min()} to {high.max()}, outside int32.", "Use fewer taps per filter."
        )
    return low.astype(np.int32), high.astype(np.int32)


def verify_program(program: Program) -> None:
    """Check every rule that executors rely on.

    Step i reads a tensor from 0 to i and writes tensor i + 1; every tensor but the last is read. Only input
    convolutions read the image, everything else reads bits; only the last step may scale. Shapes, kinds, dtypes and
    ranges agree; accumulators and scaled results fit int32.

    Raises:
        PicobnnError: PROGRAM_INVALID; ``where`` names the step or tensor.
    """
    subject = Subject(ErrorId.PROGRAM_INVALID, "program")
    rules.check_name(subject, "program name", program.name)
    rules.check_integer(subject, "input zero point", program.input_zero_point, 0, 255)
    if not program.steps or len(program.tensors) != len(program.steps) + 1:
        raise subject.fail(
            f"{len(program.steps)} steps and {len(program.tensors)} tensors.",
            "A program has at least one step, and one tensor more than steps.",
        )
    for index, tensor in enumerate(program.tensors):
        _verify_tensor(Subject(ErrorId.PROGRAM_INVALID, f"tensor {index}"), tensor, is_image=index == 0)
    names = set()
    for index, step in enumerate(program.steps):
        rules.check_name(Subject(ErrorId.PROGRAM_INVALID, f"step {index}"), "step name", step.name)
        if step.name in names:
            raise Subject(ErrorId.PROGRAM_INVALID, step.name).fail("two steps have this name.", "Rename one.")
        names.add(step.name)
        _verify_step(program, index, step)
    unread = set(range(len(program.steps))) - {step.input for step in program.steps}
    if unread:
        raise Subject(ErrorId.PROGRAM_INVALID, f"tensor {min(unread)}").fail(
            "no step reads this tensor.", "Drop the step that writes it."
        )
    _verify_statistics(program)


def _verify_tensor(subject: Subject, tensor: Tensor, *, is_image: bool) -> None:
    rules.check_name(subject, "tensor name", tensor.name)
    rules.check_shape(subject, tensor.shape)
    if (tensor.kind is ElementKind.UINT8) != is_image:
        raise subject.fail(f"its elements are {tensor.kind.value}.", "The image, and only the image, is u8.")


def _verify_step(program: Program, index: int, step: Step) -> None:
    subject = Subject(ErrorId.PROGRAM_INVALID, step.name)
    rules.check_name(subject, "source", step.source, may_be_empty=True)
    rules.check_integer(subject, "input tensor", step.input, 0, index)
    rules.check_integer(subject, "output tensor", step.output, index + 1, index + 1)
    source, target = program.tensors[step.input], program.tensors[step.output]
    wanted = ElementKind.UINT8 if isinstance(step, InputConv2dStep) else ElementKind.BIT
    if source.kind is not wanted:
        raise subject.fail(
            f"it reads tensor {step.input} of {source.kind.value}, expected {wanted.value}.",
            "An input convolution reads the image, every other step reads bits.",
        )
    if not isinstance(step, InputConv2dStep):
        rules.check_domain(subject, step.domain)
    shape = _output_shape(subject, source.shape, step)
    if shape != target.shape:
        raise subject.fail(f"it gives {shape}, tensor {step.output} is {target.shape}.", "Correct the tensor's shape.")
    rules.check_epilogue(subject, step.epilogue, shape.channels)
    low, high = accumulator_bounds(program, step)
    kind = ElementKind.BIT
    if isinstance(step.epilogue, Scale):
        kind = ElementKind.INT32
        if index != len(program.steps) - 1:
            raise subject.fail("it scales, but it is not the last step.", "Give it a threshold.")
        rules.check_scale_range(subject, step.epilogue, low, high)
    if target.kind is not kind:
        raise subject.fail(f"it writes {kind.value}, tensor {step.output} is {target.kind.value}.", "Correct the kind.")


def _output_shape(subject: Subject, shape: Shape, step: Step) -> Shape:
    """Shape behind the step's window and pool; checks weights, window and pool on the way."""
    if isinstance(step, BinaryDenseStep):
        taps = (shape.height, shape.width, shape.channels)
        return Shape(1, 1, rules.check_weights(subject, step.weights, taps, step.kept))
    rows, columns = rules.check_sliding(subject, step.window, shape.height, shape.width, pooling=False)
    groups, kept = (step.groups, step.kept) if isinstance(step, BinaryConv2dStep) else (1, None)
    taps = (step.window.height, step.window.width, shape.channels)
    outputs = rules.check_weights(subject, step.weights, taps, kept, groups)
    rules.check_shape(subject, Shape(rows, columns, outputs))
    if step.pool is None:
        return Shape(rows, columns, outputs)
    if not isinstance(step.epilogue, Threshold):
        raise subject.fail("it pools and scales.", "Only a threshold may follow a pool inside one step.")
    return Shape(*rules.check_sliding(subject, step.pool.window, rows, columns, pooling=True), outputs)


def _reach(program: Program, step: Step) -> Reach:
    shape = program.tensors[step.input].shape
    match step:
        case InputConv2dStep():
            return reach_of_input_conv(step.weights, step.window, shape.height, shape.width, program.input_zero_point)
        case BinaryConv2dStep():
            values = WeightValues(step.weights, step.kept, step.domain)
            return reach_of_binary_conv(values, step.window, shape.height, shape.width, step.pad_mode)
        case BinaryDenseStep():
            return reach_of_dense(WeightValues(step.weights, step.kept, step.domain))


def _verify_statistics(program: Program) -> None:
    subject = Subject(ErrorId.PROGRAM_INVALID, "statistics")
    previous = 0
    for density in program.statistics:
        rules.check_integer(subject, "tensor of a density", density.tensor, previous + 1, len(program.tensors) - 1)
        previous = density.tensor
        if program.tensors[density.tensor].kind is not ElementKind.BIT:
            raise subject.fail(f"tensor {density.tensor} has no bits to count.", "Keep densities of bit tensors only.")
        rules.check_integer(subject, "total of a density", density.total, 1, 2**63 - 1)
        rules.check_integer(subject, "ones of a density", density.ones, 0, density.total)
