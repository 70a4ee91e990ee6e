# SPDX-License-Identifier: Apache-2.0
"""The firmware project: the same bytes every time, and for every board an image that links, boots and fits."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from picobnn.codegen.emit import SourceFile, render_model
from picobnn.codegen.project import project_facts, render_project
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets import board_ids, load_board
from picobnn.errors import ErrorId, PicobnnError
from picobnn.toolchain import build_firmware
from tests.support.firmware import build_project, needs_compiler, stub_firmware
from tests.support.random_programs import TINY, random_program
from tests.support.stub_model import FACTS, PREFIX, stub_files


def render(board_id: str) -> dict[str, str]:
    files = render_project(load_board(board_id), PREFIX, FACTS, stub_files())
    return {file.path: file.text for file in files}


@pytest.mark.parametrize("board_id", board_ids())
def test_projects_carry_one_driver_and_no_trace_of_the_machine(board_id: str) -> None:
    files = render(board_id)
    assert files == render(board_id)
    drivers = [path for path in files if "uart_" in path]
    assert drivers == [f"board/uart_{load_board(board_id).uart.driver.value}.c"]
    for path, text in files.items():
        assert "SPDX-License-Identifier: MIT-0" in text.splitlines()[0], path
        assert str(Path.home()) not in text
        assert "{{" not in text
    assert files["Makefile"].count("stub.c") == 1


def test_facts_describe_the_plan() -> None:
    program = random_program(np.random.default_rng(3), TINY)
    board = load_board("mps2-an386")
    plan = make_plan(program, board.target)
    facts = project_facts(plan)
    assert facts.image.size_bytes == program.input.shape.elements
    assert [step.name for step in facts.steps] == [step.name for step in program.steps]
    assert [step.size_bytes for step in facts.steps] == [plan.buffers[step.output].size_bytes for step in program.steps]
    assert all(step.macs > 0 for step in facts.steps)


def test_odd_names_stay_inside_their_c_string() -> None:
    facts = type(FACTS)('na"me\\??/\n', FACTS.image, FACTS.steps)
    odd = type(facts)("x", type(facts.image)('a"b\\é', *[getattr(facts.image, f) for f in IMAGE_FIELDS]), facts.steps)
    text = {file.path: file.text for file in render_project(load_board("microbit"), PREFIX, odd, stub_files())}
    assert '"a_b__"' in text["harness/picobnn_harness_model.c"]


IMAGE_FIELDS = ("element", "layout", "shape", "size_bytes", "macs")


@needs_compiler
@pytest.mark.qemu
@pytest.mark.parametrize("board_id", board_ids())
def test_every_board_links_to_its_memory_map(board_id: str) -> None:
    board = load_board(board_id)
    built = stub_firmware(board_id)
    with built.elf.open("rb") as stream:
        elf = ELFFile(stream)
        symbols = {symbol.name: symbol["st_value"] for symbol in elf.get_section_by_name(".symtab").iter_symbols()}
        vectors = elf.get_section_by_name(".vectors")
        words = np.frombuffer(vectors.data(), dtype="<u4")
        assert vectors["sh_addr"] == board.flash.origin
        assert len(words) == 16
        assert words[0] == symbols["picobnn_stack_end"] == board.ram.origin + board.stack_bytes
        assert words[1] == symbols["picobnn_board_reset_handler"] | 1
        assert words[15] == symbols["picobnn_harness_systick_handler"] | 1
        for section in elf.iter_sections():
            if section["sh_flags"] & 2 and section["sh_size"]:
                region = board.flash if section["sh_addr"] < board.flash.origin + board.flash.size_bytes else board.ram
                assert region.origin <= section["sh_addr"]
                assert section["sh_addr"] + section["sh_size"] <= region.origin + region.size_bytes
        loaded = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD" and segment["p_memsz"]]
        assert all(segment["p_memsz"] == segment["p_filesz"] for segment in loaded)
        assert symbols["picobnn_build_id_end"] - symbols["picobnn_build_id_start"] == 36
    assert len(built.build_id) == 20
    assert built.build_id in built.bin.read_bytes()
    assert built.hex.read_text().startswith(":")
    assert ".text.stub_run" in built.map.read_text()


@needs_compiler
@pytest.mark.qemu
def test_equal_sources_give_equal_images(tmp_path: Path) -> None:
    one = stub_firmware("microbit")
    two = build_project(tmp_path / "another" / "place", "microbit", PREFIX, FACTS, stub_files())
    assert one.build_id == two.build_id
    assert one.bin.read_bytes() == two.bin.read_bytes()
    other = build_project(tmp_path / "three", "microbit", PREFIX, FACTS, stub_files(wrong_pixel=3))
    assert other.build_id != one.build_id


@needs_compiler
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("declaration", "region", "least"),
    [
        ("uint32_t stub_filler[9000]; /* RAM */", "ram", 20_000),
        ("extern const uint8_t stub_filler[300000]; const uint8_t stub_filler[300000] = {1};", "flash", 40_000),
    ],
)
def test_a_network_that_is_too_big_names_the_memory(declaration: str, region: str, least: int, tmp_path: Path) -> None:
    kept = "\npicobnn_status stub_used(void);\npicobnn_status stub_used(void) { return PICOBNN_OK; }\n"
    files = [
        SourceFile(
            file.path, file.text.replace("uint32_t i;", "uint32_t i; ((volatile uint8_t *)(uintptr_t)stub_filler)[0];")
        )
        for file in stub_files()
    ]
    files = [
        SourceFile(
            file.path, file.text.replace("picobnn_status stub_run", declaration + kept + "picobnn_status stub_run", 1)
        )
        if file.path == "stub.c"
        else file
        for file in files
    ]
    with pytest.raises(PicobnnError, match=f"overflows {region} by") as error:
        build_project(tmp_path, "microbit", PREFIX, FACTS, files)
    assert error.value.error_id is ErrorId.DOES_NOT_FIT
    over = int(error.value.what.split(" by ")[1].split(" bytes")[0].replace(",", ""))
    assert over >= least
    assert not list((tmp_path / "build").glob("*.elf"))


@needs_compiler
@pytest.mark.qemu
def test_a_compiler_error_carries_its_text(tmp_path: Path) -> None:
    files = [SourceFile(file.path, file.text + "#error broken on purpose\n") for file in stub_files()]
    with pytest.raises(PicobnnError, match="broken on purpose") as error:
        build_project(tmp_path, "microbit", PREFIX, FACTS, files)
    assert error.value.error_id is ErrorId.TOOL_FAILED


@needs_compiler
@pytest.mark.qemu
@pytest.mark.parametrize("board_id", ["microbit", "mps2-an386", "mps3-an547"])
def test_emitted_models_build(board_id: str, tmp_path: Path) -> None:
    plan = make_plan(random_program(np.random.default_rng(5), TINY), load_board(board_id).target)
    built = build_project(tmp_path, board_id, "tiny", project_facts(plan), render_model(plan, "tiny"))
    assert built.elf.name == "tiny.elf"
    undefined = subprocess.run(["arm-none-eabi-nm", "-u", built.elf], capture_output=True, text=True, check=True)
    assert undefined.stdout == ""


def test_a_folder_without_makefile_is_named(tmp_path: Path) -> None:
    with pytest.raises(PicobnnError) as error:
        build_firmware(tmp_path)
    assert error.value.error_id is ErrorId.FILE_MISSING


CLANG_FORMAT = shutil.which("clang-format", path=str(Path(sys.executable).parent)) or shutil.which("clang-format")


@pytest.mark.skipif(CLANG_FORMAT is None, reason="needs clang-format")
def test_firmware_sources_are_formatted() -> None:
    folder = Path(__file__).parents[2] / "firmware_templates"
    names = sorted(str(path) for room in ("board", "harness", "project") for path in (folder / room).glob("*.[ch]"))
    result = subprocess.run([str(CLANG_FORMAT), "--dry-run", "--Werror", *names], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
