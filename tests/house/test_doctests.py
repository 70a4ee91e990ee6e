# SPDX-License-Identifier: Apache-2.0
"""The examples in docstrings run. Packages are walked by their real names: by path, modules would be imported twice."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import picobnn


def module_names() -> list[str]:
    found = pkgutil.walk_packages(picobnn.__path__, "picobnn.")
    return sorted(info.name for info in found if not info.name.endswith("__main__"))


def test_every_module_is_found() -> None:
    names = module_names()
    assert {"picobnn.errors", "picobnn.codegen.ir", "picobnn.sim", "picobnn.trainer", "picobnn.harness"} <= set(names)


def test_examples_run() -> None:
    failed = []
    for name in module_names():
        result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
        if result.failed:
            failed.append(f"{name}: {result.failed} of {result.attempted}")
    assert not failed, "\n".join(failed)
