# SPDX-License-Identifier: Apache-2.0
"""Names that differ in a model file may be equal as C names: every table and layer still gets its own."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from picobnn.codegen._views import step_symbols
from picobnn.codegen.emit import render_model
from picobnn.codegen.program import Program
from picobnn.codegen.project import project_facts
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import load_board
from tests.support.firmware import build_project, needs_compiler
from tests.support.small_programs import SMALL_PROGRAMS, two_layers

BOARD = load_board("microbit")


def named(program: Program, *names: str) -> Program:
    steps = tuple(dataclasses.replace(step, name=name) for step, name in zip(program.steps, names, strict=True))
    return dataclasses.replace(program, steps=steps)


def table_names(program: Program) -> list[str]:
    files = {file.path: file.text for file in render_model(make_plan(program, BOARD.target), "net")}
    return re.findall(r"^extern const \w+ (\w+)\[", files["net_weights.h"], re.MULTILINE)


@pytest.mark.parametrize(
    "names",
    [
        ("a b", "a-b"),
        ("step1_a_b", "a_b"),
        ("step1_check", "check"),
        ("a", "a_final"),
        ("a_final", "a"),
        ("", "step"),
        ("9", "step0_9"),
        ("picobnn_direct_conv2d", "picobnn_xnor_dense"),
        ("_", "__"),
    ],
)
def test_two_steps_have_different_tables(names: tuple[str, str]) -> None:
    tables = table_names(named(two_layers(), *names))
    assert len(set(tables)) == len(tables) == len(table_names(two_layers()))


@needs_compiler
@pytest.mark.qemu
def test_names_like_those_of_the_runtime_build(tmp_path: Path) -> None:
    plan = make_plan(named(two_layers(), "picobnn_direct_conv2d", "check"), BOARD.target)
    assert build_project(tmp_path, BOARD.id, "net", project_facts(plan), render_model(plan, "net")).elf.is_file()


def test_a_third_name_cannot_take_the_place_made_for_the_second() -> None:
    program = SMALL_PROGRAMS["two_layers"]
    three = dataclasses.replace(
        program, tensors=program.tensors, steps=(program.steps[0], program.steps[1], program.steps[1])
    )
    symbols = step_symbols(named(three, "step2_a_b", "a-b", "a b"))
    assert len(set(symbols)) == 3
    assert symbols == ("step2_a_b", "a_b", "step2_step2_a_b")
