# SPDX-License-Identifier: Apache-2.0
"""Generated C on the host equals the reference on every step of many random programs."""

from __future__ import annotations

import ctypes
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.emit import GoldenVector, render_model
from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import find_core
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim import hostc
from picobnn.sim.hostc import HostExecutor, HostModel, build_library
from picobnn.sim.reference import run_program
from tests.support.random_programs import GENERAL, random_images, random_program
from tests.support.small_programs import SMALL_PROGRAMS, fixed_images, two_layers

M4 = find_core("m4")


def host_model(program: Program, prefix: str) -> HostModel:
    plan = make_plan(program, M4)
    return HostModel(plan, render_model(plan, prefix), prefix)


def build(programs: list[Program], sanitize: str | None = None) -> tuple[HostExecutor, ...]:
    models = [host_model(program, f"m{index}") for index, program in enumerate(programs)]
    return build_library(models, sanitize=sanitize)


def assert_equal(program: Program, executor: HostExecutor, count: int, seed: int) -> None:
    images = random_images(np.random.default_rng(seed), program, count)
    expected = run_program(program, images)
    found = executor.run_steps(images)
    assert len(found) == len(expected)
    for step, want, got in zip(program.steps, expected, found, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, err_msg=f"seed {seed}, step {step}")
    last = executor.run(images)
    assert last.dtype == np.int32
    np.testing.assert_array_equal(last, expected[-1].reshape(count, -1).astype(np.int32))


def test_forty_random_programs_equal_the_reference() -> None:
    programs = [random_program(np.random.default_rng(seed), GENERAL) for seed in range(40)]
    for seed, (program, executor) in enumerate(zip(programs, build(programs), strict=True)):
        assert_equal(program, executor, 12, seed)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(10))
def test_five_hundred_random_programs_equal_the_reference(batch: int) -> None:
    seeds = range(1000 + 50 * batch, 1050 + 50 * batch)
    programs = [random_program(np.random.default_rng(seed), GENERAL) for seed in seeds]
    for seed, program, executor in zip(seeds, programs, build(programs, "undefined"), strict=True):
        assert_equal(program, executor, 16, seed)


@pytest.mark.parametrize("name", SMALL_PROGRAMS)
def test_small_programs_under_the_sanitizer(name: str) -> None:
    program = SMALL_PROGRAMS[name]
    assert_equal(program, build([program], "undefined")[0], 32, 1)


def test_an_empty_batch_gives_empty_results() -> None:
    program = two_layers()
    executor = build([program])[0]
    images = np.zeros((0, 6, 6, 1), np.uint8)
    assert executor.run(images).shape == (0, 3)
    assert [output.shape for output in executor.run_steps(images)] == [(0, 3, 3, 5), (0, 1, 1, 3)]


def test_a_wrong_batch_is_refused() -> None:
    with pytest.raises(PicobnnError) as caught:
        build([two_layers()])[0].run(np.zeros((1, 5, 6, 1), np.uint8))
    assert caught.value.error_id is ErrorId.BAD_INPUT


def test_status_codes_of_the_model(tmp_path: Path) -> None:
    """Null, misaligned and short arenas, null input, self test and weight check, called through the library itself."""
    program = two_layers()
    plan = make_plan(program, M4)
    image = fixed_images(program, 1)
    good = GoldenVector(image[0], run_program(program, image)[-1][0])
    wrong = GoldenVector(image[0], good.output + np.int32(1))
    models = [HostModel(plan, render_model(plan, name, vector), name) for name, vector in (("ok", good), ("no", wrong))]
    build_library(models, workdir=tmp_path)
    library = ctypes.CDLL(str(tmp_path / "models.so"))
    arena = (ctypes.c_uint32 * (plan.arena_bytes // 4 + 1))()
    address, size = ctypes.addressof(arena), ctypes.c_size_t(plan.arena_bytes)
    pixels = image.ctypes.data_as(ctypes.c_void_p)
    at = ctypes.c_void_p
    assert library.ok_run(at(address), size, pixels) == 0
    assert library.ok_run(None, size, pixels) == 1
    assert library.ok_run(at(address + 1), size, pixels) == 1
    assert library.ok_run(at(address), ctypes.c_size_t(plan.arena_bytes - 1), pixels) == 1
    assert library.ok_run(at(address), size, None) == 2
    assert library.ok_check_weights() == 0
    assert library.ok_self_test(at(address), size) == 0
    assert library.no_self_test(at(address), size) == 4


def test_a_damaged_weight_is_noticed(tmp_path: Path) -> None:
    plan = make_plan(two_layers(), M4)
    sources = render_model(plan, "m")
    damaged = tuple(
        dataclasses.replace(source, text=source.text.replace("0x0", "0x1", 1))
        if source.path == "m_weights.c"
        else source
        for source in sources
    )
    assert damaged != sources
    build_library([HostModel(plan, damaged, "m")], workdir=tmp_path)
    assert ctypes.CDLL(str(tmp_path / "models.so")).m_check_weights() == 3


def test_two_models_of_one_prefix_are_refused() -> None:
    with pytest.raises(PicobnnError) as caught:
        build_library([host_model(two_layers(), "m"), host_model(SMALL_PROGRAMS["binary_dense"], "m")])
    assert caught.value.error_id is ErrorId.USAGE


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostc, "COMPILER", "cc-that-nobody-has")
    with pytest.raises(PicobnnError) as caught:
        build([two_layers()])
    assert caught.value.error_id is ErrorId.TOOL_MISSING
