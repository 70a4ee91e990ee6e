# SPDX-License-Identifier: Apache-2.0
"""verify_program refuses every broken rule by step name; accumulator bounds are exact."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.program import (
    BinaryConv2dStep,
    BinaryDenseStep,
    Density,
    InputConv2dStep,
    Program,
    Step,
    Tensor,
    accumulator_bounds,
    step_macs,
    verify_program,
)
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    ElementKind,
    PadMode,
    Pool,
    PoolStage,
    Scale,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)
from picobnn.errors import ErrorId, PicobnnError
from tests.support.random_programs import GENERAL, programs


def ones(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.ones(shape, np.uint8)


def threshold(count: int) -> Threshold:
    return Threshold(np.zeros(count, np.int32), np.zeros(count, np.uint8))


def scale(count: int, multiplier: int = 1, bias: int = 0) -> Scale:
    return Scale(np.full(count, multiplier, np.int32), np.full(count, bias, np.int32))


POOL = Pool(Window(2, 2, 2, 2), PoolStage.ACC)
TENSORS = (
    Tensor("image", Shape(6, 6, 1), ElementKind.UINT8),
    Tensor("a", Shape(6, 6, 4), ElementKind.BIT),
    Tensor("b", Shape(2, 2, 5), ElementKind.BIT),
    Tensor("c", Shape(1, 1, 3), ElementKind.INT32),
)
STEPS: tuple[InputConv2dStep, BinaryConv2dStep, BinaryDenseStep] = (
    InputConv2dStep("first", "m.a", 0, 1, ones(4, 3, 3, 1), Window(3, 3, 1, 1, 1, 1, 1, 1), None, threshold(4)),
    BinaryConv2dStep("second", "m.b", 1, 2, ones(5, 3, 3, 4), Window(3, 3), PadMode.ZERO, POOL, threshold(5)),
    BinaryDenseStep("third", "m.c", 2, 3, ones(3, 2, 2, 5), scale(3)),
)
GOOD = Program("good", 3, TENSORS, STEPS, (Density(1, 2, 5), Density(2, 0, 1)))


def with_step(index: int, **changes: Any) -> Program:
    steps: list[Step] = list(STEPS)
    steps[index] = replace(steps[index], **changes)
    return replace(GOOD, steps=tuple(steps))


def with_tensor(index: int, **changes: Any) -> Program:
    tensors = list(TENSORS)
    tensors[index] = replace(tensors[index], **changes)
    return replace(GOOD, tensors=tuple(tensors))


def refusal(program: Program) -> PicobnnError:
    with pytest.raises(PicobnnError) as caught:
        verify_program(program)
    return caught.value


def test_good_program_passes() -> None:
    verify_program(GOOD)
    assert GOOD.output == TENSORS[3]
    assert [step_macs(GOOD, step) for step in STEPS] == [36 * 36, 16 * 180, 60]


@settings(deadline=None, max_examples=60)
@given(programs(GENERAL))
def test_random_programs_pass(program: Program) -> None:
    verify_program(program)


BROKEN = {
    "name": (replace(GOOD, name=""), "program", "program name"),
    "long name": (replace(GOOD, name="n" * 201), "program", "program name"),
    "zero point": (replace(GOOD, input_zero_point=256), "program", "zero point"),
    "numpy zero point": (replace(GOOD, input_zero_point=np.int64(3)), "program", "zero point"),  # type: ignore[arg-type]
    "no steps": (replace(GOOD, steps=(), tensors=TENSORS[:1]), "program", "0 steps"),
    "spare tensor": (replace(GOOD, tensors=(*TENSORS, TENSORS[3])), "program", "3 steps and 5 tensors"),
    "image kind": (with_tensor(0, kind=ElementKind.BIT), "tensor 0", "only the image"),
    "second image": (with_tensor(1, kind=ElementKind.UINT8), "tensor 1", "only the image"),
    "empty shape": (with_tensor(0, shape=Shape(0, 6, 1)), "tensor 0", "height"),
    "large shape": (with_tensor(0, shape=Shape(60000, 60000, 1)), "tensor 0", "elements"),
    "tensor name": (with_tensor(2, name="\ud800"), "tensor 2", "tensor name"),
    "step name": (with_step(1, name=""), "step 1", "step name"),
    "same names": (with_step(1, name="first"), "first", "two steps"),
    "source": (with_step(1, source="a\nb"), "second", "source"),
    "reads the future": (with_step(1, input=2), "second", "input tensor"),
    "reads nothing": (with_step(1, input=-1), "second", "input tensor"),
    "writes elsewhere": (with_step(1, output=3), "second", "output tensor"),
    "image read as bits": (with_step(1, input=0), "second", "reads tensor 0 of u8"),
    "bits read as image": (
        replace(
            GOOD,
            steps=(
                STEPS[0],
                replace(STEPS[0], name="second", input=1, output=2, weights=ones(5, 3, 3, 4)),
                STEPS[2],
            ),
        ),
        "second",
        "reads tensor 1 of bit",
    ),
    "output shape": (with_tensor(2, shape=Shape(2, 3, 5)), "second", "gives 2x2x5"),
    "output kind": (with_tensor(3, kind=ElementKind.BIT), "third", "writes i32"),
    "bits as integers": (with_tensor(1, kind=ElementKind.INT32), "first", "writes bit"),
    "weight shape": (with_step(1, weights=ones(5, 3, 3, 3)), "second", "weights are uint8 (5, 3, 3, 3)"),
    "weight rank": (with_step(1, weights=ones(5, 9)), "second", "weights are uint8 (5, 9)"),
    "weight dtype": (with_step(1, weights=np.ones((5, 3, 3, 4))), "second", "weights are float64"),
    "weight type": (with_step(1, weights=[1]), "second", "weights are list"),
    "weight values": (with_step(1, weights=ones(5, 3, 3, 4) * np.uint8(2)), "second", "only 0 and 1"),
    "no channels": (with_step(1, weights=ones(0, 3, 3, 4)), "second", "weights are uint8 (0, 3, 3, 4)"),
    "dense weights": (with_step(2, weights=ones(3, 1, 1, 20)), "third", "expected uint8 (3, 2, 2, 5)"),
    "weight shift": (with_step(1, domain=WeightDomain(16, 0)), "second", "weight shift is 16"),
    "negative shift": (with_step(2, domain=WeightDomain(-1, 0)), "third", "weight shift is -1"),
    "weight ratio": (with_step(1, domain=WeightDomain(0, 32768)), "second", "weight ratio is 32768"),
    "groups of inputs": (with_step(1, groups=3), "second", "3 groups do not divide 4 input channels"),
    "groups of outputs": (with_step(1, groups=2), "second", "2 groups do not divide 5 output channels"),
    "no groups": (with_step(1, groups=0), "second", "group count is 0"),
    "kept shape": (with_step(1, kept=ones(5, 3, 3, 1)), "second", "kept taps are uint8 (5, 3, 3, 1)"),
    "kept type": (with_step(2, kept=np.ones((3, 2, 2, 5), bool)), "third", "kept taps are bool"),
    "kept values": (with_step(2, kept=ones(3, 2, 2, 5) * np.uint8(2)), "third", "kept taps hold 2"),
    "removed tap is set": (with_step(2, kept=ones(3, 2, 2, 5) - 1), "third", "removed tap has a set weight bit"),
    "stride": (with_step(1, window=Window(3, 3, 0, 1)), "second", "window stride_y"),
    "negative pad": (with_step(1, window=Window(3, 3, 1, 1, 0, -1)), "second", "window pad_left"),
    "window too large": (with_step(1, window=Window(7, 3)), "second", "7x3 window over a 6x6 map"),
    "map too large": (
        with_step(1, window=Window(3, 3, 1, 1, 65535, 0, 65535, 0)),
        "second",
        "gives 131074x4 outputs",
    ),
    "pool pad": (
        with_step(1, pool=Pool(Window(2, 2, 2, 2, 2), PoolStage.BIT)),
        "second",
        "pool padding",
    ),
    "pool too large": (with_step(1, pool=Pool(Window(5, 2), PoolStage.BIT)), "second", "5x2 window over a 4x4 map"),
    "threshold count": (with_step(1, epilogue=threshold(4)), "second", "thresholds are int32 (4,)"),
    "threshold dtype": (
        with_step(1, epilogue=Threshold(np.zeros(5, np.int64), ones(5))),  # type: ignore[arg-type]
        "second",
        "thresholds are int64",
    ),
    "flip values": (
        with_step(1, epilogue=Threshold(np.zeros(5, np.int32), ones(5) * np.uint8(3))),
        "second",
        "flips hold 3",
    ),
    "scale count": (with_step(2, epilogue=scale(2)), "third", "multipliers are int32 (2,)"),
    "product overflows": (with_step(2, epilogue=scale(3, 2**27)), "third", "acc * m of channel 0"),
    "sum overflows": (with_step(2, epilogue=scale(3, 1, 2**31 - 20)), "third", "acc * m + b of channel 0"),
    "early scale": (
        replace(
            GOOD,
            tensors=(*TENSORS[:2], Tensor("b", Shape(4, 4, 5), ElementKind.INT32), TENSORS[3]),
            steps=(STEPS[0], replace(STEPS[1], pool=None, epilogue=scale(5)), STEPS[2]),
        ),
        "second",
        "not the last step",
    ),
    "pooled scale": (
        Program(
            "g",
            0,
            (*TENSORS[:2], Tensor("b", Shape(2, 2, 5), ElementKind.INT32)),
            (STEPS[0], replace(STEPS[1], epilogue=scale(5))),
        ),
        "second",
        "pools and scales",
    ),
    "unread": (
        Program(
            "g",
            0,
            (*TENSORS[:2], TENSORS[1], Tensor("b", Shape(2, 2, 5), ElementKind.BIT)),
            (STEPS[0], replace(STEPS[0], name="again", output=2), replace(STEPS[1], output=3)),
        ),
        "tensor 2",
        "no step reads",
    ),
    "statistics of the image": (replace(GOOD, statistics=(Density(0, 1, 2),)), "statistics", "tensor of a density"),
    "statistics of integers": (replace(GOOD, statistics=(Density(3, 1, 2),)), "statistics", "no bits"),
    "statistics twice": (replace(GOOD, statistics=(Density(1, 1, 2),) * 2), "statistics", "tensor of a density"),
    "statistics of nothing": (replace(GOOD, statistics=(Density(1, 0, 0),)), "statistics", "total"),
    "too many ones": (replace(GOOD, statistics=(Density(1, 3, 2),)), "statistics", "ones of a density"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_rule_is_refused(case: str) -> None:
    program, where, said = BROKEN[case]
    error = refusal(program)
    assert error.error_id is ErrorId.PROGRAM_INVALID
    assert error.where == where
    assert said in error.what + error.remedy


def test_values_groups_and_masks_pass() -> None:
    verify_program(with_step(1, domain=WeightDomain(0, 0), kept=ones(5, 3, 3, 4)))
    verify_program(with_step(2, domain=WeightDomain(15, -32768), kept=ones(3, 2, 2, 5)))
    grouped = with_step(1, weights=ones(6, 3, 3, 2), groups=2, epilogue=threshold(6))
    tensors = (*TENSORS[:2], replace(TENSORS[2], shape=Shape(2, 2, 6)))
    verify_program(replace(grouped, tensors=tensors, steps=grouped.steps[:2], statistics=()))


def test_wide_weights_beyond_int32_are_refused() -> None:
    """65,538 weights of -32768, just too many; 65,534 pass."""
    for channels, refused in ((32769, True), (32767, False)):
        tensors = (
            Tensor("image", Shape(1, 2, 1), ElementKind.UINT8),
            Tensor("bits", Shape(1, 2, channels), ElementKind.BIT),
            Tensor("out", Shape(1, 1, 1), ElementKind.BIT),
        )
        first = InputConv2dStep("first", "", 0, 1, ones(channels, 1, 1, 1), Window(1, 1), None, threshold(channels))
        wide = BinaryDenseStep("wide", "", 1, 2, ones(1, 1, 2, channels) - 1, threshold(1), WeightDomain(0, -32768))
        program = Program("wide", 0, tensors, (first, wide))
        if refused:
            assert "outside int32" in refusal(program).what
        else:
            verify_program(program)


def test_accumulators_beyond_int32_are_refused() -> None:
    """2900 x 2900 taps of up to 255."""
    side = 2902
    program = Program(
        "large",
        0,
        (Tensor("image", Shape(side, side, 1), ElementKind.UINT8), Tensor("a", Shape(1, 1, 1), ElementKind.INT32)),
        (InputConv2dStep("first", "", 0, 1, ones(1, side, side, 1), Window(side, side), None, scale(1)),),
    )
    assert "outside int32" in refusal(program).what


@st.composite
def tiny_layers(draw: st.DrawFn) -> Program:
    """One convolution small enough to try all inputs: at most 6 pixels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = Shape(draw(st.integers(1, 3)), draw(st.integers(1, 2)), 1)
    window = Window(
        draw(st.integers(1, shape.height)),
        draw(st.integers(1, shape.width)),
        draw(st.integers(1, 2)),
        draw(st.integers(1, 2)),
        *(draw(st.integers(0, 2)) for _ in range(4)),
    )
    weights = rng.integers(0, 2, (2, window.height, window.width, 1), dtype=np.uint8)
    kept = rng.integers(0, 2, weights.shape, dtype=np.uint8) if draw(st.booleans()) else None
    weights = weights if kept is None else weights & kept
    domain = draw(st.sampled_from([PLUS_MINUS_ONE, WeightDomain(0, 0), WeightDomain(2, -1), WeightDomain(3, 5)]))
    rows, columns = window.output_size(shape.height, shape.width)
    image = Tensor("image", shape, ElementKind.UINT8)
    first = InputConv2dStep("in", "", 0, 1, ones(1, 1, 1, 1), Window(1, 1), None, threshold(1))
    mode = draw(st.sampled_from(PadMode))
    step = BinaryConv2dStep("conv", "", 1, 2, weights, window, mode, None, scale(2), domain, 1, kept)
    tensors = (image, Tensor("bits", shape, ElementKind.BIT), Tensor("out", Shape(rows, columns, 2), ElementKind.INT32))
    return Program("tiny", 0, tensors, (first, step))


