# SPDX-License-Identifier: Apache-2.0
"""Inner loops and weights in RAM: where they lie, that they still compute the same, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from picobnn.codegen.emit import render_model, write_sources
from picobnn.codegen.manifest import build_manifest
from picobnn.codegen.placement import IN_FLASH, Placement, check_ram, placement_of, ram_tables
from picobnn.codegen.plan import Plan
from picobnn.codegen.project import project_facts, render_project
from picobnn.codegen.targets import Board, MemoryRegion, Place, load_board
from picobnn.errors import ErrorId, PicobnnError
from picobnn.map_file import Memory, model_memory, read_map
from picobnn.sim.reference import run_program
from picobnn.toolchain import BuiltFirmware, build_firmware
from tests.support.emulated import assert_traces_equal, trace_images
from tests.support.firmware import needs_compiler, needs_emulator
from tests.support.mixtures import mixture
from tests.support.random_programs import Limits, random_images, random_program
from tests.support.tree import ROOT

IN_RAM = Placement(Place.RAM, Place.RAM)
BOARDS = (
    pytest.param("mps2-an386", id="m4"),
    pytest.param("microbit", id="m0", marks=pytest.mark.slow),
    pytest.param("mps2-an385", id="m3", marks=pytest.mark.slow),
    pytest.param("mps2-an385-v6m", id="m0plus", marks=pytest.mark.slow),
    pytest.param("mps2-an500", id="m7", marks=pytest.mark.slow),
    pytest.param("mps2-an505", id="m33", marks=pytest.mark.slow),
    pytest.param("mps3-an547", id="m55", marks=pytest.mark.slow),
    pytest.param("netduinoplus2", id="stm32", marks=pytest.mark.slow),
)


@cache
def varied_plan(board_id: str) -> Plan:
    """A plan with as many strategies as a few draws give, ``rows`` among them."""
    board, rng = load_board(board_id), np.random.default_rng(11)
    limits = Limits(max_layers=9, max_side=8 if board.ram.size_bytes < 2**16 else 14)
    plans = [mixture(random_program(rng, limits), rng, board.target) for _ in range(30)]
    return max(
        (plan for plan in plans if any(step.strategy == "rows" for step in plan.steps)),
        key=lambda plan: len({step.strategy for step in plan.steps}),
    )


def build(folder: Path, plan: Plan, board: Board, placement: Placement) -> BuiltFirmware:
    model = render_model(plan, "net")
    tables = ram_tables(plan, "net", placement)
    files = render_project(board, "net", project_facts(plan), model, placement, tables)
    write_sources((*model, *files), folder)
    return build_firmware(folder)


@dataclass(frozen=True, slots=True)
class Symbol:
    address: int
    size: int


def symbols(elf: Path) -> dict[str, Symbol]:
    with elf.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        return {symbol.name: Symbol(symbol["st_value"] & ~1, symbol["st_size"]) for symbol in table.iter_symbols()}


@needs_emulator
@pytest.mark.qemu
@pytest.mark.parametrize("board_id", BOARDS)
def test_layers_in_ram_equal_the_reference(board_id: str, tmp_path: Path) -> None:
    board, plan = load_board(board_id), varied_plan(board_id)
    program = plan.program
    built = build(tmp_path / "fw", plan, board, IN_RAM)
    images = random_images(np.random.default_rng(1), program, 3)
    traces = trace_images(plan, board, built, images)
    assert_traces_equal(plan, traces, run_program(program, images))


@needs_compiler
@pytest.mark.qemu
@pytest.mark.parametrize("board_id", BOARDS)
def test_the_map_has_loops_and_weights_in_ram_and_both_memories_pay(board_id: str, tmp_path: Path) -> None:
    board, plan = load_board(board_id), varied_plan(board_id)
    ram = range(board.ram.origin, board.ram.origin + board.ram.size_bytes)
    flash, moved = build(tmp_path / "a", plan, board, IN_FLASH), build(tmp_path / "b", plan, board, IN_RAM)
    tables = ram_tables(plan, "net", IN_RAM)
    assert tables
    addresses = symbols(moved.elf)
    assert all(addresses[table.symbol].address in ram for table in tables)
    assert addresses["picobnn_rows_add"].address in ram
    assert addresses["net_run"].address not in ram

    before, after = model_memory(read_map(flash.map), "net"), model_memory(read_map(moved.map), "net")
    assert (before.hot_code_bytes, before.ram_table_bytes) == (0, 0)
    hot = [part for part in read_map(moved.map).sections if part.name.startswith(".text.picobnn_hot.")]
    assert hot
    assert all(part.address in ram and part.memory is Memory.DATA for part in hot)
    assert after.hot_code_bytes == sum(part.size for part in hot) > 500
    assert after.ram_table_bytes == sum(table.size_bytes for table in tables)
    assert after.data_bss_bytes == before.data_bss_bytes + after.hot_code_bytes + after.ram_table_bytes
    # The linker's stubs are all that flash has more of: 8 bytes each on v7-M, 16 on v6-M.
    assert 0 < after.flash_bytes - before.flash_bytes < 300
    assert after.weight_bytes == before.weight_bytes

    manifest = build_manifest(plan, "net", (), board.id, IN_RAM)
    assert manifest.hot_code == "ram"
    assert manifest.ram_table_bytes == after.ram_table_bytes
    in_ram = {table.symbol for step in manifest.steps for table in step.tables if table.in_ram}
    assert in_ram == {table.symbol for table in tables}


def test_the_models_own_sources_do_not_depend_on_the_placement() -> None:
    plan, board = varied_plan("mps2-an386"), load_board("mps2-an386")
    model = render_model(plan, "net")
    facts = project_facts(plan)
    plain = {file.path: file.text for file in render_project(board, "net", facts, model)}
    moved = {
        file.path: file.text
        for file in render_project(board, "net", facts, model, IN_RAM, ram_tables(plan, "net", IN_RAM))
    }
    assert {path for path in plain if plain[path] != moved[path]} == {"board/picobnn.ld"}
    assert build_manifest(plan, "net", model).ram_table_bytes == 0


def test_ram_that_cannot_hold_the_copies_is_refused_before_linking() -> None:
    plan, board = varied_plan("mps2-an386"), load_board("mps2-an386")
    tables = ram_tables(plan, "net", IN_RAM)
    needed = plan.arena_bytes + sum(table.size_bytes for table in tables) + board.stack_bytes

    def with_ram(size_bytes: int) -> Board:
        return replace(board, ram=MemoryRegion("ram", board.ram.origin, size_bytes))

    check_ram(plan, tables, with_ram(needed))
    check_ram(plan, (), with_ram(1))
    with pytest.raises(PicobnnError, match=f"take {needed:,} bytes, 4 more than the RAM has") as error:
        check_ram(plan, tables, with_ram(needed - 4))
    assert error.value.error_id is ErrorId.DOES_NOT_FIT


@needs_compiler
@pytest.mark.qemu
@pytest.mark.slow
def test_code_that_does_not_fit_is_refused_by_the_linker(tmp_path: Path) -> None:
    plan, board = varied_plan("mps2-an386"), load_board("mps2-an386")
    used = symbols(build(tmp_path / "a", plan, board, IN_FLASH).elf)["picobnn_bss_end"].address - board.ram.origin
    small = replace(board, ram=MemoryRegion("ram", board.ram.origin, used))
    build(tmp_path / "b", plan, small, IN_FLASH)
    with pytest.raises(PicobnnError, match="overflows ram by") as error:
        build(tmp_path / "c", plan, small, Placement(Place.RAM, Place.FLASH))
    assert error.value.error_id is ErrorId.DOES_NOT_FIT


def test_the_configuration_goes_before_the_board() -> None:
    board = load_board("mps2-an386")
    moved = replace(board, hot_code=Place.RAM, rows_weights=Place.RAM)
    assert placement_of(board) == IN_FLASH
    assert placement_of(moved) == IN_RAM
    assert placement_of(moved, Place.FLASH) == Placement(Place.FLASH, Place.RAM)
    assert placement_of(board, rows_weights=Place.RAM) == Placement(Place.FLASH, Place.RAM)


def test_all_assembly_is_marked_as_inner_loops() -> None:
    """What is worth assembly is worth RAM: a section of another name would stay in flash unseen."""
    for path in sorted((ROOT / "firmware_templates" / "runtime").glob("*.S")):
        lines = [line.strip() for line in path.read_text().splitlines()]
        sections = [line.split()[1] for line in lines if line.startswith(".section")]
        assert sections or not any(line.startswith((".global", ".text")) for line in lines), path.name
        assert all(name.startswith(".text.picobnn_hot.") for name in sections), path.name
