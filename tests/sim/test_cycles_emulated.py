# SPDX-License-Identifier: Apache-2.0
"""Hand-counted kernels on the emulator: instructions are counted exactly, cycles are modelled as by hand."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.cycles import (
    BlockCount,
    FlashLines,
    LayerCost,
    Segment,
    layer_costs,
    line_changes,
    read_counts,
    total_cycles,
    total_instructions,
)
from picobnn.sim.cycles.code import read_code
from tests.support.cycle_image import HAVE_EMULATOR, MACHINES, Machine, build_image, count_image, kernels

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not HAVE_EMULATOR, reason="needs qemu-system-arm, arm-none-eabi-gcc and gcc"),
]


@pytest.fixture(scope="module", params=MACHINES, ids=lambda machine: machine.name)
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, Path, Path]:
    machine: Machine = request.param
    folder = tmp_path_factory.mktemp("cycles,image")
    elf = build_image(machine, folder)
    out, _ = count_image(machine, elf, folder)
    return machine, elf, out


def share(layer: LayerCost, name: str) -> tuple[int, int | None]:
    function = next(part for part in layer.functions if part.name == name)
    return function.instructions, function.cycles


def test_kernels_cost_what_was_counted_by_hand(counted: tuple[Machine, Path, Path]) -> None:
    machine, elf, out = counted
    expected = kernels(machine)
    for core in machine.cores:
        layers = layer_costs(read_counts(out), elf, core, len(expected))
        found = {kernel.name: share(layer, kernel.name) for kernel, layer in zip(expected, layers, strict=True)}
        assert found == {
            kernel.name: (kernel.instructions, kernel.cycles.get(core, found[kernel.name][1])) for kernel in expected
        }
        assert all(layer.interrupted == 0 and layer.undecoded == 0 for layer in layers)


def test_only_the_model_is_in_a_step(counted: tuple[Machine, Path, Path]) -> None:
    machine, elf, out = counted
    expected = kernels(machine)
    layers = layer_costs(read_counts(out), elf, machine.cores[0], len(expected))
    for kernel, layer in zip(expected, layers, strict=True):
        assert {function.name for function in layer.functions} == {kernel.name, "model_run"}
        # PUSH and 6 of STEP in front of the first; behind a hook, STEP alone.
        assert share(layer, "model_run")[0] == (7 if layer.step == 0 else 6)
        assert layer.instructions == sum(function.instructions for function in layer.functions)
    assert total_instructions(layers) == sum(kernel.instructions + 6 for kernel in expected) + 1


def test_both_runs_of_the_image_cost_the_same(counted: tuple[Machine, Path, Path]) -> None:
    machine, elf, out = counted
    steps = len(kernels(machine))
    segments = read_counts(out)
    first_run = [segment for segment in segments if segment.mark is not None and segment.mark <= steps]
    core = machine.cores[0]
    assert layer_costs(first_run, elf, core, steps) == layer_costs(segments, elf, core, steps)


def test_counts_are_equal_byte_for_byte_in_two_runs(counted: tuple[Machine, Path, Path], tmp_path: Path) -> None:
    machine, elf, out = counted
    again, _ = count_image(machine, elf, tmp_path)
    assert again.read_bytes() == out.read_bytes()


def test_core_without_a_model_has_counts_only(
    counted: tuple[Machine, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, elf, out = counted
    core, steps = machine.cores[0], len(kernels(machine))
    expected = total_instructions(layer_costs(read_counts(out), elf, core, steps))
    monkeypatch.setattr("picobnn.sim.cycles.model.MODELS", ())
    layers = layer_costs(read_counts(out), elf, core, steps)
    assert total_cycles(layers) is None
    assert total_instructions(layers) == expected


def test_too_few_marks_are_refused(counted: tuple[Machine, Path, Path]) -> None:
    machine, elf, out = counted
    with pytest.raises(PicobnnError) as caught:
        layer_costs(read_counts(out), elf, machine.cores[0], 1000)
    assert caught.value.error_id is ErrorId.BAD_INPUT
    assert "1001" in str(caught.value)


def test_another_elf_is_refused(counted: tuple[Machine, Path, Path], tmp_path: Path) -> None:
    machine, _, out = counted
    other = next(found for found in MACHINES if found.rom != machine.rom)
    with pytest.raises(PicobnnError) as caught:
        layer_costs(read_counts(out), build_image(other, tmp_path), machine.cores[0], 3)
    assert caught.value.error_id is ErrorId.BAD_INPUT


@pytest.fixture(scope="module")
def on_m4(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Segment]]:
    folder = tmp_path_factory.mktemp("m4")
    elf = build_image(MACHINES[2], folder)
    return elf, count_image(MACHINES[2], elf, folder)[1]


def edited(segments: list[Segment], edit: Callable[[BlockCount], BlockCount]) -> list[Segment]:
    return [replace(segment, blocks=tuple(edit(block) for block in segment.blocks)) for segment in segments]


def test_an_exit_that_no_branch_explains_is_an_interrupt(on_m4: tuple[Path, list[Segment]]) -> None:
    elf, segments = on_m4
    expected = kernels(MACHINES[2])
    step = next(index for index, kernel in enumerate(expected) if kernel.name == "kernel_loop")
    plain = layer_costs(segments, elf, "m4", len(expected))[step]

    def interrupt(block: BlockCount) -> BlockCount:
        """Eight of the ten passes through the loop's own block end in a handler somewhere."""
        edges = [replace(edge, successor=0x2000) if edge.count == 8 else edge for edge in block.edges]
        return replace(block, edges=tuple(edges))

    layer = layer_costs(edited(segments, interrupt), elf, "m4", len(expected))[step]
    assert layer.interrupted == 8
    assert layer.instructions == plain.instructions
    assert layer.cycles == (plain.cycles or 0) - 8


