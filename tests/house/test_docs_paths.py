# SPDX-License-Identifier: Apache-2.0
"""Every path that the documentation names exists, and every link between its pages leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.tree import ROOT, repository_files, text_of

PAGES = [name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md") if (ROOT / name).is_file()]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("**/*.md"))
# What a run writes is no part of the tree, although it is spelled like one.
RESULTS = ("runs/", ".venv/", "build/", "dist/")


def paths_named(text: str) -> set[str]:
    """Words in backticks that look like a path of this repository; ``<name>`` and ``NAME`` stand for anything."""
    tops = {name.split("/")[0] for name in repository_files() if "/" in name}
    found = set()
    for word in re.findall(r"`([\w./<>*{},-]+)`", text):
        first = word.split("/")[0]
        if word.startswith(RESULTS) or "..." in word:
            continue
        if (first in tops and "/" in word) or ("/" not in word and re.fullmatch(r"[\w-]+\.(toml|py|md|txt)", word)):
            found.add(word)
    return found


def exists(path: str) -> bool:
    pattern = re.sub(r"<[^>]*>", "*", path).rstrip("/")
    pattern = re.sub(r"\b[A-Z]{3,}\b(?!\.)", "*", pattern) if not (ROOT / pattern).exists() else pattern
    if braces := re.search(r"\{([^}]*)\}", pattern):
        return all(exists(pattern.replace(braces[0], each)) for each in braces[1].split(","))
    if "/" not in path:
        return pattern in ("picobnn.toml",) or any(Path(name).match(pattern) for name in repository_files())
    return (ROOT / pattern).exists() or any(ROOT.glob(pattern))


@pytest.mark.parametrize("page", PAGES)
def test_paths_named_in(page: str) -> None:
    gone = sorted(path for path in paths_named(text_of(page)) if not exists(path))
    assert not gone, f"{page} names {gone}"


@pytest.mark.parametrize("page", PAGES)
def test_links_of(page: str) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(page))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    gone = [target for target in local if not ((ROOT / page).parent / target).exists()]
    assert not gone, f"{page} links to {gone}"


def test_a_missing_path_is_found() -> None:
    assert paths_named("see `codegen/nowhere.py` and `a/b`") == {"codegen/nowhere.py"}
    assert not exists("codegen/nowhere.py")
    assert exists("codegen/ir.py")
    assert exists("codegen/<name>.py")
