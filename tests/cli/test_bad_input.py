# SPDX-License-Identifier: Apache-2.0
"""What a user can get wrong: each ends in the error form with its exit code, and leaves nothing half-written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picobnn.cli import main
from picobnn.codegen.bnn_file import read_bnn, write_bnn
from picobnn.flow.run_directory import RunDirectory
from tests.support.random_programs import Limits, random_program
from tests.support.small_run import HAVE_FIRMWARE, OVERRIDES, make_small_run

needs_firmware = pytest.mark.skipif(not HAVE_FIRMWARE, reason="needs make, arm-none-eabi-gcc, qemu-system-arm and cc")
SETTINGS = [part for override in OVERRIDES for part in ("--set", override)]


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)["error"]
        return found


def picobnn(*arguments: object) -> Answer:
    """The command in this process: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    assert "Traceback" not in err.getvalue()
    return Answer(code, out.getvalue(), err.getvalue())


def refused(error_id: str, code: int, *arguments: object) -> Answer:
    """The command must fail like this, in both forms of the error."""
    plain = picobnn(*arguments)
    assert plain.code == code
    assert plain.err.splitlines()[-2].startswith(f"error[{error_id}]: ")
    assert plain.err.splitlines()[-1].startswith("  try: ")
    answer = picobnn(*arguments, "--json")
    assert answer.code == code
    assert answer.error["id"] == error_id
    assert answer.error["exit_code"] == code
    assert all(answer.error[part] for part in ("what", "where", "remedy"))
    return answer


