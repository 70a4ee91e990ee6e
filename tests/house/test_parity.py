# SPDX-License-Identifier: Apache-2.0
"""One thing, one stem: what a strategy needs exists in each of its homes. Ops: ``tests/codegen/test_op_parity.py``."""

from __future__ import annotations

from pathlib import Path

from tests.support.tree import repository_files


def stems(folder: str) -> set[str]:
    """Public modules of a folder."""
    names = [Path(name) for name in repository_files() if name.endswith(".py") and str(Path(name).parent) == folder]
    return {name.stem for name in names if not name.stem.startswith("_")}


def test_every_strategy_has_its_c() -> None:
    files = {Path(name).name for name in repository_files() if name.startswith("firmware_templates/")}
    assert stems("codegen/strategies")
    assert {f"picobnn_{stem}.c" for stem in stems("codegen/strategies")} <= files
