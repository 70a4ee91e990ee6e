# SPDX-License-Identifier: Apache-2.0
"""Commands in the documentation are commands that exist, and ``picobnn --help`` starts without the heavy packages."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache

import pytest

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
    rest = [word for word in words[1:] if not word.startswith("-")]
    if not rest:
        return []
    path = tuple(rest[:2]) if rest[0] == "data" and len(rest) > 1 else (rest[0],)
    shown = help_text(*path)
    if not shown:
        return [f"no verb '{' '.join(path)}'"]
    options = [word.split("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)]
    return [f"{' '.join(path)} has no option {each}" for each in options if not re.search(rf"{each}(?![\w-])", shown)]


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


def test_a_wrong_command_is_found() -> None:
    assert complaints("picobnn juggle --high") == ["no verb 'juggle'"]
    assert complaints("picobnn verify m.bnn --never") == ["verify has no option --never"]
    assert complaints("make nothing") == ["no make target nothing"]


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
