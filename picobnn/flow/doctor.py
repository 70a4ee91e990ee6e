# SPDX-License-Identifier: Apache-2.0
"""What this machine has and lacks for each part of the chain, with the exact command that gets what is missing."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

from picobnn import __version__


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked for. ``remedy`` is empty when it was found."""

    name: str
    found: bool
    detail: str
    needed_for: str
    remedy: str


@dataclass(frozen=True, slots=True)
class DoctorResult:
    """All checks, in the order of the chain."""

    checks: tuple[Check, ...]

    @property
    def complete(self) -> bool:
        return all(check.found for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        return {"complete": self.complete, "checks": [asdict(check) for check in self.checks]}


_TOOLS = (
    ("cc", "host C executor, Cython extension, cycle plugin", "apt-get install gcc"),
    ("make", "building firmware", "apt-get install make"),
    ("arm-none-eabi-gcc", "building firmware", "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"),
    ("qemu-system-arm", "running firmware without a board, counting cycles", "apt-get install qemu-system-arm"),
)
_MODULES = (
    ("torch", "train, prune, export", "pip install 'picobnn[train]'"),
    ("safetensors", "checkpoints", "pip install 'picobnn[train]'"),
    ("serial", "flash, profile, verify on emulated boards", "pip install pyserial"),
)


def doctor() -> DoctorResult:
    """Look for everything; raises nothing."""
    checks = [Check("picobnn", True, f"{__version__}, Python {platform.python_version()}", "everything", "")]
    checks += [_tool(*tool) for tool in _TOOLS]
    checks += [_module(*module) for module in _MODULES]
    checks.append(_extension())
    checks.append(_fashion_mnist())
    return DoctorResult(tuple(checks))


def _tool(name: str, needed_for: str, remedy: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, "not on PATH", needed_for, remedy)
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, False, f"{path} does not run ({error})", needed_for, remedy)
    lines = (answer.stdout or answer.stderr).splitlines()
    return Check(name, True, lines[0] if lines else path, needed_for, "")


def _module(name: str, needed_for: str, remedy: str) -> Check:
    found = importlib.util.find_spec(name) is not None
    return Check(name, found, "installed" if found else "not installed", needed_for, "" if found else remedy)


def _extension() -> Check:
    name = "Cython executor"
    if importlib.util.find_spec("picobnn.sim._bitslice") is None:
        remedy = "install a C compiler and python3-dev, then 'pip install --force-reinstall --no-deps picobnn'"
        return Check(name, False, "not built; the numpy executor is used", "fast simulation", remedy)
    return Check(name, True, "built", "fast simulation", "")


def _fashion_mnist() -> Check:
    name, needed_for = "Fashion-MNIST", "training fmnist_cnn"
    from picobnn.trainer.data import dataset_folder

    folder = dataset_folder("fmnist")
    if folder is None:
        return Check(name, False, "no files found", needed_for, "apt-get install dataset-fashion-mnist")
    return Check(name, True, str(folder), needed_for, "")