def test_the_timers_handler_leaves_no_trace_in_what_it_interrupts(on_m4: tuple[Path, list[Segment]]) -> None:
    """``kernel_interrupted`` is interrupted eight times, and costs what was counted by hand for it alone."""
    elf, segments = on_m4
    steps = [kernel.name for kernel in kernels(MACHINES[2])]
    step = steps.index("kernel_interrupted")
    segment, code = segments[step + 1], read_code(elf, "m4")
    handler = [block for block in segment.blocks if code.function(block.start) == "picobnn_harness_systick_handler"]
    assert [(block.instructions, block.count, block.edges) for block in handler] == [(5, 8, ())]
    assert layer_costs(segments, elf, "m4", len(steps))[step].interrupted == 0


def test_the_timers_handler_leaves_the_line_at_hand(tmp_path: Path) -> None:
    """The kernel lies in one line: entering it changes to it, and nothing after that."""
    elf = build_image(MACHINES[2], tmp_path)
    flash = FlashLines(MACHINES[2].rom, 1 << 16, 64)
    step = [kernel.name for kernel in kernels(MACHINES[2])].index("kernel_interrupted")
    segment = count_image(MACHINES[2], elf, tmp_path, flash)[1][step + 1]
    code = read_code(elf, "m4")
    counted = [block for block in segment.blocks if code.function(block.start) == "kernel_interrupted"]
    assert line_changes(counted, segment.blocks, flash) == (1, 0)


def test_without_a_hook_in_sight_only_names_decide(on_m4: tuple[Path, list[Segment]]) -> None:
    elf, segments = on_m4
    unlinked = edited(segments, lambda block: replace(block, edges=()))
    layers = layer_costs(unlinked, elf, "m4", len(kernels(MACHINES[2])))
    assert "checksum" in {function.name for function in layers[0].functions}


def test_a_stripped_elf_is_refused(on_m4: tuple[Path, list[Segment]], tmp_path: Path) -> None:
    elf, segments = on_m4
    stripped = tmp_path / "stripped.elf"
    subprocess.run(["arm-none-eabi-strip", "-o", str(stripped), str(elf)], check=True, timeout=60)
    with pytest.raises(PicobnnError) as caught:
        layer_costs(segments, stripped, "m4", 1)
    assert caught.value.error_id is ErrorId.BAD_INPUT
    assert "symbol table" in caught.value.what


@pytest.mark.parametrize(
    ("line_bytes", "changes"),
    [
        # Into the function 1, to 0..18 four lines on 4, twice back to 14 and on 2 x 2, to 20 1; the literal and back 2.
        (4, 12),
        # 1, on to 16..18 1, twice back to 14 and on 2 x 2; the literal in the third line and back 2.
        (16, 8),
        (64, 1),  # all in one line: 1
    ],
)
@pytest.mark.parametrize("machine", [MACHINES[0], MACHINES[2]], ids=lambda machine: machine.name)
def test_changes_of_flash_lines_are_those_counted_by_hand(
    machine: Machine, line_bytes: int, changes: int, tmp_path: Path
) -> None:
    elf = build_image(machine, tmp_path)
    flash = FlashLines(machine.rom, 1 << 16, line_bytes)
    expected = kernels(machine)
    step = next(index for index, kernel in enumerate(expected) if kernel.name == "kernel_lines")
    segment = count_image(machine, elf, tmp_path, flash)[1][step + 1]
    code = read_code(elf, machine.cores[0])
    counted = [block for block in segment.blocks if code.function(block.start) == "kernel_lines"]
    assert sum(line_changes(counted, segment.blocks, flash)) == changes


def test_a_layer_has_its_changes_of_lines_only_where_the_flash_was_watched(
    on_m4: tuple[Path, list[Segment]], tmp_path: Path
) -> None:
    elf, plain = on_m4
    flash = FlashLines(MACHINES[2].rom, 1 << 16, 16)
    watched = count_image(MACHINES[2], elf, tmp_path, flash)[1]
    steps = len(kernels(MACHINES[2]))
    one, other = layer_costs(plain, elf, "m4", steps), layer_costs(watched, elf, "m4", steps, flash)
    assert [layer.line_changes for layer in one] == [0] * steps
    assert all(layer.line_changes > 0 for layer in other)
    assert [replace(layer, line_changes=0) for layer in other] == one
