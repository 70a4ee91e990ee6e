# SPDX-License-Identifier: Apache-2.0
"""The verbs as functions, on a tiny network: artefacts, equality on every executor, planted differences, the chain."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.bnn_file import read_bnn
from picobnn.codegen.emit import render_model
from picobnn.codegen.program import BinaryConv2dStep, Program
from picobnn.codegen.targets import find_core
from picobnn.codegen.vocabulary import Threshold
from picobnn.config import ExecutorName, load_config
from picobnn.errors import ErrorId, PicobnnError
from picobnn.flow.analyze import analyze, boards_of_cores
from picobnn.flow.chain import demo, run_chain
from picobnn.flow.compare import Difference, compare_steps
from picobnn.flow.image import generate, golden_vectors, make_plan_for
from picobnn.flow.report import report
from picobnn.flow.run_directory import RunDirectory, create_run, find_run
from picobnn.flow.steps import ChainStep
from picobnn.flow.train import train
from picobnn.flow.vectors import read_vectors
from picobnn.flow.verify import VerifyRequest, request_of, verify
from picobnn.sim.executor import CythonExecutor
from picobnn.sim.hostc import HostModel, build_library
from picobnn.sim.reference import run_program
from picobnn.trainer.checkpoint import read_checkpoint, write_checkpoint
from tests.support.small_run import HAVE_FIRMWARE, make_small_run, small_config

needs_firmware = pytest.mark.skipif(not HAVE_FIRMWARE, reason="needs make, arm-none-eabi-gcc, qemu-system-arm and cc")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_small_run(tmp_path_factory.mktemp("run") / "small")


def copy_of(run: RunDirectory, folder: Path) -> RunDirectory:
    shutil.copytree(run.path, folder)
    return RunDirectory(folder)


def flipped(program: Program, number: int, channel: int) -> Program:
    """The program with one output bit of one step inverted."""
    step = program.steps[number]
    assert isinstance(step.epilogue, Threshold)
    flip = step.epilogue.flip.copy()
    flip[channel] ^= 1
    changed = replace(step, epilogue=replace(step.epilogue, flip=flip))
    return replace(program, steps=(*program.steps[:number], changed, *program.steps[number + 1 :]))


def test_artefacts_say_what_was_done(run: RunDirectory) -> None:
    trained = json.loads(run.train_result.read_text())
    pruned = json.loads(run.prune_result.read_text())
    assert 0 <= trained["test_accuracy"] <= 1
    assert trained["seed"] == 1
    assert pruned["filters_removed"] >= 0.3
    kept = [layer["kept"] for layer in pruned["layers"]]
    program = read_bnn(run.program)
    assert [len(step.weights) for step in program.steps[:-1]] == kept
    vectors = read_vectors(run.golden)
    assert np.array_equal(run_program(program, vectors.images)[-1].reshape(len(vectors), -1), vectors.logits)
    assert load_config(run.config) == small_config()
    assert json.loads(run.environment.read_text())["picobnn"]


def test_executors_one_to_four_are_equal_on_every_held_out_image(run: RunDirectory) -> None:
    config = small_config("verify.vectors=0")
    result = verify(config, request_of(config, ["torch", "reference", "cython", "host"]), run=run)
    assert {r.executor for r in result.results} == {"torch", "cython", "host"}
    assert all(r.vectors == result.vectors > 300 for r in result.results)
    assert result.mismatches == 0
    assert result.accuracy == json.loads(run.prune_result.read_text())["test_accuracy"]
    result.require_equal()


def test_a_wrong_bit_in_the_torch_network_is_named(run: RunDirectory, tmp_path: Path) -> None:
    planted = copy_of(run, tmp_path / "run")
    checkpoint = read_checkpoint(planted.pruned_checkpoint)
    name = next(key for key in checkpoint.weights if key.endswith("norm2.weight"))
    checkpoint.weights[name][3] *= -1
    bias = name.replace("weight", "bias")
    checkpoint.weights[bias][3] *= -1
    mean = read_checkpoint(planted.pruned_checkpoint).weights[name.replace("weight", "running_mean")]
    assert mean.shape == checkpoint.weights[name].shape
    write_checkpoint(checkpoint, planted.pruned_checkpoint)
    config = small_config()
    result = verify(config, request_of(config, ["torch", "cython"]), run=planted)
    torch_result, cython_result = result.results
    assert cython_result.mismatches == 0
    first = torch_result.first
    assert first is not None
    assert (first.executor, first.step, first.index[2]) == ("torch", 1, 3)
    assert {first.expected, first.got} == {0, 1}
    with pytest.raises(PicobnnError) as caught:
        result.require_equal()
    assert caught.value.error_id is ErrorId.MISMATCH
    assert caught.value.exit_code == 1
    assert first.layer in caught.value.what


@pytest.mark.parametrize("executor", ["reference", "cython", "host"])
def test_a_wrong_bit_in_an_integer_executor_is_named(run: RunDirectory, executor: str) -> None:
    program = read_bnn(run.program)
    images = read_vectors(run.golden).images[:7]
    wrong = flipped(program, 1, 2)
    expected = run_program(program, images)
    if executor == "reference":
        got = run_program(wrong, images)
    elif executor == "cython":
        got = CythonExecutor(wrong).run_steps(images)
    else:
        plan = make_plan_for(wrong, find_core("m4"), small_config())
        (host,) = build_library([HostModel(plan, render_model(plan, "wrong"), "wrong")])
        got = host.run_steps(images)
    result = compare_steps(executor, program, expected, got, first_image=100, seconds=0.0)
    assert result.mismatches == 7
    step = program.steps[1]
    expected_bit = int(expected[1][0, 0, 0, 2])
    assert result.first == Difference(
        executor, 100, 1, step.name, step.source, (0, 0, 2), expected_bit, 1 - expected_bit
    )


@needs_firmware
@pytest.mark.qemu
def test_a_wrong_bit_in_the_firmware_is_named(run: RunDirectory, tmp_path: Path) -> None:
    program = read_bnn(run.program)
    config = small_config()
    folder = tmp_path / "fw"
    generate(program, folder, "mps2-an386", config, golden_vectors(run.golden))
    source = folder / "digits_cnn_weights.c"
    text = source.read_text()
    # One bit of a weight of the second layer changes in the emitted table, behind the compiler's back.
    table = re.search(r"\w*conv2_weights\[\w+\][^{]*\{\s*0x([0-9A-Fa-f]{8})", text)
    assert table is not None
    changed = f"{int(table.group(1), 16) ^ 1:08X}"
    source.write_text(text[: table.start(1)] + changed + text[table.end(1) :])
    request = VerifyRequest((ExecutorName.EMULATOR,), ("mps2-an386",), 0, 60, explicit=True, firmware=folder)
    result = verify(config, request, run=run).results[0]
    assert result.executor == "emulator:mps2-an386"
    assert 0 < result.mismatches <= 60
    assert result.first is not None
    assert result.first.step == 1
    assert isinstance(program.steps[1], BinaryConv2dStep)
    assert result.first.index[2] == 0
    assert {result.first.expected, result.first.got} == {0, 1}


@needs_firmware
@pytest.mark.qemu
def test_the_chain_keeps_what_is_done_and_demo_sums_it_up(run: RunDirectory, tmp_path: Path) -> None:
    copied = copy_of(run, tmp_path / "run")
    config = small_config("verify.boards=['mps2-an386', 'microbit']")
    outcome = run_chain(config, copied)
    assert outcome.kept == ("train", "prune", "export")
    assert outcome.done == ("build", "verify", "profile", "report")
    assert outcome.report is not None
    assert outcome.report.absent == ()
    text = copied.report_text.read_text()
    assert "equal on 40 of 40 vectors" in text
    assert "cycles modelled (+-5 %" in text
    summary = demo(config, copied).as_dict()
    assert summary["vectors"] == {"reference": 40, "cython": 40, "host": 40, "emulator": 5}
    assert set(summary["mismatches"].values()) == {0}
    assert set(summary["cycles"]) == {"cortex-m4", "cortex-m0"}
    assert all(cycles > 1000 for cycles in summary["cycles"].values())
    assert summary["flash_bytes"] > summary["ram_bytes"] > 0
    again = run_chain(config, copied, start=ChainStep.PROFILE, until=ChainStep.PROFILE)
    assert again.done == ("build", "profile")  # make finds nothing to do
    assert again.kept == ("train", "prune", "export", "verify")


@needs_firmware
def test_analysis_equals_the_linked_image(run: RunDirectory) -> None:
    config = small_config()
    result = analyze(config, run.program, run.golden, boards_of_cores(["m4", "m0plus"]), with_cycles=False)
    assert [board.core for board in result.boards] == ["cortex-m4", "cortex-m0plus"]
    for board in result.boards:
        assert board.table_bytes == sum(layer.table_bytes for layer in board.layers)
        assert board.flash_bytes is not None
        assert board.flash_bytes > board.table_bytes
        assert board.ram_bytes == board.arena_bytes
    assert result.macs == sum(layer.macs for layer in result.boards[0].layers)
    tight = result.failure(small_config("budget.max_flash='1 KiB'"))
    assert tight is not None
    assert tight.error_id is ErrorId.BUDGET_EXCEEDED
    assert result.failure(small_config("budget.max_flash='64 KiB'", "budget.max_ram='64 KiB'")) is None
    unknown = result.failure(small_config("budget.max_cycles=1000000"))
    assert unknown is not None
    assert unknown.error_id is ErrorId.TOOL_MISSING


def test_a_stored_model_verifies_without_its_run(run: RunDirectory, tmp_path: Path) -> None:
    shutil.copy(run.program, tmp_path / "model.bnn")
    shutil.copy(run.golden, tmp_path / "golden.npz")
    config = small_config()
    request = replace(request_of(config), executors=(ExecutorName.TORCH, ExecutorName.CYTHON))
    result = verify(config, request, model=tmp_path / "model.bnn")
    assert [r.executor for r in result.results] == ["cython"]
    assert "checkpoint" in result.skipped["torch"]
    with pytest.raises(PicobnnError) as caught:
        verify(config, request_of(config, ["torch"]), model=tmp_path / "model.bnn")
    assert caught.value.error_id is ErrorId.FILE_MISSING


def test_generating_again_changes_nothing_and_is_byte_identical(run: RunDirectory, tmp_path: Path) -> None:
    program, vectors, config = read_bnn(run.program), golden_vectors(run.golden), small_config()
    generate(program, tmp_path / "a", "mps2-an386", config, vectors)
    generate(program, tmp_path / "b", "mps2-an386", config, vectors)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert files
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
    before = (tmp_path / "a" / "Makefile").stat().st_mtime_ns
    generate(program, tmp_path / "a", "mps2-an386", config, vectors)
    assert (tmp_path / "a" / "Makefile").stat().st_mtime_ns == before


def test_runs_are_found_and_an_empty_one_has_nothing_to_report(tmp_path: Path) -> None:
    config = small_config()
    with pytest.raises(PicobnnError) as caught:
        find_run(config, root=tmp_path)
    assert caught.value.error_id is ErrorId.FILE_MISSING
    first = create_run(config, root=tmp_path)
    second = create_run(config, root=tmp_path)
    assert first.path != second.path
    with pytest.raises(PicobnnError):  # nothing was made in them yet
        find_run(config, root=tmp_path)
    for folder in (first, second):
        folder.dense_checkpoint.write_bytes(b"")
    assert find_run(config, root=tmp_path).path == max(first.path, second.path)
    with pytest.raises(PicobnnError):
        report(first)
    first.dense_checkpoint.unlink()
    with pytest.raises(PicobnnError) as caught:
        _ = first.network_checkpoint
    assert "train" in caught.value.remedy


def test_an_interrupted_training_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config("train.epochs=3")
    broken = create_run(config, path=tmp_path / "broken")
    from picobnn.trainer import fit as fit_module

    calls = 0

    def interrupt(path: Path) -> object:
        def write(_record: object) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise KeyboardInterrupt

        return write

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "metrics_writer", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config, broken)
    assert not broken.train_result.exists()
    train(config, broken)
    assert calls == 2
    metadata = read_checkpoint(broken.dense_checkpoint).metadata
    assert [record["epoch"] for record in metadata["records"]] == [1, 2, 3]
