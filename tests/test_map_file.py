# SPDX-License-Identifier: Apache-2.0
"""GNU ld's map files: stored pieces with the oddities they have, generated ones, and a real link."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from picobnn.errors import ErrorId, PicobnnError
from picobnn.map_file import InputSection, LinkMap, Memory, model_memory, read_map

# Pieces of a real map: wrapped names, fills, merged strings, discarded and empty sections, an archive member,
# .data that is loaded elsewhere, .bss behind it, sections that no image holds.
FIRMWARE = """\
Archive member included to satisfy reference by file (symbol)

/usr/lib/gcc/arm-none-eabi/12.2.1/thumb/v6-m/nofp/libgcc.a(_udivsi3.o)
                              build/tiny.o (__aeabi_uidiv)

Discarded input sections

 .text          0x00000000        0x0 build/tiny.o
 .rodata.tiny.unused
                0x00000000      0x400 build/tiny_weights.o

Memory Configuration

Name             Origin             Length             Attributes
flash            0x00000000         0x00040000         xr
ram              0x20000000         0x00004000         xrw
*default*        0x00000000         0xffffffff

Linker script and memory map

LOAD build/tiny.o
                0x00001000                        stack_bytes = DEFINED (stack_bytes)?stack_bytes:0x1000

.vectors        0x00000000       0xc0
 *(.vectors)
 .vectors       0x00000000       0xc0 build/board/picobnn_startup.o
                0x00000000                picobnn_board_vectors

.text           0x000000c0      0x3a4
 *(.text .text.*)
 .text.tiny_run
                0x000000c0       0x60 build/tiny.o
                0x000000c1                tiny_run
 .text.picobnn_xnor_conv2d
                0x00000120      0x100 build/picobnn_xnor.o
 .text.picobnn_harness_run
                0x00000220       0x80 build/harness/picobnn_harness_run.o
 .text.memcpy   0x000002a0       0x20 build/board/picobnn_memory.o
 .text          0x000002c0      0x114 /usr/lib/gcc/arm-none-eabi/12.2.1/thumb/v6-m/nofp/libgcc.a(_udivsi3.o)
 *fill*         0x000003d4        0xc
 .text.never    0x000003e0        0x0 build/tiny.o

.rodata         0x00000464      0x1c8
 *(.rodata .rodata.*)
 .rodata.tiny.conv1_weights
                0x00000464       0x90 build/tiny_weights.o
                0x00000464                tiny_conv1_weights
 .rodata.tiny.conv1_thresholds
                0x000004f4       0x20 build/tiny_weights.o
 .rodata.tiny.model_hash
                0x00000514       0x20 build/tiny.o
 .rodata.tiny.self_test_image
                0x00000534       0x40 build/tiny.o
 .rodata.tiny_big.conv1_weights
                0x00000574       0x30 build/tiny_big_weights.o
 .rodata.picobnn_status_str.str1.4
                0x000005a4       0x58 build/picobnn_runtime.o
                                 0x5c (size before relaxing)

.data           0x20000000        0xc load address 0x0000062c
                0x20000000                picobnn_data_start = .
 *(.data .data.*)
 .data.picobnn_level
                0x20000000        0x4 build/picobnn_runtime.o
 .data.baud     0x20000004        0x8 build/harness/picobnn_harness.o

.bss            0x2000000c      0x804 load address 0x00000638
 *(.bss .bss.* COMMON)
 .bss.tiny_state
                0x2000000c        0x4 build/tiny.o
 .bss.picobnn_harness_arena
                0x20000010      0x700 build/harness/picobnn_harness_model.o
 COMMON         0x20000710      0x100 build/main.o

.ARM.attributes
                0x00000000       0x2e
 .ARM.attributes
                0x00000000       0x2c build/tiny.o

.debug_info     0x00000000     0x1234
 .debug_info    0x00000000     0x1234 build/tiny.o
