# SPDX-License-Identifier: Apache-2.0
"""The error that ``docs/errors.md`` shows is the one that the command line prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from picobnn.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def test_the_example_of_an_error_is_printed_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "picobnn.toml").write_text("[train]\nepoch = 3\n")
    monkeypatch.chdir(tmp_path)
    assert main(["train"]) == 2
    example = PAGE.read_text(encoding="utf-8").split("```")[1].strip().splitlines()
    assert capsys.readouterr().err.strip().splitlines() == example