def tree(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_small_run(tmp_path_factory.mktemp("cli") / "small")


@pytest.fixture
def run(small: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small.path, tmp_path / "run")
    return RunDirectory(Path("run"))


def truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip_a_bit(data: bytes) -> bytes:
    return data[:200] + bytes([data[200] ^ 4]) + data[201:]


@pytest.mark.parametrize(
    ("damage", "error_ids"),
    [
        (truncate, {"E_BNN_CHECKSUM", "E_BNN_FORMAT"}),
        (flip_a_bit, {"E_BNN_CHECKSUM"}),
        (lambda _: b"not a model", {"E_BNN_FORMAT"}),
        (lambda _: b"", {"E_BNN_FORMAT"}),
    ],
)
@pytest.mark.parametrize("verb", ["verify", "generate", "analyze", "profile"])
def test_a_damaged_model(run: RunDirectory, damage: Callable[[bytes], bytes], error_ids: set[str], verb: str) -> None:
    run.program.write_bytes(damage(run.program.read_bytes()))
    before = tree(run.path)
    answer = picobnn(verb, "--run", run.path, "--json")
    assert answer.code == 2
    assert answer.error["id"] in error_ids
    assert "model.bnn" in answer.error["where"]
    assert tree(run.path) == before


def test_an_unknown_key(tmp_path: Path) -> None:
    path = tmp_path / "picobnn.toml"
    path.write_text("[train]\nepoch = 3\n")
    answer = refused("E_CONFIG_UNKNOWN_KEY", 2, "train", "-c", path, "--run", tmp_path / "run")
    assert "epochs" in answer.error["remedy"]
    assert not (tmp_path / "run").exists()


def test_a_network_too_big_for_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not HAVE_FIRMWARE:
        pytest.skip("needs the cross compiler")
    monkeypatch.chdir(tmp_path)
    program = wide_program()
    write_bnn(program, tmp_path / "model.bnn")
    made = picobnn("generate", "--model", "model.bnn", "--board", "microbit", "--out", "fw")
    assert made.code == 0
    answer = refused("E_DOES_NOT_FIT", 2, "build", "fw")
    assert "ram by" in answer.error["what"]
    assert not list((tmp_path / "fw").rglob("*.elf"))


def wide_program() -> Any:
    """A program whose arena is larger than the microbit's 16 KiB of RAM."""
    from picobnn.codegen.program import InputConv2dStep, Program, Tensor
    from picobnn.codegen.vocabulary import ElementKind, Scale, Shape, Window

    image, result = Shape(64, 64, 1), Shape(64, 64, 4)
    ones = np.ones(4, np.int32)
    step = InputConv2dStep("conv", "conv", 0, 1, np.ones((4, 1, 1, 1), np.uint8), Window(1, 1), None, Scale(ones, ones))
    tensors = (Tensor("image", image, ElementKind.UINT8), Tensor("result", result, ElementKind.INT32))
    return Program("wide", 0, tensors, (step,))


@needs_firmware
def test_a_missing_compiler(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert picobnn("generate", "--run", run.path).code == 0
    monkeypatch.setenv("PATH", os.devnull)
    answer = refused("E_TOOL_MISSING", 3, "build", "--run", run.path)
    assert "apt-get install" in answer.error["remedy"]
    assert not list(run.path.rglob("*.elf"))
    # Not asked for by name, what cannot run is skipped and said.
    answer = picobnn("verify", "--run", run.path, "--json")
    assert answer.code == 0
    assert set(json.loads(answer.out)["skipped"]) == {"host", "emulator"}
    refused("E_TOOL_MISSING", 3, "verify", "--run", run.path, "--on", "emulator")


def test_a_dead_serial_port(run: RunDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = refused("E_PORT_MISSING", 3, "verify", "--run", run.path, "--port", f"socket://127.0.0.1:{port}")
    assert str(port) in answer.error["where"]
    refused("E_PORT_MISSING", 3, "verify", "--run", run.path, "--port", "/dev/no-such-port")


@needs_firmware
@pytest.mark.qemu
def test_firmware_of_another_model(run: RunDirectory, tmp_path: Path) -> None:
    other = random_program(np.random.default_rng(3), Limits())
    write_bnn(other, tmp_path / "other.bnn")
    assert picobnn("generate", "--model", tmp_path / "other.bnn", "--out", "other").code == 0
    answer = refused(
        "E_MODEL_MISMATCH", 10, "verify", "--run", run.path, "--on", "emulator", "--firmware", tmp_path / "other"
    )
    assert "another" in answer.error["what"] or "built from model" in answer.error["what"]


def test_an_unsupported_layer(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import nn

    from picobnn.flow import export as export_flow

    load = export_flow.load_network

    def with_tanh(checkpoint: Path) -> Any:
        network = load(checkpoint)
        next(iter(network.children())).append(nn.Tanh())
        return network

    monkeypatch.setattr(export_flow, "load_network", with_tanh)
    run.program.unlink()
    answer = refused("E_UNSUPPORTED_LAYER", 2, "export", "--run", run.path)
    assert "Tanh" in answer.error["what"]
    assert not run.program.exists()


def test_a_damaged_checkpoint_and_golden_file(run: RunDirectory) -> None:
    run.pruned_checkpoint.write_bytes(b"garbage")
    refused("E_CHECKPOINT", 2, "export", "--run", run.path)
    run.golden.write_bytes(b"garbage")
    refused("E_DATA_FORMAT", 2, "verify", "--model", run.program)


def test_unknown_names(run: RunDirectory) -> None:
    refused("E_UNKNOWN_BOARD", 2, "generate", "--run", run.path, "--board", "arduino")
    refused("E_UNKNOWN_CORE", 2, "analyze", "--run", run.path, "--core", "m99")
    refused("E_CONFIG_VALUE", 2, "verify", "--run", run.path, "--on", "abacus")
    refused("E_CONFIG_VALUE", 2, "generate", "--run", run.path, "--kernels", "magic")
    refused("E_USAGE", 2, "generate", "--run", run.path, "--set", "target.prefix=2nd")
    refused("E_FILE_MISSING", 2, "verify", "--run", "nowhere")
    refused("E_FILE_MISSING", 2, "build", "nowhere")
    refused("E_CONFIG_VALUE", 2, "train", "--run", "new", "--set", "model.name=resnet1000")
    refused("E_CONFIG_VALUE", 2, "run", "--run", "new", "--set", "train.device=cuda:9")
    assert not Path("new").exists()
    refused("E_CONFIG_VALUE", 2, "train", "--run", run.path, "--set", "train.epochs=7")
    refused("E_CONFIG_VALUE", 2, "data", "info", "imagenet")
    refused("E_USAGE", 2, "frobnicate")
    refused("E_USAGE", 2, "verify", "--frobnicate")


def test_a_failed_check_is_one_object_with_its_figures(run: RunDirectory) -> None:
    answer = picobnn("analyze", "--run", run.path, "--max-flash", "1 KiB", "--json")
    assert answer.code == (1 if HAVE_FIRMWARE else 3)
    found = json.loads(answer.out)
    assert found["boards"]
    assert found["error"]["exit_code"] == answer.code


def test_comparing_nothing_is_no_success(run: RunDirectory) -> None:
    answer = picobnn("verify", "--run", run.path, "--on", "reference", "--json")
    assert answer.code == 2
    assert answer.error["id"] == "E_USAGE"


def test_a_programming_error_ends_in_70_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from picobnn.flow import doctor

    def broken() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(doctor, "doctor", broken)
    answer = picobnn("doctor")
    assert answer.code == 70
    assert "boom" in answer.err
    assert picobnn("doctor", "--json").error["exit_code"] == 70


def test_an_interrupt_ends_in_130(monkeypatch: pytest.MonkeyPatch) -> None:
    from picobnn.flow import doctor

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "doctor", interrupted)
    assert picobnn("doctor").code == 130


def test_a_model_file_survives_a_failed_export(run: RunDirectory) -> None:
    before = run.program.read_bytes()
    run.pruned_checkpoint.write_bytes(b"garbage")
    assert picobnn("export", "--run", run.path).code == 2
    assert run.program.read_bytes() == before
    assert read_bnn(run.program).steps
