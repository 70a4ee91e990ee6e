# SPDX-License-Identifier: Apache-2.0
"""The bit-sliced executor equals the reference on every step, whatever the vectors, threads and batch sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Tensor
from picobnn.codegen.vocabulary import ElementKind, PadMode, Scale, Shape, Threshold, WeightDomain, Window
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim import executor as executors
from picobnn.sim.executor import CythonExecutor, NumpyExecutor, Simd, best_executor
from picobnn.sim.reference import run_program
from tests.support.random_programs import GENERAL, Limits, programs, random_images, random_program

extension = pytest.importorskip("picobnn.sim._bitslice", reason="the Cython extension is not built")

PATHS = [Simd.PORTABLE, *([Simd.AVX2] if extension.has_avx2() else [])]


def assert_equal_everywhere(program: Program, images: np.ndarray, threads: int, simd: Simd) -> None:
    expected = run_program(program, images)
    executor = CythonExecutor(program, threads, simd)
    found = executor.run_steps(images)
    for step, left, right in zip(program.steps, expected, found, strict=True):
        assert left.dtype == right.dtype
        assert np.array_equal(left, right), step.name
    logits = executor.run(images)
    assert logits.dtype == np.int32
    assert np.array_equal(logits, expected[-1].reshape(len(images), program.output.shape.elements))


@settings(deadline=None, max_examples=60)
@given(
    program=programs(GENERAL),
    seed=st.integers(0, 1000),
    count=st.sampled_from([1, 3, 255, 256, 257]),
    threads=st.sampled_from([1, 2]),
    simd=st.sampled_from(PATHS),
)
def test_equals_the_reference(program: Program, seed: int, count: int, threads: int, simd: Simd) -> None:
    assert_equal_everywhere(program, random_images(np.random.default_rng(seed), program, count), threads, simd)


@pytest.mark.slow
@pytest.mark.parametrize("simd", PATHS)
@pytest.mark.parametrize("part", range(4))
def test_equals_the_reference_on_many_programs(simd: Simd, part: int) -> None:
    for seed in range(part * 250, part * 250 + 250):
        rng = np.random.default_rng(seed)
        program = random_program(rng, Limits(max_side=16, general=seed % 4 != 0))
        count = int(rng.choice([1, 3, 127, 128, 129, 255, 256, 257]))
        assert_equal_everywhere(program, random_images(rng, program, count), 1 + seed % 2, simd)


@pytest.mark.parametrize("simd", PATHS)
@pytest.mark.parametrize("count", [0, 1, 3, 127, 129, 255, 256, 257, 700])
def test_batch_sizes(simd: Simd, count: int) -> None:
    rng = np.random.default_rng(11)
    program = random_program(rng)
    assert_equal_everywhere(program, random_images(rng, program, count), 2, simd)


@pytest.mark.parametrize("simd", PATHS)
def test_wide_dense_layer(simd: Simd) -> None:
    """Counts of thousands of words, over the image's own map of one channel, with every tail length."""
    rng = np.random.default_rng(3)
    shape = Shape(20, 21, 7)
    tensors = (
        Tensor("image", Shape(20, 21, 2), ElementKind.UINT8),
        Tensor("bits", shape, ElementKind.BIT),
        Tensor("logits", Shape(1, 1, 40), ElementKind.INT32),
    )
    threshold = Threshold(rng.integers(-50, 50, 7).astype(np.int32), rng.integers(0, 2, 7, dtype=np.uint8))
    first = rng.integers(0, 2, (7, 1, 1, 2), dtype=np.uint8)
    weights = rng.integers(0, 2, (40, 20, 21, 7), dtype=np.uint8)
    scale = Scale(rng.integers(-30000, 30000, 40).astype(np.int32), np.arange(40, dtype=np.int32))
    steps = (
        InputConv2dStep("first", "first", 0, 1, first, Window(1, 1), None, threshold),
        BinaryDenseStep("dense", "dense", 1, 2, weights, scale),
    )
    program = Program("wide", 128, tensors, steps)
    assert_equal_everywhere(program, random_images(rng, program, 33), 1, simd)


@pytest.mark.parametrize("simd", PATHS)
@pytest.mark.parametrize("mode", list(PadMode))
def test_windows_that_lie_in_the_padding(simd: Simd, mode: PadMode) -> None:
    rng = np.random.default_rng(4)
    far, near = Window(2, 3, 2, 1, 4, 3, 2, 5), Window(7, 7, 1, 1, 6, 6, 6, 6)
    rows, columns = far.output_size(3, 3)
    tensors = (
        Tensor("image", Shape(3, 3, 40), ElementKind.UINT8),
        Tensor("bits", Shape(rows, columns, 5), ElementKind.BIT),
        Tensor("more", Shape(*near.output_size(rows, columns), 6), ElementKind.BIT),
    )

    def threshold(count: int) -> Threshold:
        return Threshold(rng.integers(-9, 9, count).astype(np.int32), rng.integers(0, 2, count, dtype=np.uint8))

    first = rng.integers(0, 2, (5, 2, 3, 40), dtype=np.uint8)
    second = rng.integers(0, 2, (6, 7, 7, 5), dtype=np.uint8)
    steps = (
        InputConv2dStep("first", "first", 0, 1, first, far, None, threshold(5)),
        BinaryConv2dStep("second", "second", 1, 2, second, near, mode, None, threshold(6)),
    )
    program = Program("far", 255, tensors, steps)
    assert_equal_everywhere(program, random_images(rng, program, 20), 1, simd)