@settings(deadline=None, max_examples=150)
@given(tiny_layers())
def test_bounds_are_reached_and_never_exceeded(program: Program) -> None:
    """Against all inputs, with plain loops."""
    verify_program(program)
    step = program.steps[1]
    assert isinstance(step, BinaryConv2dStep)
    shape, out = program.tensors[1].shape, program.tensors[2].shape
    seen: list[set[int]] = [set(), set()]
    fill = -1 if step.pad_mode is PadMode.MINUS_ONE else 0
    window = step.window
    for values in product((-1, 1), repeat=shape.elements):
        for o, y, x in product(range(2), range(out.height), range(out.width)):
            total = 0
            for ky, kx in product(range(window.height), range(window.width)):
                row, column = y * window.stride_y + ky - window.pad_top, x * window.stride_x + kx - window.pad_left
                inside = 0 <= row < shape.height and 0 <= column < shape.width
                pixel = values[row * shape.width + column] if inside else fill
                value = 2**step.domain.shift * int(step.weights[o, ky, kx, 0]) + step.domain.ratio
                total += pixel * value * (1 if step.kept is None else int(step.kept[o, ky, kx, 0]))
            seen[o].add(total)
    low, high = accumulator_bounds(program, step)
    assert low.dtype == high.dtype == np.int32
    assert [min(values) for values in seen] == low.tolist()
    assert [max(values) for values in seen] == high.tolist()


@pytest.mark.parametrize("zero_point", [0, 100, 255])
def test_bounds_of_an_image_convolution(zero_point: int) -> None:
    """Two taps: one +1, one -1; padding on the right leaves only the first inside."""
    weights = np.array([[[[1], [0]]]], np.uint8)
    program = Program(
        "g",
        zero_point,
        (Tensor("image", Shape(1, 2, 1), ElementKind.UINT8), Tensor("a", Shape(1, 2, 1), ElementKind.INT32)),
        (InputConv2dStep("in", "", 0, 1, weights, Window(1, 2, pad_right=1), None, scale(1)),),
    )
    low, high = accumulator_bounds(program, program.steps[0])
    assert (low.tolist(), high.tolist()) == ([-255], [255])
    narrow = replace(program.steps[0], weights=ones(1, 1, 2, 1))
    low, high = accumulator_bounds(program, narrow)
    assert (low.tolist(), high.tolist()) == ([-2 * zero_point], [2 * (255 - zero_point)])
