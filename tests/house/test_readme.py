# SPDX-License-Identifier: Apache-2.0
"""Commands in the documentation are commands that exist, and ``picobnn --help`` starts without the heavy packages."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from functools import cache

import pytest
from typer import Exit, TyperException
from typer.core import TyperGroup
from typer.main import get_command

from picobnn.cli.app import app
from tests.support.tree import ROOT, text_of

PAGES = [name for name in ("README.md", "CONTRIBUTING.md") if (ROOT / name).is_file()]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("**/*.md"))
# The verbs that the product promises so far.
VERBS = (
    *("doctor", "data", "train", "prune", "export", "analyze", "generate", "build"),
    *("verify", "flash", "profile", "report", "demo", "run"),
)


@cache
def help_text(*verb: str) -> str:
    """What ``picobnn VERB --help`` prints, or nothing when there is no such verb."""
    command = [sys.executable, "-m", "picobnn", *verb, "--help"]
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "250", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else ""


def parse(arguments: list[str]) -> None:
    """Parse a command line as ``picobnn`` does, without running it. Raises what Typer finds wrong."""
    command, name, context = get_command(app), "picobnn", None
    while arguments and arguments not in (["--help"], ["--version"]):
        context = command.make_context(name, list(arguments), parent=context)
        if not isinstance(command, TyperGroup):
            break
        name, command, arguments = command.resolve_command(context, arguments)


def commands(text: str) -> list[str]:
    """Lines of ``sh`` blocks, continuations joined, prompts and comments dropped."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").split(" #")[0].strip() for line in lines]


def complaints(command: str) -> list[str]:
    """What is wrong with one ``picobnn ...`` or ``make ...`` line."""
    words = shlex.split(command)
    while words and "=" in words[0]:
        words = words[1:]
    if words[:1] == ["make"]:
        targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
        rules = text_of("Makefile")
        return [f"no make target {each}" for each in targets if not re.search(rf"^{each}:", rules, re.MULTILINE)]
    if not words or not words[0].endswith("picobnn"):
        return []
    try:
        parse(words[1:])
    except TyperException as error:
        return [error.format_message()]
    except Exit:
        pass
    return []


@pytest.mark.parametrize("page", PAGES)
def test_commands_of(page: str) -> None:
    wrong = [f"{line}: {said}" for line in commands(text_of(page)) for said in complaints(line)]
    assert not wrong, "\n".join(wrong)


def test_commands_of_the_workflow() -> None:
    lines = re.findall(r"[\w./]*picobnn [a-z-].*", text_of(".github/workflows/ci.yml"))
    wrong = [f"{line}: {said}" for line in lines for said in complaints(line)]
    assert lines
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("verb", VERBS)
def test_verb_has_help_and_json(verb: str) -> None:
    shown = help_text(*(("data", "list") if verb == "data" else (verb,)))
    assert "--json" in shown
    assert verb in help_text()


@pytest.mark.parametrize(
    "command",
    [
        "picobnn juggle",
        "picobnn verify --never",
        "picobnn verify m.bnn",
        "picobnn data nothing",
        "make nothing",
        "make -j4 x",
    ],
)
def test_a_wrong_command_is_found(command: str) -> None:
    assert complaints(command)


@pytest.mark.parametrize("command", ["picobnn --version", "picobnn verify --model m.bnn", "CI=1 make demo", "ls -l"])
def test_a_right_command_passes(command: str) -> None:
    assert not complaints(command)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]], ids=" ".join)
def test_help_starts_without_heavy_packages(arguments: list[str]) -> None:
    script = (
        "import sys; from picobnn.cli import main; code = main(sys.argv[1:])\n"
        "print('loaded:', *sorted({'torch', 'matplotlib', 'capstone'} & set(sys.modules))); sys.exit(code)"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize(
    ("page", "name"), [("README.md", "chain"), ("README.md", "kernels"), ("docs/pruning.md", "methods")]
)
def test_the_tables_of_results_are_those_that_the_benchmarks_wrote(page: str, name: str) -> None:
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        readme_table = importlib.import_module("readme_table")
        script = importlib.import_module(f"{name}_table")
    finally:
        sys.path.pop(0)
    assert readme_table.table_in(text_of(page), name) == script.render(readme_table.load(name))
