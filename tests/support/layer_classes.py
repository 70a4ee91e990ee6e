# SPDX-License-Identifier: Apache-2.0
"""Classes of layers, and which of them every strategy runs: listed here, not asked of the strategies."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import Enum

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, Program
from picobnn.codegen.targets import InstructionSet, Target
from picobnn.codegen.vocabulary import PLUS_MINUS_ONE, PoolStage, Scale, WeightDomain


class Kind(Enum):
    """What a layer reads and does."""

    INPUT_CONV = "input convolution"
    CONV = "convolution"
    DEPTHWISE = "depthwise convolution"
    DENSE = "dense"


class Padding(Enum):
    """Of a convolution's window. An input layer pads with the zero point, which is ``ZERO``."""

    NONE = "no padding"
    MINUS_ONE = "padding -1"
    ZERO = "padding 0"


@dataclass(frozen=True, slots=True)
class LayerClass:
    """``stride`` is the larger of both. ``has_tail``: some count that goes into words is no multiple of 32.
    ``is_ternary``: some taps are removed. ``is_grouped``: more than one group, but not depthwise."""

    strategy: str
    kind: Kind
    padding: Padding = Padding.NONE
    stride: int = 1
    pool: PoolStage | None = None
    has_tail: bool = False
    has_sums: bool = False
    domain: WeightDomain = PLUS_MINUS_ONE
    is_ternary: bool = False
    is_grouped: bool = False


FIELDS = tuple(field.name for field in fields(LayerClass) if field.name != "strategy")


def class_of(program: Program, wanted: LayerClass) -> LayerClass:
    """The class that the last step really has, run by the strategy that is wanted for it."""
    step = program.steps[-1]
    has_sums = isinstance(step.epilogue, Scale)
    if isinstance(step, BinaryDenseStep):
        has_tail = step.weights[0].size % 32 != 0 or len(step.weights) % 32 != 0
        removed = step.kept is not None
        return LayerClass(wanted.strategy, Kind.DENSE, Padding.NONE, 1, None, has_tail, has_sums, step.domain, removed)
    shape, window = program.tensors[step.input].shape, step.window
    rows, columns = window.output_size(shape.height, shape.width)
    counts = [len(step.weights), rows * columns]
    kind, mode, domain, is_ternary, is_grouped = Kind.INPUT_CONV, Padding.ZERO, PLUS_MINUS_ONE, False, False
    if isinstance(step, BinaryConv2dStep):
        counts.append(shape.channels)
        domain, is_ternary = step.domain, step.kept is not None
        is_depthwise = len(step.weights) == step.groups == shape.channels and wanted.kind is Kind.DEPTHWISE
        kind, mode = Kind.DEPTHWISE if is_depthwise else Kind.CONV, Padding[step.pad_mode.name]
        is_grouped = step.groups > 1 and not is_depthwise
    return LayerClass(
        wanted.strategy,
        kind,
        mode if window.has_padding else Padding.NONE,
        max(window.stride_y, window.stride_x),
        None if step.pool is None else step.pool.stage,
        any(count % 32 for count in counts),
        has_sums,
        domain,
        is_ternary,
        is_grouped,
    )


def conv_classes(strategy: str, kind: Kind, paddings: Iterable[Padding], strides: Iterable[int]) -> list[LayerClass]:
    return [
        LayerClass(strategy, kind, padding, stride, pool, has_tail)
        for padding, stride, pool, has_tail in itertools.product(paddings, strides, (None, *PoolStage), (False, True))
    ]


def with_sums(classes: Iterable[LayerClass]) -> list[LayerClass]:
    """Sums have no pool in front of them."""
    return [dataclasses.replace(each, has_sums=True) for each in classes if each.pool is None]


def dense_classes(strategy: str) -> list[LayerClass]:
    return [LayerClass(strategy, Kind.DENSE, has_tail=has_tail) for has_tail in (False, True)]


