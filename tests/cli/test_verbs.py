# SPDX-License-Identifier: Apache-2.0
"""Every verb once, as a user types it: exit code 0, one JSON object with --json, a next command without."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from picobnn import __version__
from picobnn.cli.common import format_value
from picobnn.flow.run_directory import RunDirectory
from tests.support.small_run import HAVE_FIRMWARE, OVERRIDES, make_small_run

needs_firmware = pytest.mark.skipif(not HAVE_FIRMWARE, reason="needs make, arm-none-eabi-gcc, qemu-system-arm and cc")
SETTINGS = [part for override in OVERRIDES for part in ("--set", override)]
VERBS = (
    "doctor", "data", "train", "prune", "export", "analyze", "generate", "build", "verify", "flash", "profile",
    "report", "demo", "run",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_small_run(tmp_path_factory.mktemp("verbs") / "small")


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """The verb with --json, in this process."""
    from picobnn.cli import main

    code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.out
    found: dict[str, Any] = json.loads(captured.out)
    return found


def test_help_lists_every_verb_and_loads_nothing_heavy() -> None:
    program = (
        "import sys, contextlib, io\n"
        "from picobnn.cli import main\n"
        "out = io.StringIO()\n"
        "with contextlib.redirect_stdout(out):\n"
        "    code = main(['--help'])\n"
        "heavy = [name for name in ('torch', 'matplotlib', 'jinja2', 'capstone', 'serial') if name in sys.modules]\n"
        "print(code, heavy)\n"
        "print(out.getvalue())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("0 []\n")
    commands = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line.split()}
    assert set(VERBS) <= commands


def test_version_and_no_verb(capsys: pytest.CaptureFixture[str]) -> None:
    from picobnn.cli import main

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__
    assert main([]) == 2
    assert "Commands" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_the_common_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    from picobnn.cli import main

    arguments = [verb, "list", "--help"] if verb == "data" else [verb, "--help"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for option in ("--config", "--set", "--json", "--quiet", "--verbose"):
        assert option in text


def test_doctor_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "doctor")["checks"][0]["name"] == "picobnn"
    names = {facts["name"] for facts in call(capsys, "data", "list")["datasets"]}
    assert names == {"digits", "fmnist"}
    digits = call(capsys, "data", "info", "digits")["datasets"][0]
    assert digits["shape"] == [8, 8, 1]
    assert call(capsys, "data", "get", "digits")["datasets"][0]["folder"]


def test_training_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    trained = call(capsys, "train", "--run", folder, *SETTINGS)
    assert trained["epochs"] == 1
    again = call(capsys, "train", "--run", folder)
    assert again["test_accuracy"] == trained["test_accuracy"]
    pruned = call(capsys, "prune", "--run", folder, *SETTINGS, "--set", "prune.method=scale")
    assert pruned["method"] == "scale"
    exported = call(capsys, "export", "--run", folder)
    assert Path(exported["program"]).is_file()
    from picobnn.cli import main

    assert main(["export", "--run", str(folder), "--dump-after", "fuse_epilogue"]) == 0
    assert "after fuse_epilogue" in capsys.readouterr().err
    dense = call(capsys, "export", "--run", folder, "--checkpoint", folder / "checkpoint.safetensors")
    assert dense["weight_bits"] > exported["weight_bits"]


@needs_firmware
@pytest.mark.qemu
def test_firmware_verbs(run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "fw"
    generated = call(capsys, "generate", "--run", run.path, "--out", folder, "--board", "mps2-an505")
    assert generated["core"] == "cortex-m33"
    built = call(capsys, "build", folder)
    assert built["board"] == "mps2-an505"
    assert built["ram_bytes"] == generated["arena_bytes"]
    assert built["weight_bytes"] == generated["table_bytes"]
    flashed = call(capsys, "flash", folder)
    assert flashed["build_id"] == built["build_id"]
    assert generated["model_hash"].startswith(flashed["model_hash"])
    profile = call(capsys, "profile", "--run", run.path, "--board", "mps2-an505,mps3-an547")["profiles"]
    assert [p["core"] for p in profile] == ["cortex-m33", "cortex-m55"]
    assert profile[0]["cycles"] > 0
    assert profile[0]["error_band_percent"] == 10
    assert profile[1]["error_band_percent"] is None
    assert profile[1]["cycles"] > 0
    assert profile[1]["instructions"] > 0
    verified = call(capsys, "verify", "--run", run.path, "--board", "mps2-an505")
    assert verified["mismatches"] == 0
    assert [r["vectors"] for r in verified["results"]] == [40, 40, 40, 5]
    layers = profile[0]["layers"]
    assert sum(layer["flash_bytes"] for layer in layers) == profile[0]["build"]["weight_bytes"]
    assert max(layer["ram_bytes"] for layer in layers) == profile[0]["build"]["ram_bytes"]
    reported = call(capsys, "report", "--run", run.path)
    assert reported["absent"] == []
    analyzed = call(capsys, "analyze", "--run", run.path, "--core", "m33", "--cycles")
    assert analyzed["boards"][0]["cycles"] == profile[0]["cycles"]
    assert analyzed["boards"][0]["flash_bytes"] == profile[0]["build"]["flash_bytes"]


@needs_firmware
@pytest.mark.qemu
def test_analyze_prints_every_figure_under_its_head(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from picobnn.cli import main

    monkeypatch.setenv("COLUMNS", "120")
    assert main(["analyze", "--run", str(run.path), "--core", "m0,m33", "--cycles"]) == 0
    printed = capsys.readouterr().out
    boards = json.loads(run.analysis.read_text())["boards"]
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed  # nothing is cut
    columns = {
        "bytes": ("core", "table_bytes", "arena_bytes", "ram_table_bytes", "hot_code_bytes", "estimated_flash_bytes",
                  "flash_bytes", "ram_bytes"),
        "cycles (modelled)": ("core", "cycles", "cycles_up_to", "wait_states"),
    }  # fmt: skip
    lines = printed.splitlines()
    for first, fields in columns.items():
        head = next(index for index, line in enumerate(lines) if line.startswith(first))
        assert len(re.split(r"\s{2,}", lines[head].strip())) == len(fields) + 1
        for line, board in zip(lines[head + 1 :], boards, strict=False):
            assert line.split() == [board["board"], *(format_value(board[field]) for field in fields)]


@needs_firmware
@pytest.mark.qemu
def test_a_device_behind_a_port_is_compared(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    from picobnn.codegen.targets import load_board
    from picobnn.sim.qemu import EmulatedBoard

    call(capsys, "generate", "--run", run.path)
    elf = call(capsys, "build", "--run", run.path)["elf"]
    with EmulatedBoard(load_board("mps2-an386"), Path(elf)) as board:
        result = call(capsys, "verify", "--run", run.path, "--port", board.url)["results"]
    assert [(r["executor"].split(":")[0], r["vectors"], r["mismatches"]) for r in result] == [("device", 5, 0)]


@needs_firmware
@pytest.mark.qemu
def test_run_prints_the_report_and_the_next_command(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    from picobnn.cli import main

    assert main(["run", "--run", str(run.path), "--until", "verify"]) == 0
    captured = capsys.readouterr()
    assert "next: picobnn report" in captured.err
    assert main(["run", "--run", str(run.path), "--from", "verify", "--until", "train"]) == 2
