# SPDX-License-Identifier: Apache-2.0
"""What the tree holds is what the sdist and the wheel hold, each file once, and the wheel works far from the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tests.support.tree import FOLDERS, ROOMS, ROOT, repository_files

IMPORT_ALL = """
import importlib, pathlib, pkgutil, sys
import picobnn
here = pathlib.Path(sys.argv[1])
names = [info.name for info in pkgutil.walk_packages(picobnn.__path__, "picobnn.")]
for name in names:
    if not name.startswith("picobnn.trainer") and not name.endswith("__main__"):
        module = importlib.import_module(name)
        assert here in pathlib.Path(module.__file__).parents, module.__file__
from importlib.resources import files
assert files("picobnn.firmware_templates").joinpath("__init__.py").is_file()
print(len(names))
"""


def build(folder: Path, *, pure: bool) -> tuple[Path, Path]:
    """An sdist of a clean copy of the tree below ``folder``, and the wheel built from that sdist."""
    for name in repository_files():
        target = folder / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    for room in ROOMS:
        (folder / "tree/picobnn" / room).symlink_to(f"../{room}")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "tree")]
    environment = {"PATH": "/usr/bin:/bin", "PICOBNN_PURE": str(int(pure)), "TMPDIR": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the pure wheel."""
    return build(tmp_path_factory.mktemp("pure"), pure=True)


def run_away_from_the_tree(wheel: Path, folder: Path, script: str) -> str:
    """What ``script`` prints when only the unpacked wheel is there; its argument is the wheel's folder."""
    site = folder / "site"
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script, str(site)]
    options = {"cwd": folder, "env": environment, "timeout": 120, "check": False}
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shipped() -> dict[str, str]:
    """Path in the tree -> path in the wheel, for every file below the packages' folders."""
    names = [name for name in repository_files() if name.split("/")[0] in FOLDERS]
    return {name: name if name.startswith("picobnn/") else f"picobnn/{name}" for name in names}


def test_the_wheel_holds_every_file_once(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[1]) as wheel:
        inside = Counter(name for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info"))
        licences = [name for name in wheel.namelist() if ".dist-info/licenses/" in name]
    assert inside == Counter(shipped().values())
    assert sorted(Path(name).name for name in licences) == ["LICENSE", "MIT-0.txt"]


def test_the_sdist_holds_every_file_once(archives: tuple[Path, Path]) -> None:
    with tarfile.open(archives[0]) as sdist:
        inside = [member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()]
    found = Counter(name for name in inside if name.split("/")[0] in FOLDERS)
    assert found == Counter(shipped().keys())
    assert {"setup.py", "pyproject.toml", "LICENSE"} <= set(inside)


def test_the_wheel_imports_away_from_the_tree(archives: tuple[Path, Path], tmp_path: Path) -> None:
    assert archives[1].name.endswith("-py3-none-any.whl")
    assert int(run_away_from_the_tree(archives[1], tmp_path, IMPORT_ALL)) > 20


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_wheel_with_extensions_imports_away_from_the_tree(tmp_path: Path) -> None:
    _, wheel = build(tmp_path, pure=False)
    for source in sorted((ROOT / "sim").glob("_*.pyx")):
        script = f"import picobnn.sim.{source.stem} as module; print(module.__file__)"
        assert ".so" in run_away_from_the_tree(wheel, tmp_path, script)
