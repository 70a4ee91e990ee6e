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


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An sdist of a clean copy of the tree, and the pure wheel built from that sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in repository_files():
        target = folder / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    for room in ROOMS:
        (folder / "tree/picobnn" / room).symlink_to(f"../{room}")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "tree")]
    environment = {"PATH": "/usr/bin:/bin", "PICOBNN_PURE": "1", "TMPDIR": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*-py3-none-any.whl")
    return sdist, wheel


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
    site = tmp_path / "site"
    with zipfile.ZipFile(archives[1]) as wheel:
        wheel.extractall(site)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", IMPORT_ALL, str(site)]
    options = {"cwd": tmp_path, "env": environment, "timeout": 120, "check": False}
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