OUTPUT(build/tiny.elf elf32-littlearm)
"""


@pytest.fixture
def firmware(tmp_path: Path) -> LinkMap:
    path = tmp_path / "tiny.map"
    path.write_text(FIRMWARE)
    return read_map(path)


def test_model_memory(firmware: LinkMap) -> None:
    memory = model_memory(firmware, "tiny")
    assert memory.per_table == {
        "conv1_weights": 0x90,
        "conv1_thresholds": 0x20,
        "model_hash": 0x20,
        "self_test_image": 0x40,
    }
    assert memory.weight_bytes == 0x90 + 0x20
    # tiny_run, xnor, the tables, the string and the start value of picobnn_level; not board, harness, libgcc, tiny_big
    assert memory.flash_bytes == 0x60 + 0x100 + 0x90 + 0x20 + 0x20 + 0x40 + 0x58 + 0x4
    assert memory.data_bss_bytes == 0x4 + 0x4


def test_a_prefix_that_starts_another_one_takes_nothing_of_it(firmware: LinkMap) -> None:
    assert model_memory(firmware, "tiny_big").weight_bytes == 0x30


def test_by_object_and_by_section(firmware: LinkMap) -> None:
    assert firmware.ram_by_object() == {
        "build/harness/picobnn_harness_model.o": 0x700,
        "build/main.o": 0x100,
        "build/harness/picobnn_harness.o": 8,
        "build/picobnn_runtime.o": 4,
        "build/tiny.o": 4,
    }
    assert next(iter(firmware.flash_by_object())).endswith("libgcc.a(_udivsi3.o)")
    assert firmware.by_section(".text.picobnn_") == {"xnor_conv2d": 0x100, "harness_run": 0x80}
    udiv = next(part for part in firmware.sections if "libgcc" in part.obj)
    assert (udiv.stem, udiv.address, udiv.size, udiv.output, udiv.memory) == (
        "_udivsi3",
        0x2C0,
        0x114,
        ".text",
        Memory.FLASH,
    )


@pytest.mark.parametrize(
    ("obj", "stem"),
    [
        ("build/picobnn_xnor.o", "picobnn_xnor"),
        ("CMakeFiles/app.dir/model/tiny.c.obj", "tiny"),
        ("C:\\build\\tiny_weights.o", "tiny_weights"),
        ("app/libapp.a(tiny.c.obj)", "tiny"),
        ("a folder/tiny.o", "tiny"),
    ],
)
def test_stems(obj: str, stem: str) -> None:
    assert InputSection(".text", ".text", obj, 0, 4, Memory.FLASH).stem == stem


def test_code_that_runs_from_ram_takes_both(tmp_path: Path) -> None:
    path = tmp_path / "fast.map"
    path.write_text(
        "Linker script and memory map\n\n"
        ".ramcode        0x20000000       0x10 load address 0x00000100\n"
        " .text.picobnn_fast\n                0x20000000       0x10 picobnn_fast.o\n"
        ".text           0x00000000        0x4\n .text          0x00000000        0x4 m.o\n"
    )
    memory = model_memory(read_map(path), "m")
    assert (memory.flash_bytes, memory.data_bss_bytes, memory.weight_bytes) == (0x14, 0x10, 0)


def test_an_absent_model_is_refused(firmware: LinkMap) -> None:
    with pytest.raises(PicobnnError) as caught:
        model_memory(firmware, "other")
    assert caught.value.error_id is ErrorId.BAD_INPUT
    assert "other" in caught.value.what


def test_no_map(tmp_path: Path) -> None:
    with pytest.raises(PicobnnError) as caught:
        read_map(tmp_path / "absent.map")
    assert caught.value.error_id is ErrorId.FILE_MISSING
    path = tmp_path / "other.map"
    path.write_bytes(b"\x7fELF\xff\n")
    with pytest.raises(PicobnnError) as caught:
        read_map(path)
    assert caught.value.error_id is ErrorId.BAD_INPUT


NAMES = st.text("abcxyz_019.", min_size=1, max_size=24).map(lambda text: f".text.{text}")
OBJECTS = st.sampled_from(["a.o", "build/b.c.obj", "lib.a(c.o)", "with space/d.o"])
PARTS = st.lists(st.tuples(NAMES, st.integers(0, 2**20), st.integers(0, 2**16), OBJECTS), max_size=12)


def rendered(parts: list[tuple[str, int, int, str]]) -> str:
    """As ld prints: a name of 15 characters or more stands alone on its line."""
    lines = ["Linker script and memory map", "", ".text           0x00000000     0x1000", " *(.text .text.*)"]
    for name, address, size, obj in parts:
        figures = f"0x{address:08x} {f'0x{size:x}':>10} {obj}"
        lines += [f" {name}", f"{'':16}{figures}"] if len(name) >= 15 else [f" {name:<15}{figures}"]
        lines += [f"{'':16}0x{address:08x}{'':16}some_symbol", f" *fill*         0x{address:08x}        0x3 "]
    return "\n".join(lines) + "\n"


@settings(deadline=None, max_examples=100)
@given(parts=PARTS)
def test_whatever_is_printed_is_read(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, int, int, str]]
) -> None:
    path = tmp_path_factory.mktemp("map") / "any.map"
    path.write_text(rendered(parts))
    assert [(part.name, part.address, part.size, part.obj) for part in read_map(path).sections] == [
        part for part in parts if part[2]
    ]


SOURCE = """
#include <stdint.h>
#define IN(name) __attribute__((section(name)))
const uint32_t m_step0_weights[9] IN(".rodata.m.step0_weights") = {1, 2, 3};
const uint32_t m_wrapped[5] IN(".rodata.m.step1_a_name_that_is_long_enough_to_wrap") = {4};
const uint32_t m_dropped[100] IN(".rodata.m.dropped") = {5};
uint32_t m_counter = 7, m_zero[3];
uint32_t m_run(uint32_t i) {
    return m_step0_weights[i] + m_wrapped[i] + m_counter++ + m_zero[i]++;
}
"""
MAIN = "#include <stdint.h>\nuint32_t m_run(uint32_t);\nvolatile uint32_t s;\nvoid _start(void) { s = m_run(s); }\n"


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc")
def test_a_real_link(tmp_path: Path) -> None:
    (tmp_path / "m.c").write_text(SOURCE)
    (tmp_path / "main.c").write_text(MAIN)
    flags = ["-mcpu=cortex-m4", "-mthumb", "-Os", "-g", "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
    for name in ("m", "main"):
        command = ["arm-none-eabi-gcc", *flags, "-c", f"{name}.c", "-o", f"{name}.o"]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    command = ["arm-none-eabi-gcc", *flags, "-nostdlib", "-static", "m.o", "main.o", "-o", "m.elf"]
    command += ["-Wl,--gc-sections,-Map=m.map,-Ttext=0,-Tdata=0x20000000"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    link_map = read_map(tmp_path / "m.map")
    memory = model_memory(link_map, "m")
    assert memory.per_table == {"step0_weights": 36, "step1_a_name_that_is_long_enough_to_wrap": 20}
    assert memory.weight_bytes == 56
    assert memory.data_bss_bytes == 4 + 12
    run = link_map.by_section(".text.m_run")[""]
    assert memory.flash_bytes == 56 + run + 4
    assert sum(link_map.ram_by_object().values()) == 4 + 12 + 4