@pytest.mark.parametrize("simd", PATHS)
@pytest.mark.parametrize("index", range(3))
def test_a_planted_wrong_bit_is_noticed(simd: Simd, index: int) -> None:
    """One wrong weight bit of a step: that step's output is the first that differs."""
    rng = np.random.default_rng(8)
    program = _sensitive_program(rng)
    images = random_images(rng, program, 300)
    expected = run_program(program, images)
    step = program.steps[index]
    weights = step.weights.copy()
    weights.reshape(-1)[weights.size // 2] ^= 1
    steps = list(program.steps)
    steps[index] = replace(step, weights=weights)
    found = CythonExecutor(replace(program, steps=tuple(steps)), 2, simd).run_steps(images)
    same = [np.array_equal(left, right) for left, right in zip(expected, found, strict=True)]
    assert same[:index] == [True] * index
    assert not same[index]


def _sensitive_program(rng: np.random.Generator) -> Program:
    """Thresholds at 0, where most accumulators are near."""

    def bits(*shape: int) -> np.ndarray:
        return rng.integers(0, 2, shape, dtype=np.uint8)

    tensors = (
        Tensor("image", Shape(8, 8, 1), ElementKind.UINT8),
        Tensor("bits1", Shape(8, 8, 5), ElementKind.BIT),
        Tensor("bits2", Shape(6, 6, 6), ElementKind.BIT),
        Tensor("logits", Shape(1, 1, 4), ElementKind.INT32),
    )
    first = Threshold(np.zeros(5, np.int32), bits(5))
    second = Threshold(np.zeros(6, np.int32), bits(6))
    scale = Scale(np.full(4, 3, np.int32), np.arange(4, dtype=np.int32))
    steps = (
        InputConv2dStep("first", "first", 0, 1, bits(5, 3, 3, 1), Window(3, 3, 1, 1, 1, 1, 1, 1), None, first),
        BinaryConv2dStep("second", "second", 1, 2, bits(6, 3, 3, 5), Window(3, 3), PadMode.ZERO, None, second),
        BinaryDenseStep("dense", "dense", 2, 3, bits(4, 6, 6, 6), scale),
    )
    return Program("sensitive", 128, tensors, steps)


def test_images_need_not_be_contiguous() -> None:
    rng = np.random.default_rng(5)
    program = random_program(rng)
    images = random_images(rng, program, 20)
    executor = CythonExecutor(program)
    flipped = images[::-1, :, :, :]
    assert np.array_equal(executor.run(flipped), executor.run(images)[::-1])
    read_only = images.copy()
    read_only.flags.writeable = False
    assert np.array_equal(executor.run(read_only), executor.run(images))


def test_refuses_bad_input() -> None:
    rng = np.random.default_rng(6)
    program = random_program(rng)
    images = random_images(rng, program, 2)
    for executor in (CythonExecutor(program), NumpyExecutor(program)):
        for wrong in (images.astype(np.int16), images[0], images[:, :, :, :0]):
            with pytest.raises(PicobnnError) as caught:
                executor.run(wrong)
            assert caught.value.error_id is ErrorId.BAD_INPUT


def test_refuses_programs_that_do_not_verify() -> None:
    program = random_program(np.random.default_rng(7))
    while not isinstance(program.steps[-1], BinaryDenseStep):
        program = random_program(np.random.default_rng(len(program.steps) + 40))
    step = replace(program.steps[-1], domain=WeightDomain(16, 0))
    broken = replace(program, steps=(*program.steps[:-1], step))
    with pytest.raises(PicobnnError) as caught:
        CythonExecutor(broken)
    assert caught.value.error_id is ErrorId.PROGRAM_INVALID


def test_thread_count_is_checked() -> None:
    program = random_program(np.random.default_rng(1))
    with pytest.raises(PicobnnError) as caught:
        CythonExecutor(program, threads=0)
    assert caught.value.error_id is ErrorId.USAGE


def test_best_executor_takes_the_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PICOBNN_PURE", raising=False)
    program = random_program(np.random.default_rng(1))
    assert isinstance(best_executor(program), CythonExecutor)


def test_pure_environment_forces_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICOBNN_PURE", "1")
    rng = np.random.default_rng(1)
    program = random_program(rng)
    executor = best_executor(program)
    assert isinstance(executor, NumpyExecutor)
    images = random_images(rng, program, 5)
    monkeypatch.delenv("PICOBNN_PURE")
    assert np.array_equal(executor.run(images), best_executor(program).run(images))


def test_without_the_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PICOBNN_PURE", raising=False)
    monkeypatch.setattr(executors, "_extension", lambda: None)
    program = random_program(np.random.default_rng(1))
    with pytest.warns(RuntimeWarning, match="not built") as seen:
        assert isinstance(best_executor(program), NumpyExecutor)
    assert len(seen) == 1
    with pytest.raises(PicobnnError) as caught:
        CythonExecutor(program)
    assert caught.value.error_id is ErrorId.EXTRA_MISSING


def test_avx2_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Portable:
        """An extension on a processor without AVX2."""

        Kernel = extension.Kernel
        lanes = staticmethod(extension.lanes)

        @staticmethod
        def has_avx2() -> bool:
            return False

    monkeypatch.setattr(executors, "_extension", lambda: Portable)
    program = random_program(np.random.default_rng(1))
    assert CythonExecutor(program).simd is Simd.PORTABLE
    with pytest.raises(PicobnnError) as caught:
        CythonExecutor(program, simd=Simd.AVX2)
    assert caught.value.error_id is ErrorId.EXTRA_MISSING
