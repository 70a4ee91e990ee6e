# SPDX-License-Identifier: Apache-2.0
"""A generated model on the emulator: its steps are counted, its memory is read from the map of the same link."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.emit import render_model, write_sources
from picobnn.codegen.program import Program
from picobnn.codegen.select import make_plan
from picobnn.codegen.targets.cores import find_core
from picobnn.map_file import ModelMemory, model_memory, read_map
from picobnn.sim.cycles import LayerCost, layer_costs
from tests.support.cycle_image import HAVE_EMULATOR, MACHINES, SOURCES, Machine, count_image
from tests.support.random_programs import random_program

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not HAVE_EMULATOR, reason="needs qemu-system-arm, arm-none-eabi-gcc and gcc"),
]


@dataclass(frozen=True, slots=True)
class Counted:
    program: Program
    machine: Machine
    layers: list[LayerCost]
    memory: ModelMemory
    elf: Path


@pytest.fixture(scope="module", params=[MACHINES[0], MACHINES[2]], ids=lambda machine: machine.name)
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    machine: Machine = request.param
    folder = tmp_path_factory.mktemp("model")
    program = random_program(np.random.default_rng(5))
    core = machine.cores[0]
    write_sources(render_model(make_plan(program, find_core(core)), "model"), folder)
    elf = folder / "model.elf"
    objects = []
    for source in (*sorted(folder.glob("*.c")), SOURCES / "model_main.c"):
        objects.append(folder / f"{source.stem}.o")
        command = ["arm-none-eabi-gcc", f"-mcpu={machine.cpu}", "-mthumb", "-std=gnu99", "-O2", "-ffreestanding", "-g"]
        command += ["-ffunction-sections", "-fdata-sections", "-fno-tree-loop-distribute-patterns"]
        command += ["-DPICOBNN_LAYER_HOOK", "-Wall", "-Wextra", "-Werror", f"-I{folder}"]
        subprocess.run([*command, "-c", str(source), "-o", str(objects[-1])], check=True, timeout=60)
    command = ["arm-none-eabi-gcc", f"-mcpu={machine.cpu}", "-mthumb", "-nostdlib", "-static", "-o", str(elf)]
    command += [*map(str, objects), "-lgcc", "-T", str(SOURCES / "image.ld"), f"-Wl,-Map={folder / 'model.map'}"]
    command += [f"-Wl,--gc-sections,--defsym=ROM_ORIGIN={machine.rom:#x},--defsym=RAM_ORIGIN={machine.ram:#x}"]
    subprocess.run(command, check=True, timeout=60)
    _, segments = count_image(machine, elf, folder)
    layers = layer_costs(segments, elf, core, len(program.steps))
    return Counted(program, machine, layers, model_memory(read_map(folder / "model.map"), "model"), elf)


def test_every_step_is_counted(counted: Counted) -> None:
    assert [layer.step for layer in counted.layers] == list(range(len(counted.program.steps)))
    for layer in counted.layers:
        assert layer.cycles is not None
        assert 0 < layer.instructions < layer.cycles < 4 * layer.instructions
        assert (layer.interrupted, layer.undecoded) == (0, 0)


def test_the_hook_and_its_checksum_are_in_no_step(counted: Counted) -> None:
    names = {function.name for layer in counted.layers for function in layer.functions}
    assert not [name for name in names if "crc32" in name or "harness" in name or "hook" in name]
    assert "model_run" in names


def test_flash_of_the_model_is_what_its_objects_link_to(counted: Counted) -> None:
    memory = counted.memory
    weight_words = sum(
        step.weights.shape[0] * ((int(np.prod(step.weights.shape[1:])) + 31) // 32) for step in counted.program.steps
    )
    assert memory.weight_bytes >= 4 * weight_words
    assert memory.weight_bytes == sum(
        size for name, size in memory.per_table.items() if name != "model_hash" and not name.startswith("self_test")
    )
    assert memory.weight_bytes < memory.flash_bytes < counted.elf.stat().st_size
    assert memory.data_bss_bytes == 0  # every tensor lies in the arena


def test_tables_have_the_size_of_their_symbols(counted: Counted) -> None:
    from elftools.elf.elffile import ELFFile

    with counted.elf.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        sizes = {symbol.name: symbol["st_size"] for symbol in table.iter_symbols()}  # type: ignore[union-attr]
    for name, size in counted.memory.per_table.items():
        assert sizes[f"model_{name}"] == size
