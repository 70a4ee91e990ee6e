# SPDX-License-Identifier: Apache-2.0
"""The integer program: what a trained network computes, independent of any core, layout or strategy.

A program is a tuple of tensors (tensor 0 is the image) and a tuple of steps in execution order; every step reads
one tensor and writes one. All executors below PyTorch run this object; ``bnn_file.py`` stores it.

Integer semantics (fixed): a set bit is +1, a clear bit is -1; weight bits are (O, ky, kx, I);
``acc = 2**shift * sum(x where u=1) + ratio * sum(x)`` over the taps of the window; the input convolution sees
``q - zero_point`` and pads with the zero point; a threshold epilogue writes ``(acc >= T) xor flip``; a scale
epilogue writes ``acc * m + b`` as int32.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    BitArray,
    ElementKind,
    Epilogue,
    PadMode,
    Pool,
    Shape,
    WeightDomain,
    Window,
)


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
    """Binary convolution. weights: uint8 0/1 (O, ky, kx, I / groups)."""

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


@dataclass(frozen=True, slots=True, eq=False)
class BinaryDenseStep:
    """Binary dense layer over a whole map. weights: uint8 0/1 (O, H, W, C), the order of the input tensor."""

    name: str
    source: str
    input: int
    output: int
    weights: BitArray
    epilogue: Epilogue
    domain: WeightDomain = PLUS_MINUS_ONE


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
    """Multiply-accumulates of one step, border included: positions of the accumulator map x fan-in."""
    shape = program.tensors[step.input].shape
    taps = step.weights.size
    if isinstance(step, BinaryDenseStep):
        return taps
    rows, columns = step.window.output_size(shape.height, shape.width)
    return rows * columns * taps
