# SPDX-License-Identifier: Apache-2.0
"""The repository as the house tests see it: its files, its rooms, and what a source file imports."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("trainer", "codegen", "firmware_templates", "sim", "harness")
FOLDERS = ("picobnn", *ROOMS)


@cache
def repository_files() -> tuple[str, ...]:
    """Paths from the root, with ``/``, of every file that is or may be committed; links to folders are left out."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: what belongs to the tree is unknown")
    return tuple(sorted({name for name in listed if name and (ROOT / name).is_file()}))


def text_of(name: str) -> str:
    """The text of a file of :func:`repository_files`."""
    return (ROOT / name).read_text(encoding="utf-8")


def module_name(name: str) -> str:
    """``codegen/ops/conv.py`` is ``picobnn.codegen.ops.conv``."""
    parts = list(Path(name).with_suffix("").parts)
    if parts[0] in ROOMS:
        parts.insert(0, "picobnn")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name. ``lazy``: inside a function; ``typing_only``: below ``if TYPE_CHECKING``; ``level``: dots."""

    module: str
    line: int
    lazy: bool = False
    typing_only: bool = False
    level: int = 0


def imports_of(name: str, text: str) -> list[Import]:
    """Every import of a Python or Cython source. ``from a import b`` counts as ``a.b``."""
    return _cython_imports(text) if name.endswith((".pyx", ".pxd")) else list(_walk(ast.parse(text, name)))


def _walk(node: ast.AST, lazy: bool = False, typing_only: bool = False) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, lazy, typing_only)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield Import(f"{node.module or ''}.{alias.name}", node.lineno, lazy, typing_only, node.level)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for child in node.body:
            yield from _walk(child, lazy, True)
        for child in node.orelse:
            yield from _walk(child, lazy, typing_only)
    else:
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, inside, typing_only)


def _cython_imports(text: str) -> list[Import]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        lazy = line.startswith((" ", "\t"))
        if match := re.match(r"\s*from\s+(\.*)([\w.]*)\s+c?import\s+(.+)", line):
            names = re.findall(r"\w+", match[3].split("#")[0]) or ["*"]
            found += [Import(f"{match[2]}.{each}", number, lazy, level=len(match[1])) for each in names]
        elif match := re.match(r"\s*c?import\s+([\w.]+)", line):
            found.append(Import(match[1], number, lazy))
    return found
