# SPDX-License-Identifier: Apache-2.0
"""Stored texts that output must equal, under ``tests/golden``. ``pytest --update-golden`` is the only way to change
them; read the difference before committing it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "golden"
ADVICE = "If the change is meant, run: pytest --update-golden, and read the difference before committing it."


def add_option(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew instead of comparing")


class Golden:
    """Compares texts with files below ``tests/golden``, or writes them."""

    def __init__(self, root: Path, *, update: bool) -> None:
        self.root = root
        self.update = update

    def check(self, name: str, text: str) -> None:
        """``text`` equals the stored file ``name``."""
        path = self.root / name
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.is_file():
            pytest.fail(f"golden file {name} is missing. {ADVICE}")
        stored = path.read_text(encoding="utf-8")
        if stored == text:
            return
        pairs = zip([*stored.splitlines(), "<end>"], [*text.splitlines(), "<end>"], strict=False)
        line, (old, new) = next((i, pair) for i, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
        pytest.fail(f"golden file {name} differs in line {line}:\n- {old}\n+ {new}\n{ADVICE}")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(ROOT, update=bool(request.config.getoption("--update-golden")))
