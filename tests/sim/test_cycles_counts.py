# SPDX-License-Identifier: Apache-2.0
"""The plugin's file, the plugin's builder, and the attribution of edges, without an emulator."""

from __future__ import annotations

import shutil
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from picobnn.codegen.targets import load_board
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.cycles import (
    BlockCount,
    Edge,
    FlashLines,
    Segment,
    build_plugin,
    flash_lines,
    line_changes,
    plugin_argument,
    read_counts,
)
from picobnn.sim.cycles.code import read_code

HEADER = "picobnn-edges 1\n"
NUMBERS = st.integers(0, 2**32 - 1)
EDGES = st.builds(Edge, NUMBERS, st.integers(1, 2**63))
BLOCKS = st.builds(
    BlockCount,
    NUMBERS,
    NUMBERS,
    st.integers(1, 512),
    st.integers(0, 2**63),
    st.lists(EDGES, max_size=3).map(tuple),
    st.integers(0, 2**63),
)


def text(segments: list[Segment]) -> str:
    lines = []
    for segment in segments:
        for block in segment.blocks:
            lines.append(f"block {block.start:08x} {block.end:08x} {block.instructions} {block.count}")
            lines += [f"reads {block.line_reads}"] if block.line_reads else []
            lines += [f"edge {edge.successor:08x} {edge.count}" for edge in block.edges]
        lines.append("end" if segment.mark is None else f"mark {segment.mark}")
    return HEADER + "".join(f"{line}\n" for line in lines)


@settings(deadline=None, max_examples=100)
@given(parts=st.lists(st.lists(BLOCKS, max_size=3).map(tuple), max_size=4), ended=st.booleans())
def test_counts_are_read_as_written(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[BlockCount, ...]], ended: bool
) -> None:
    segments = [Segment(mark, blocks) for mark, blocks in enumerate(parts)]
    if ended and segments:
        segments[-1] = Segment(None, segments[-1].blocks)
    path = tmp_path_factory.mktemp("counts") / "out"
    path.write_text(text(segments))
    assert read_counts(path) == segments


def test_what_follows_the_last_mark_of_a_killed_emulator_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text(HEADER + "block 00 04 2 1\nmark 0\nblock 04 08 2 1\nedge 0")
    assert read_counts(path) == [Segment(0, (BlockCount(0, 4, 2, 1, ()),))]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "something else\n",
        "picobnn-edges 2\nend\n",
        HEADER + "block xyz\nend\n",
        HEADER + "edge 0 1\nend\n",
        HEADER + "mark 1\nend\n",
        HEADER + "reads 1\nend\n",
        HEADER + "what\nend\n",
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out"
    path.write_text(content)
    with pytest.raises(PicobnnError) as caught:
        read_counts(path)
    assert caught.value.error_id is ErrorId.BAD_INPUT
    assert "line" in caught.value.what


def test_binary_and_absent_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(PicobnnError) as caught:
        read_counts(path)
    assert caught.value.error_id is ErrorId.FILE_MISSING
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PicobnnError) as caught:
        read_counts(path)
    assert caught.value.error_id is ErrorId.BAD_INPUT


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_plugin_is_built_once(tmp_path: Path) -> None:
    cache = tmp_path / "new" / "cache"
    plugin = build_plugin(cache)
    built = plugin.stat().st_mtime_ns
    assert build_plugin(cache) == plugin
    assert plugin.stat().st_mtime_ns == built
    assert list(cache.iterdir()) == [plugin]


def test_without_a_compiler_the_tool_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PicobnnError) as caught:
        build_plugin(tmp_path / "cache")
    assert caught.value.error_id is ErrorId.TOOL_MISSING


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PicobnnError) as caught:
        build_plugin(tmp_path / "file" / "cache")
    assert caught.value.error_id in (ErrorId.FILE_UNWRITABLE, ErrorId.TOOL_MISSING)


def test_commas_in_paths_are_doubled() -> None:
    argument = plugin_argument(Path("/a,b/plugin.so"), Path("/c/out,1"), mark="somewhere")
    assert argument == "/a,,b/plugin.so,out=/c/out,,1,mark=somewhere"


def test_the_flash_to_watch_is_told_in_hexadecimal() -> None:
    argument = plugin_argument(Path("/p.so"), Path("/o"), flash=FlashLines(0x08000000, 0x100000, 16))
    assert argument == "/p.so,out=/o,mark=picobnn_harness_mark,flash=8000000:100000:10"


FLASH = FlashLines(0x1000, 0x1000, 16)


def test_lines_of_straight_code_and_of_a_loop() -> None:
    # 0x1000 .. 0x1021: lines 0, 1, 2, entered once from outside: 1 + 2. The loop at 0x1018 .. 0x1021 has lines 1 and 2;
    # its branch lies in line 2, so each of 9 turns enters line 1 anew and goes on to 2: 9 x 2.
    blocks = (
        BlockCount(0x1000, 0x1022, 17, 1, (Edge(0x1018, 1),)),
        BlockCount(0x1018, 0x1022, 5, 9, (Edge(0x1018, 8), Edge(0x1022, 1))),
        # 0x1022 lies in line 2 like the branch before it: no change.
        BlockCount(0x1022, 0x1024, 1, 1, ()),
    )
    assert line_changes(blocks, blocks, FLASH) == (1 + 2 + 9 * 2, 0)


def test_an_edge_from_code_that_is_not_counted_keeps_its_line_too() -> None:
    caller = BlockCount(0x1000, 0x1004, 2, 5, (Edge(0x1004, 5),))
    called = BlockCount(0x1004, 0x1008, 2, 5, ())
    assert line_changes((called,), (caller, called), FLASH) == (0, 0)
    assert line_changes((called,), (called,), FLASH) == (5, 0)


def test_reads_by_code_in_flash_go_there_and_back_and_code_in_ram_fetches_nothing() -> None:
    in_flash = BlockCount(0x1000, 0x1004, 2, 1, (), 7)
    in_ram = BlockCount(0x20000000, 0x20000040, 20, 100, (Edge(0x20000000, 99),), 30)
    assert line_changes((in_flash,), (in_flash,), FLASH) == (1, 14)
    assert line_changes((in_ram,), (in_ram,), FLASH) == (0, 30)


def test_only_boards_with_wait_states_have_lines() -> None:
    assert flash_lines(load_board("mps2-an386")) is None
    assert flash_lines(load_board("netduinoplus2")) == FlashLines(0x08000000, 0x100000, 16)


def test_code_of_no_elf(tmp_path: Path) -> None:
    path = tmp_path / "firmware.elf"
    with pytest.raises(PicobnnError) as caught:
        read_code(path, "cortex-m4")
    assert caught.value.error_id is ErrorId.FILE_MISSING
    path.write_bytes(b"not an ELF file")
    with pytest.raises(PicobnnError) as caught:
        read_code(path, "cortex-m4")
    assert caught.value.error_id is ErrorId.BAD_INPUT
