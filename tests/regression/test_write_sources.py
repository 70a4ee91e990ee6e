# SPDX-License-Identifier: Apache-2.0
"""Writing sources: into the working directory, over old ones, all or none, and never two under one name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from picobnn.codegen.emit import SourceFile, render_model, write_sources
from picobnn.codegen.project import project_facts, render_project
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import load_board
from picobnn.errors import ErrorId, PicobnnError
from tests.support.small_programs import two_layers

OLD = (SourceFile("a.c", "old a"), SourceFile("board/b.c", "old b"), SourceFile("c.c", "old c"))
NEW = (SourceFile("a.c", "new a"), SourceFile("new/n.c", "new n"), SourceFile("board/b.c", "new b"))


def tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("out", [".", "", "../here", "below/.."])
def test_the_working_directory_stays_the_working_directory(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (here / "below").mkdir(parents=True)
    (here / "mine.txt").write_text("mine")
    monkeypatch.chdir(here)
    before = here.stat().st_ino
    write_sources(OLD, Path(out))
    write_sources(NEW, Path(out))
    assert here.stat().st_ino == before
    assert Path.cwd() == here
    assert tree(here) == {"a.c": "new a", "new/n.c": "new n", "board/b.c": "new b", "c.c": "old c", "mine.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_sources(NEW, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(tree(tmp_path / "real")) == 3


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    write_sources(NEW, tmp_path / "deep" / "firmware")
    assert len(tree(tmp_path / "deep" / "firmware")) == 3
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["firmware"]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failure_halfway_brings_the_old_files_back(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sources(OLD, tmp_path)
    before = tree(tmp_path)
    replace = os.replace
    name = Path(NEW[failing].path).name

    def full_disk(source: Path, target: Path) -> None:
        if target.name == name and "new" in source.parts[-3:]:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(PicobnnError) as caught:
        write_sources(NEW, tmp_path)
    assert caught.value.error_id is ErrorId.FILE_UNWRITABLE
    assert tree(tmp_path) == before


def test_a_folder_in_a_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.c").mkdir()
    (tmp_path / "board").mkdir()
    with pytest.raises(PicobnnError) as caught:
        write_sources(tuple(reversed(NEW)), tmp_path)
    assert caught.value.error_id is ErrorId.FILE_UNWRITABLE
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("prefix", ["main", "Main"])
def test_a_prefix_may_not_take_the_name_of_another_file(prefix: str, tmp_path: Path) -> None:
    board = load_board("microbit")
    plan = make_plan(two_layers(), board.target)
    model = render_model(plan, prefix)
    with pytest.raises(PicobnnError, match=r"main\.c") as caught:
        write_sources((*model, *render_project(board, prefix, project_facts(plan), model)), tmp_path / "out")
    assert caught.value.error_id is ErrorId.USAGE
    assert list(tmp_path.iterdir()) == []
