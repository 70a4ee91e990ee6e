# SPDX-License-Identifier: Apache-2.0
"""Every error id is documented with its exit code, raised somewhere, and met by some test."""

from __future__ import annotations

import ast
import re

import pytest

from picobnn.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, ErrorId, PicobnnError
from tests.support.tree import FOLDERS, repository_files, text_of

ROW = re.compile(r"^\| `(E_[A-Z_]+)` \| (\d+) \| (.+?) \| (.+?) \|", re.MULTILINE)

# Its meaning and exit code are fixed; it takes several real boards on ports to meet it.
RESERVED = {"DEVICE_AMBIGUOUS"}


def documented() -> dict[str, int]:
    return {row[0]: int(row[1]) for row in ROW.findall(text_of("docs/errors.md"))}


def used_in(names: list[str]) -> set[str]:
    return {found for name in names for found in re.findall(r"(?:ErrorId\.|\bE_)([A-Z_]+)\b", text_of(name))}


def raised_in(text: str, name: str = "<text>") -> set[str]:
    """Members that code takes from ``ErrorId``: a mention in a docstring, comment or string does not count."""
    found = {
        node.attr
        for node in ast.walk(ast.parse(text, name))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ErrorId"
    }
    return found & set(ErrorId.__members__)


def test_docs_list_every_error_with_its_exit_code() -> None:
    assert documented() == {error.code: error.exit_code for error in ErrorId}


def test_docs_list_the_other_exit_codes() -> None:
    table = dict(re.findall(r"^\| (\d+) \| (.+?) \|", text_of("docs/errors.md"), re.MULTILINE))
    codes = {EXIT_OK, EXIT_BUG, EXIT_INTERRUPTED, *(error.exit_code for error in ErrorId)}
    assert {int(code) for code in table} == codes


@pytest.mark.parametrize("error", ErrorId, ids=lambda error: error.code)
def test_ids_are_named_after_their_member(error: ErrorId) -> None:
    assert error.code == f"E_{error.name}"
    assert error.exit_code in (1, 2, 3) or 4 <= error.exit_code <= 14


def test_an_error_says_what_where_and_what_next() -> None:
    error = PicobnnError(ErrorId.PORT_BUSY, "the port is in use.", where="/dev/ttyACM0", remedy="Close the monitor.")
    assert str(error) == "/dev/ttyACM0: the port is in use. Close the monitor."
    assert error.as_dict() == {
        "id": "E_PORT_BUSY",
        "what": "the port is in use.",
        "where": "/dev/ttyACM0",
        "remedy": "Close the monitor.",
        "exit_code": 5,
    }


def test_every_error_is_raised_somewhere() -> None:
    sources = [name for name in repository_files() if name.endswith(".py") and name.split("/")[0] in FOLDERS]
    raised = {found for name in sources for found in raised_in(text_of(name), name)}
    unused = {error.name for error in ErrorId} - RESERVED - raised
    assert not unused, f"no source raises {sorted(unused)}"


def test_a_mention_is_no_use() -> None:
    text = '"""Raises ErrorId.USAGE, E_USAGE."""\nx = "ErrorId.USAGE"  # ErrorId.USAGE\nraise E(ErrorId.PRUNING)\n'
    assert raised_in(text) == {"PRUNING"}


def test_every_error_is_met_by_a_test() -> None:
    tests = [name for name in repository_files() if name.startswith("tests/") and not name.startswith("tests/house/")]
    untested = {error.name for error in ErrorId} - RESERVED - used_in([name for name in tests if name.endswith(".py")])
    assert not untested, f"no test meets {sorted(untested)}"
