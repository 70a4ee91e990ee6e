# SPDX-License-Identifier: Apache-2.0
"""A product keeps the model and the board layer, brings its own main, and links without the harness."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from picobnn.codegen.emit import render_model
from picobnn.codegen.project import project_facts
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import board_ids, load_board
from picobnn.toolchain import run_tool
from tests.support.firmware import build_project, needs_compiler
from tests.support.small_programs import two_layers

APPLICATION = """\
#include "picobnn_board.h"
#include "net.h"

static uint32_t arena[NET_ARENA_BYTES / 4];
volatile uint32_t answer;

int main(void)
{
    if (net_run(arena, sizeof arena, net_input(arena)) == PICOBNN_OK) {
        answer = picobnn_argmax(net_logits(arena), NET_OUTPUT_COUNT);
    }
    return 0;
}
"""


@needs_compiler
@pytest.mark.qemu
@pytest.mark.parametrize("board_id", board_ids())
def test_an_application_links_without_the_harness(board_id: str, tmp_path: Path) -> None:
    plan = make_plan(two_layers(), load_board(board_id).target)
    built = build_project(tmp_path, board_id, "net", project_facts(plan), render_model(plan, "net"))
    with_harness = built.bin.read_bytes()
    (tmp_path / "main.c").unlink()
    shutil.rmtree(tmp_path / "harness")
    (tmp_path / "app.c").write_text(APPLICATION)
    run_tool(["make", "-j2", "HARNESS=0", "MAIN=app.c"], where="product", cwd=tmp_path)
    assert built.bin.read_bytes() == with_harness
    with (tmp_path / "build/product/net.elf").open("rb") as stream:
        symbols = {symbol.name for symbol in ELFFile(stream).get_section_by_name(".symtab").iter_symbols()}
    assert {"net_run", "answer"} <= symbols
    assert not {name for name in symbols if name.startswith("picobnn_harness") and not name.endswith("systick_handler")}
    assert "picobnn_layer_hook" not in symbols
    assert (tmp_path / "build/product/net.bin").stat().st_size < len(with_harness)
