# SPDX-License-Identifier: Apache-2.0
"""Every reader of a file refuses what is damaged with an error of its own, and reads what is whole."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picobnn.codegen.emit import render_model
from picobnn.codegen.manifest import build_manifest, read_manifest
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import find_core
from picobnn.codegen.targets.board import parse_board
from picobnn.errors import ErrorId, PicobnnError
from picobnn.flow.state import read_result
from picobnn.flow.vectors import Vectors, read_vectors, write_vectors
from picobnn.map_file import read_map
from picobnn.sim.cycles import read_counts
from picobnn.trainer.checkpoint import checkpoint_of, read_checkpoint, write_checkpoint
from picobnn.trainer.models import build_model
from tests.support.random_programs import SMALL, random_program

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Reader:
    """A reader and a whole file for it."""

    name: str
    read: Callable[[Path], object]
    whole: Callable[[Path], None]


def write_manifest(path: Path) -> None:
    plan = make_plan(random_program(np.random.default_rng(1), SMALL), find_core("m4"))
    path.write_text(build_manifest(plan, "net", render_model(plan, "net")).to_json())


def write_golden(path: Path) -> None:
    images = np.zeros((3, 4, 4, 1), np.uint8)
    write_vectors(path, Vectors(images, np.zeros(3, np.int64), np.zeros((3, 10), np.int32)))


def write_board(path: Path) -> None:
    path.write_bytes((ROOT / "codegen" / "targets" / "boards" / "mps2-an386.toml").read_bytes())


def read_board(path: Path) -> object:
    return parse_board("mps2-an386", path.read_text(encoding="utf-8", errors="replace"), str(path))


def write_network(path: Path) -> None:
    write_checkpoint(checkpoint_of(build_model("digits_cnn", {"widths": [1, 1, 1]})), path)


READERS = (
    Reader("manifest", read_manifest, write_manifest),
    Reader("golden", read_vectors, write_golden),
    Reader("board", read_board, write_board),
    Reader("checkpoint", read_checkpoint, write_network),
    Reader("result", read_result, lambda path: path.write_text(json.dumps({"a": [1, 2.5, None]})) and None),
    Reader(
        "map",
        read_map,
        lambda path: path.write_text("Linker script and memory map\n\n .text  0x0 0x4 a.o\n") and None,
    ),
    Reader("counts", read_counts, lambda path: path.write_text("") and None),
)


@pytest.fixture(params=READERS, ids=lambda reader: reader.name)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Reader, Path, bytes]:
    found: Reader = request.param
    path = tmp_path / "file"
    found.whole(path)
    return found, path, path.read_bytes()


@given(data=st.data())
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_ends_in_an_error_of_ours_or_in_a_whole_object(
    reader: tuple[Reader, Path, bytes], data: st.DataObject
) -> None:
    found, path, whole = reader
    kind = data.draw(st.sampled_from(("garbage", "cut", "change", "insert")))
    if kind == "garbage" or not whole:
        damaged = data.draw(st.binary(max_size=300))
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=4))
        tail = {"cut": b"", "change": whole[place + len(piece) :], "insert": whole[place:]}[kind]
        damaged = whole[:place] + (b"" if kind == "cut" else piece) + tail
    path.write_bytes(damaged)
    with contextlib.suppress(PicobnnError):  # anything else fails the test
        found.read(path)


def test_whole_files_are_read(tmp_path: Path) -> None:
    for number, found in enumerate(READERS[:5]):
        path = tmp_path / str(number)
        found.whole(path)
        assert found.read(path) is not None


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    for read in (read_manifest, read_vectors, read_checkpoint, read_map):
        with pytest.raises(PicobnnError) as caught:
            read(tmp_path / "none")
        assert caught.value.error_id is ErrorId.FILE_MISSING
