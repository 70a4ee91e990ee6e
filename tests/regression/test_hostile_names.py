# SPDX-License-Identifier: Apache-2.0
"""A model file brings names of its own choice: no name, source or command may become code, in any rendered file."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.c_text import comment_text, string_literal
from picobnn.codegen.emit import SourceFile, render_model
from picobnn.codegen.program import Program
from picobnn.codegen.project import project_facts, render_project
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import load_board
from tests.support.firmware import build_project, needs_compiler
from tests.support.small_programs import two_layers

BOARD = "microbit"
HOSTILE = (
    "x */ int evil = sizeof(int); /*",
    "*//* evil */ int evil; /**/",
    "line\n#error evil\n",
    "???/",
    "??/\\",
    'evil" "\\',
    "%s%n {{ evil }} $(evil) ' \t\x00é",
    "/",
    "*",
)


def hostile_program(text: str) -> Program:
    program = two_layers()
    steps = tuple(dataclasses.replace(step, name=text, source=text) for step in program.steps)
    tensors = tuple(dataclasses.replace(tensor, name=text) for tensor in program.tensors)
    return dataclasses.replace(program, name=text, steps=steps, tensors=tensors)


def rendered(text: str) -> tuple[SourceFile, ...]:
    board = load_board(BOARD)
    plan = make_plan(hostile_program(text), board.target)
    model = render_model(plan, "net", command=f"picobnn generate {text}")
    return (*model, *render_project(board, "net", project_facts(plan), model))


def code_of(text: str) -> str:
    """C without comments and strings, trigraphs and spliced lines resolved as a compiler does."""
    resolved = text.replace("??/", "\\").replace("\\\n", "")
    return re.sub(r'"(\\.|[^"\\])*"|/\*.*?\*/', " ", resolved, flags=re.DOTALL)


@pytest.mark.parametrize("text", HOSTILE)
def test_rendered_files_hold_the_same_code_whatever_the_names(text: str) -> None:
    plain = {file.path: file.text for file in rendered("plain")}
    odd = {file.path: file.text for file in rendered(text)}
    assert odd.keys() == plain.keys()
    for path, content in odd.items():
        if not path.endswith((".c", ".h")):
            assert content == plain[path], path
            continue
        code = code_of(content)
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) == len([line for line in code_of(plain[path]).splitlines() if line.strip()]), path
        assert not re.search(r"#error evil|int evil|sizeof\(int\)", code), path


@needs_compiler
@pytest.mark.qemu
@pytest.mark.parametrize("text", HOSTILE[:6])
def test_hostile_names_build_without_a_warning(text: str, tmp_path: Path) -> None:
    plan = make_plan(hostile_program(text), load_board(BOARD).target)
    built = build_project(tmp_path, BOARD, "net", project_facts(plan), render_model(plan, "net", command=text))
    assert built.elf.is_file()


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet=st.sampled_from('*/?\\"\n%a \x00é'), max_size=12))
def test_text_stays_in_its_comment_and_its_string(text: str) -> None:
    comment = comment_text(text)
    assert comment.isprintable()
    assert comment.isascii()
    assert not re.search(r"\*/|/\*|\?\?|\\", comment)
    assert re.fullmatch(r'"[^"\\?\n]*"', string_literal(text))
