# SPDX-License-Identifier: Apache-2.0
"""Set-up on a machine that lacks everything: apt where it may be used, otherwise one sentence and no failure."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tree import ROOT

SCRIPT = ROOT / "tools/system_packages.sh"
NEEDED = ("sh", "sed", "sort", "paste", "id", "mktemp", "tail", "rm")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of programs as on a machine with a shell and little else."""
    for name in NEEDED:
        (tmp_path / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", str(SCRIPT), *arguments, "no-python-here"]
    environment = {"PATH": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def plant(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_without_apt_one_sentence_says_what_is_missing_and_skipped(bare: Path) -> None:
    done = run(bare)
    assert (done.returncode, done.stdout) == (0, "")
    (sentence,) = done.stderr.splitlines()
    for word in ("gcc-arm-none-eabi", "qemu-system-arm", "python3-venv", "firmware builds", "the emulated boards"):
        assert word in sentence
    assert "sudo apt install" in sentence


def test_without_rights_apt_is_not_tried(bare: Path) -> None:
    plant(bare, "apt-get", 'echo "$*" >> "${0%/*}/calls"')
    plant(bare, "sudo", "exit 1")
    (bare / "id").unlink()
    plant(bare, "id", "echo 1000")
    assert len(run(bare).stderr.splitlines()) == 1
    assert not (bare / "calls").exists()


def test_with_rights_apt_installs_what_is_missing(bare: Path) -> None:
    plant(bare, "apt-get", 'echo "$*" >> "${0%/*}/calls"')
    plant(bare, "sudo", 'shift; exec "$@"')
    plant(bare, "true", "exit 0")
    plant(bare, "qemu-system-arm", "exit 0")
    assert run(bare).returncode == 0
    update, install = (bare / "calls").read_text().splitlines()
    assert update == "update"
    assert "gcc-arm-none-eabi" in install
    assert "qemu-system-arm" not in install
