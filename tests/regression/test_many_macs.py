# SPDX-License-Identifier: Apache-2.0
"""A step of more multiply-accumulates than 32 bits hold is told as the greatest number, and the harness builds."""

from __future__ import annotations

import dataclasses

from picobnn.codegen.project import render_project
from picobnn.codegen.targets import load_board
from tests.support.stub_model import FACTS, PREFIX, stub_files


def test_more_macs_than_fit_are_told_as_the_greatest_number() -> None:
    steps = tuple(dataclasses.replace(step, macs=2**32 + 5) for step in FACTS.steps)
    facts = dataclasses.replace(FACTS, steps=steps)
    files = {file.path: file.text for file in render_project(load_board("microbit"), PREFIX, facts, stub_files())}
    table = files["harness/picobnn_harness_model.c"]
    assert table.count("4294967295u") == len(steps)
    assert str(2**32 + 5) not in table
