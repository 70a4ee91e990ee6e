# SPDX-License-Identifier: Apache-2.0
"""The numpy reference equals plain Python loops, and refuses what is not a batch of images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step
from picobnn.codegen.vocabulary import PadMode, Pool, PoolStage, Scale
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.reference import run_program
from tests.support.random_programs import TINY_GENERAL, programs, random_images, random_program


def _tap(program: Program, step: Step, image: np.ndarray, y: int, x: int, i: int) -> int:
    """What a convolution sees at (y, x, i), outside the map included."""
    inside = 0 <= y < image.shape[0] and 0 <= x < image.shape[1]
    if isinstance(step, InputConv2dStep):
        return int(image[y, x, i]) - program.input_zero_point if inside else 0
    if inside:
        return 1 if image[y, x, i] else -1
    assert isinstance(step, BinaryConv2dStep)
    return -1 if step.pad_mode is PadMode.MINUS_ONE else 0


def _accumulate(program: Program, step: Step, image: np.ndarray, y: int, x: int, o: int) -> int:
    total = 0
    for (ky, kx, i), bit in np.ndenumerate(step.weights[o]):
        if isinstance(step, BinaryDenseStep):
            value = 1 if image[ky, kx, i] else -1
        else:
            window = step.window
            row = y * window.stride_y + ky - window.pad_top
            column = x * window.stride_x + kx - window.pad_left
            first = 0
            if isinstance(step, BinaryConv2dStep):
                first = o // (len(step.weights) // step.groups) * step.weights.shape[3]
            value = _tap(program, step, image, row, column, first + i)
        total += value * _weight(step, o, ky, kx, i, bit)
    return total


def _weight(step: Step, o: int, ky: int, kx: int, i: int, bit: int) -> int:
    if isinstance(step, InputConv2dStep):
        return 1 if bit else -1
    if step.kept is not None and not step.kept[o, ky, kx, i]:
        return 0
    return step.domain.ratio + (1 << step.domain.shift if bit else 0)


def _bit(step: Step, accumulator: int, o: int) -> int:
    assert not isinstance(step.epilogue, Scale)
    return int(accumulator >= int(step.epilogue.thresholds[o])) ^ int(step.epilogue.flip[o])


def _pool(step: Step, values: list[list[int]], pool: Pool, o: int) -> list[list[int]]:
    rows, columns = len(values), len(values[0])
    out_rows, out_columns = pool.window.output_size(rows, columns)
    result = []
    for y in range(out_rows):
        line = []
        for x in range(out_columns):
            seen = []
            for ky in range(pool.window.height):
                for kx in range(pool.window.width):
                    row = y * pool.window.stride_y + ky - pool.window.pad_top
                    column = x * pool.window.stride_x + kx - pool.window.pad_left
                    if 0 <= row < rows and 0 <= column < columns:
                        seen.append(values[row][column])
            if pool.stage is PoolStage.ACC:
                line.append(_bit(step, max(seen), o))
            else:
                line.append(max(_bit(step, value, o) for value in seen))
        result.append(line)
    return result


def loop_step(program: Program, step: Step, image: np.ndarray) -> np.ndarray:
    """One step on one map, tap by tap."""
    rows = columns = 1
    if not isinstance(step, BinaryDenseStep):
        rows, columns = step.window.output_size(*image.shape[:2])
    planes = []
    for o in range(len(step.weights)):
        values = [[_accumulate(program, step, image, y, x, o) for x in range(columns)] for y in range(rows)]
        if isinstance(step.epilogue, Scale):
            scale = step.epilogue
            planes.append([[v * int(scale.multiplier[o]) + int(scale.bias[o]) for v in line] for line in values])
        elif isinstance(step, BinaryDenseStep) or step.pool is None:
            planes.append([[_bit(step, value, o) for value in line] for line in values])
        else:
            planes.append(_pool(step, values, step.pool, o))
    return np.array(planes).transpose(1, 2, 0)


@settings(deadline=None, max_examples=40)
@given(program=programs(TINY_GENERAL), seed=st.integers(0, 1000))
def test_equals_plain_loops(program: Program, seed: int) -> None:
    images = random_images(np.random.default_rng(seed), program, 2)
    outputs = run_program(program, images)
    for index in range(len(images)):
        value = images[index]
        for step, output in zip(program.steps, outputs, strict=True):
            value = loop_step(program, step, value)
            assert np.array_equal(output[index], value), step.name


def test_output_shapes_and_types() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        program = random_program(rng)
        outputs = run_program(program, random_images(rng, program, 3))
        for step, output in zip(program.steps, outputs, strict=True):
            shape = program.tensors[step.output].shape
            assert output.shape == (3, shape.height, shape.width, shape.channels)
            assert output.dtype == (np.int32 if isinstance(step.epilogue, Scale) else np.uint8)


def test_chunks_do_not_show() -> None:
    rng = np.random.default_rng(5)
    program = random_program(rng)
    images = random_images(rng, program, 70)
    whole = run_program(program, images)
    parts = [run_program(program, images[start : start + 7]) for start in range(0, 70, 7)]
    for index, output in enumerate(whole):
        assert np.array_equal(output, np.concatenate([part[index] for part in parts]))


def test_empty_batch() -> None:
    rng = np.random.default_rng(1)
    program = random_program(rng)
    outputs = run_program(program, random_images(rng, program, 0))
    assert [len(output) for output in outputs] == [0] * len(program.steps)


@pytest.mark.parametrize("kind", ["float", "list", "rank", "shape"])
def test_refuses_bad_input(kind: str) -> None:
    rng = np.random.default_rng(2)
    program = random_program(rng)
    images = random_images(rng, program, 2)
    wrong = {
        "float": images.astype(np.float32),
        "list": images.tolist(),
        "rank": images[0],
        "shape": np.concatenate([images, images], axis=1),
    }[kind]
    with pytest.raises(PicobnnError) as caught:
        run_program(program, wrong)
    assert caught.value.error_id is ErrorId.BAD_INPUT
    assert "uint8" in caught.value.remedy
