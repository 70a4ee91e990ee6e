# SPDX-License-Identifier: Apache-2.0
"""The emitted C of small programs equals the stored text."""

from __future__ import annotations

import pytest

from picobnn.codegen.emit import GoldenVector, render_model
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import find_core
from picobnn.sim.reference import run_program
from tests.support.golden import ROOT, Golden
from tests.support.small_programs import SMALL_PROGRAMS, fixed_images


@pytest.mark.parametrize("name", SMALL_PROGRAMS)
def test_emitted_sources_equal_the_stored_ones(name: str, golden: Golden) -> None:
    program = SMALL_PROGRAMS[name]
    image = fixed_images(program, 1)
    vector = GoldenVector(image[0], run_program(program, image)[-1][0])
    plan = make_plan(program, find_core("cortex-m4"))
    for source in render_model(plan, "model", vector, f"picobnn generate {name}"):
        if not source.path.startswith("picobnn_"):
            golden.check(f"{name}/{source.path}", source.text)


def test_a_missing_golden_file_fails_with_advice() -> None:
    with pytest.raises(pytest.fail.Exception, match="--update-golden"):
        Golden(ROOT, update=False).check("absent/model.c", "text\n")


def test_a_difference_fails_with_its_line() -> None:
    stored = (ROOT / "two_layers" / "model.c").read_text(encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="line 2"):
        Golden(ROOT, update=False).check("two_layers/model.c", stored.replace("do not edit", "edit"))
