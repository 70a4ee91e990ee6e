# SPDX-License-Identifier: Apache-2.0
"""One op, one stem: compiler, file format, reference and tests know the same ops."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from picobnn.codegen.bnn_header import Op
from picobnn.codegen.program import Step

ROOT = Path(__file__).parents[2]
OPS = {"input_conv2d", "binary_conv2d", "binary_dense"}


@pytest.mark.parametrize(("folder", "prefix"), [("codegen/ops", ""), ("sim/reference", ""), ("tests/ops", "test_")])
def test_folder_has_one_file_per_op(folder: str, prefix: str) -> None:
    stems = {path.stem for path in (ROOT / folder).glob(f"{prefix}*.py") if not path.stem.startswith("_")}
    assert {stem.removeprefix(prefix) for stem in stems} == OPS


def test_file_format_knows_the_ops() -> None:
    assert {op.value for op in Op} == OPS


def test_program_has_one_step_per_op() -> None:
    def snake(name: str) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Step")).lower()

    assert {snake(step.__name__) for step in get_args(Step)} == OPS


@pytest.mark.parametrize("op", sorted(OPS))
def test_op_page_has_its_sections(op: str) -> None:
    text = (ROOT / "codegen" / "ops" / f"{op}.py").read_text(encoding="utf-8")
    for section in ("Meaning:", "Shape:", "Integer semantics:", "C counterpart:", "Cost:", "Reference:"):
        assert f"\n{section} " in text, section
