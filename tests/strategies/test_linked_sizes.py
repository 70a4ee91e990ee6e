# SPDX-License-Identifier: Apache-2.0
"""Flash and RAM that every strategy names are what the linker laid out: each table in a section of its size and nothing
beside them, one arena of the planned size, and no other RAM.

One image per core holds a few layers of every strategy that the core runs; the default one of the M55 holds those with
vectors only.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from picobnn.codegen.emit import render_model
from picobnn.codegen.manifest import Manifest, build_manifest
from picobnn.codegen.plan import Plan
from picobnn.codegen.project import project_facts
from picobnn.codegen.strategies import STRATEGIES, find_strategy, table_bytes
from picobnn.codegen.targets import Target, find_core
from picobnn.codegen.vocabulary import Shape
from picobnn.map_file import LinkMap, ModelMemory, model_memory, read_map
from tests.support.fans import make_fan
from tests.support.firmware import build_project, needs_compiler
from tests.support.layer_classes import all_classes

PREFIX = "m"
PER_STRATEGY = 2
BITS = Shape(7, 9, 33)
BOARDS = {
    "m4": "mps2-an386",
    "m0plus": "mps2-an385-v6m",
    "m55": "mps3-an547",
    "m0": "mps2-an385-v6m",
    "m3": "mps2-an385",
    "m7": "mps2-an500",
    "m33": "mps2-an505",
}


def names_on(target: Target) -> list[str]:
    """The strategies that the core runs, in the registry's order."""
    names = {each.strategy for each in all_classes(target)}
    return [strategy.name for strategy in STRATEGIES if strategy.name in names]


def is_default(core: str, name: str) -> bool:
    """All on M4, and elsewhere what the M4 does not show."""
    return core in ("m4", "m0plus") or (core == "m55" and name.endswith("_mve"))


CASES = [
    pytest.param(core, name, marks=() if is_default(core, name) else pytest.mark.slow)
    for core in BOARDS
    for name in names_on(find_core(core))
]


def few_layers(target: Target, names: Sequence[str]) -> Plan:
    """Random layers of every strategy, of classes that have tails."""
    rng, wanted = np.random.default_rng(13), []
    for name in names:
        classes = [each for each in all_classes(target) if each.strategy == name and each.has_tail]
        wanted += [classes[index] for index in rng.permutation(len(classes))[:PER_STRATEGY]]
    return make_fan(rng, BITS, wanted, len(wanted), target).plan


@dataclass(frozen=True, slots=True)
class Linked:
    plan: Plan
    manifest: Manifest
    link_map: LinkMap
    memory: ModelMemory


def linked(core: str, name: str) -> Linked:
    """The image of the core that holds the strategy."""
    names = names_on(find_core(core))
    default = tuple(each for each in names if is_default(core, each))
    return _linked(core, default if name in default else tuple(names))


@cache
def _linked(core: str, names: tuple[str, ...]) -> Linked:
    plan = few_layers(find_core(core), names)
    folder = Path(tempfile.mkdtemp(prefix="picobnn-sizes-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model = render_model(plan, PREFIX)
    built = build_project(folder / "fw", BOARDS[core], PREFIX, project_facts(plan), model)
    link_map = read_map(built.map)
    return Linked(plan, build_manifest(plan, PREFIX, model), link_map, model_memory(link_map, PREFIX))


def test_every_strategy_is_met_on_some_core_by_default() -> None:
    met = {case.values[1] for case in CASES if not case.marks}
    assert met == {strategy.name for strategy in STRATEGIES}


@needs_compiler
@pytest.mark.qemu
@pytest.mark.parametrize(("core", "name"), CASES)
def test_tables_are_linked_with_the_size_that_the_strategy_names(core: str, name: str) -> None:
    image, strategy, target = linked(core, name), find_strategy(name), find_core(core)
    program = image.plan.program
    indices = [planned.step for planned in image.plan.steps if planned.strategy == name]
    assert indices
    for index in indices:
        step, entry = program.steps[index], image.manifest.steps[index]
        tables = strategy.tables(step, program, target)
        assert tables
        linked_sizes = {
            section.removeprefix(f"{step.name}_"): size
            for section, size in image.memory.per_table.items()
            if section.startswith(f"{step.name}_")
        }
        assert linked_sizes == {table.role: table.size_bytes for table in tables}, step.name
        assert entry.table_bytes == table_bytes(tables) == sum(linked_sizes.values())


@needs_compiler
@pytest.mark.qemu
@pytest.mark.parametrize(("core", "name"), CASES)
def test_code_of_a_strategy_is_linked_and_keeps_nothing_in_ram(core: str, name: str) -> None:
    image = linked(core, name)
    stems = {file.partition(".")[0] for file in find_strategy(name).runtime_files(find_core(core))}
    assert image.link_map.flash_bytes(lambda part: part.stem in stems) > 0
    assert image.link_map.ram_bytes(lambda part: part.stem in stems) == 0


@needs_compiler
@pytest.mark.qemu
@pytest.mark.parametrize(("core", "name"), CASES)
def test_the_model_has_no_other_tables_and_no_ram_but_the_arena(core: str, name: str) -> None:
    image, target = linked(core, name), find_core(core)
    plan, program = image.plan, image.plan.program
    sizes = [
        table_bytes(find_strategy(planned.strategy).tables(step, program, target))
        for planned, step in zip(plan.steps, program.steps, strict=True)
    ]
    assert image.memory.weight_bytes == sum(sizes)
    assert image.link_map.flash_bytes(lambda part: part.stem == f"{PREFIX}_weights") == sum(sizes)
    assert image.memory.data_bss_bytes == 0
    arenas = [part for part in image.link_map.sections if part.name.startswith(".bss.arena")]
    assert [part.size for part in arenas] == [plan.arena_bytes]
    assert image.manifest.arena_bytes == plan.arena_bytes
    ends = [buffer.offset_bytes + buffer.size_bytes for buffer in plan.buffers]
    for planned, step in zip(plan.steps, program.steps, strict=True):
        scratch = find_strategy(planned.strategy).scratch_bytes(step, program, target)
        assert planned.scratch_bytes == scratch
        ends.append(planned.scratch_offset_bytes + scratch)
    assert max(ends) <= plan.arena_bytes < max(ends) + 8
