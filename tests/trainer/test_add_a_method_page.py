# SPDX-License-Identifier: Apache-2.0
"""The method and the test on the page ``docs/add-a-pruning-method.md`` are run as they stand there."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest

from tests.support.tree import text_of

PAGE = "docs/add-a-pruning-method.md"


def test_the_method_of_the_page_passes_the_test_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    method, test = re.findall(r"^```python\n(.*?)^```", text_of(PAGE), re.MULTILINE | re.DOTALL)
    module = ModuleType("picobnn.trainer.pruning.slimming")
    exec(compile(method, f"{PAGE} (method)", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names: dict[str, object] = {}
    exec(compile(test, f"{PAGE} (test)", "exec"), names)
    checks = [check for name, check in names.items() if name.startswith("test_")]
    assert checks
    for check in checks:
        assert callable(check)
        check()