ON_BYTES, ON_BITS = (Padding.NONE, Padding.ZERO), tuple(Padding)
DIRECT = conv_classes("direct", Kind.INPUT_CONV, ON_BYTES, (1, 2, 3))
XNOR = conv_classes("xnor", Kind.CONV, ON_BITS, (1, 2, 3)) + dense_classes("xnor")
SIGNS = conv_classes("rows", Kind.CONV, ON_BITS, (1, 2, 3)) + dense_classes("rows")
ROWS = SIGNS + [dataclasses.replace(each, domain=WeightDomain(3, -1)) for each in SIGNS]
GENERAL = [dataclasses.replace(each, strategy="xnor_general") for each in XNOR]
ZERO_AND_ONE, ONE_AND_THREE, MINUS_THREE_AND_FIVE = WeightDomain(0, 0), WeightDomain(1, 1), WeightDomain(3, -3)
WITH_DOMAIN = (ZERO_AND_ONE, ONE_AND_THREE, MINUS_THREE_AND_FIVE)


def grammar(strategy: str, *, dense: bool, ternary: Iterable[WeightDomain], groups: bool = False) -> list[LayerClass]:
    """Classes of general weights: every domain of two values, removed taps in the domains ``ternary``, and groups of
    both. With every padding, but few of the other forms."""
    forms = [(domain, False) for domain in WITH_DOMAIN] + [(domain, True) for domain in ternary]
    layers = [LayerClass(strategy, Kind.CONV, padding, has_tail=True) for padding in ON_BITS]
    layers.append(LayerClass(strategy, Kind.CONV, Padding.ZERO, 2, PoolStage.ACC))
    layers += dense_classes(strategy) if dense else []
    found = [dataclasses.replace(each, domain=domain, is_ternary=kept) for each in layers for domain, kept in forms]
    grouped = [each for each in found if each.kind is Kind.CONV] if groups else []
    plain = [dataclasses.replace(each, is_grouped=True) for each in layers if each.kind is Kind.CONV] if groups else []
    return found + plain + [dataclasses.replace(each, is_grouped=True) for each in grouped]


GENERAL_WEIGHTS = grammar(
    "xnor_general", dense=True, ternary=(PLUS_MINUS_ONE, ZERO_AND_ONE, MINUS_THREE_AND_FIVE), groups=True
)
GAPS = [
    dataclasses.replace(each, domain=domain)
    for each in dense_classes("gaps")
    for domain in (PLUS_MINUS_ONE, *WITH_DOMAIN)
]
CLASSES = {
    "direct": DIRECT + with_sums(DIRECT),
    "subset": conv_classes("subset", Kind.INPUT_CONV, ON_BYTES, (1, 2, 3)),
    "xnor": XNOR + with_sums(XNOR),
    "xnor_general": GENERAL + with_sums(GENERAL) + GENERAL_WEIGHTS + with_sums(GENERAL_WEIGHTS),
    "gaps": GAPS + with_sums(GAPS),
    "rows": ROWS + grammar("rows", dense=True, ternary=()),
    "rows_mve": [
        dataclasses.replace(each, strategy="rows_mve") for each in ROWS + grammar("rows", dense=True, ternary=())
    ],
    "planes": conv_classes("planes", Kind.CONV, ON_BITS, (1, 2)),
    "slice": conv_classes("slice", Kind.DEPTHWISE, ON_BITS, (1, 2, 3)),
    "planes_paired": conv_classes("planes_paired", Kind.CONV, ON_BITS, (1, 2)),
    "planes_packed": conv_classes("planes_packed", Kind.CONV, ON_BITS, (1, 2))
    + grammar("planes_packed", dense=False, ternary=(ZERO_AND_ONE,)),
    "planes_sparse": conv_classes("planes_sparse", Kind.CONV, ON_BITS, (1, 2))
    + grammar("planes_sparse", dense=False, ternary=(PLUS_MINUS_ONE, ZERO_AND_ONE)),
    "planes_coded": conv_classes("planes_coded", Kind.CONV, ON_BITS, (1, 2))
    + grammar("planes_coded", dense=False, ternary=(PLUS_MINUS_ONE, ZERO_AND_ONE)),
    "planes_mve": conv_classes("planes_mve", Kind.CONV, ON_BITS, (1, 2)),
}
NEEDS = {
    "planes": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_paired": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_packed": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_sparse": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_coded": (InstructionSet.V7M, InstructionSet.MVE),
    "planes_mve": (InstructionSet.MVE,),
    "rows_mve": (InstructionSet.MVE,),
}
"""Instruction sets of the strategies that do not run on all."""


def all_classes(target: Target) -> list[LayerClass]:
    return [
        each
        for name, classes in CLASSES.items()
        if target.isa in NEEDS.get(name, tuple(InstructionSet))
        for each in classes
    ]
