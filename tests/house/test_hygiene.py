# SPDX-License-Identifier: Apache-2.0
"""What no file of the tree may hold, and what every one must: licence lines, length, no private paths, no leftovers."""

from __future__ import annotations

import re

import pytest

from tests.support.tree import ROOT, repository_files, text_of

CODE = (".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".S", ".ld", ".j2", ".sh")
TEXT = (*CODE, ".md", ".toml", ".yml", ".yaml", ".txt", ".json")
MARKED = (*CODE, ".yml", ".yaml", ".toml")
MAX_LINES = 600
MAX_BYTES = 1_000_000

# Stored output and data, and the files a user starts from, say nothing about the house's own hand.
STORED = ("tests/golden/", "tests/data/", "zoo/", "examples/", "bench/results/")
# Written in pieces, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    "|".join(("/wo" + "rk/", "/r" + "oot/", "/ho" + "me/[a-z]", "/fa" + "rm/", r"\.lib" + "rary/"))
)
INDEX_HOSTS = re.compile(
    "|".join(("py" + r"pi\.org", "python" + "hosted", "download" + r"\.pytorch", "/si" + r"mple\b"))
)
# PyTorch's public index of CPU builds is named where a user gives it.
INDEX_NAMED_IN = ("README.md", "Makefile", ".github/workflows/ci.yml", "CONTRIBUTING.md")
LEFTOVERS = re.compile(
    "|".join(
        (
            r"\bTO" + r"DO\b",
            r"\bFIX" + r"ME\b",
            r"\bXX" + r"X\b",
            "NotImplemented" + "Error",
            r"raise Exc" + r"eption\(",
            r"except Exc" + r"eption:\s*pass",
            r"except" + r":\s",
            r"mark\.xf" + "ail",
            r"break" + r"point\(\)",
        )
    )
)


def own_files(suffixes: tuple[str, ...]) -> list[str]:
    names = [name for name in repository_files() if not name.startswith(STORED)]
    return [
        name for name in names if name.endswith(suffixes) or (".sh" in suffixes and name in ("Makefile", ".ci/run"))
    ]


def lines_matching(pattern: re.Pattern[str], names: list[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in names
        for number, line in enumerate(text_of(name).splitlines(), start=1)
        if pattern.search(line)
    ]


def expected_licence(name: str) -> str:
    """Everything that is emitted, linked into firmware or copied into a user's project is MIT-0."""
    emitted = name.startswith("firmware_templates/") and not name.endswith((".py", ".toml"))
    return "MIT-0" if emitted else "Apache-2.0"


def test_every_source_names_its_licence_first() -> None:
    wrong = []
    for name in own_files(MARKED):
        text = text_of(name)
        found = re.search(r"SPDX-License-Identifier: ([\w.-]+)", "\n".join(text.splitlines()[:3]))
        either = name.startswith("firmware_templates/") and name.endswith(".toml")
        if text and (found is None or (found[1] != expected_licence(name) and not either)):
            wrong.append(f"{name}: {found[1] if found else 'no licence line'}, expected {expected_licence(name)}")
    assert not wrong, "\n".join(wrong)


def test_licence_texts_are_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "MIT No Attribution" in (ROOT / "LICENSES/MIT-0.txt").read_text()


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, LEFTOVERS], ids=["machine paths", "leftovers"])
def test_no_file_holds(pattern: re.Pattern[str]) -> None:
    found = lines_matching(pattern, own_files(TEXT))
    assert not found, "\n".join(found)


def test_package_indexes_are_named_only_where_a_user_gives_one() -> None:
    found = lines_matching(INDEX_HOSTS, [name for name in own_files(TEXT) if name not in INDEX_NAMED_IN])
    assert not found, "\n".join(found)


def test_no_file_is_too_long() -> None:
    lengths = {name: len(text_of(name).splitlines()) for name in own_files(CODE)}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_file_is_too_big() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in repository_files()}
    assert {name: size for name, size in sizes.items() if size > MAX_BYTES} == {}


def test_every_python_module_says_what_it_is() -> None:
    silent = [
        name
        for name in own_files((".py", ".pyx"))
        if not name.startswith("tests/") and not re.match(r'(#.*\n)+\s*r?"""', text_of(name))
    ]
    assert not silent, silent


def test_every_extension_has_a_stub() -> None:
    names = set(repository_files())
    missing = [name for name in names if name.endswith(".pyx") and name.replace(".pyx", ".pyi") not in names]
    assert not missing, missing


def test_the_lock_pins_every_dependency_exactly_once() -> None:
    lines = [line for line in text_of("constraints.txt").splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line) for line in lines), "only plain name==version lines"
    pinned = [line.split("==")[0] for line in lines]
    assert pinned == sorted(set(pinned))
    wanted = set(re.findall(r'^\s*"?([A-Za-z][\w-]*)>=', text_of("pyproject.toml").replace('["', '\n"'), re.MULTILINE))
    assert {name.lower() for name in wanted} <= set(pinned)
    assert "torch==2.13.0" in lines
