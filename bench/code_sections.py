# SPDX-License-Identifier: Apache-2.0
"""Reads from compiled objects what code takes in flash and what refers to what, for ``[code]`` of a core's costs.

Everything is compiled as the generated project compiles it. The linker takes or leaves whole sections, so a unit is a
section, with the private ones that nothing else refers to. A merged section of strings may shrink when it is linked;
no kernel has one. Used by ``calibrate.py``.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, SymbolTableSection
from layer_runs import PREFIX

from picobnn.codegen.emit import render_model, runtime_text, write_sources
from picobnn.codegen.manifest import SourceFile
from picobnn.codegen.plan import Plan
from picobnn.codegen.project import project_facts, render_project
from picobnn.codegen.runtime_code import COMMON_RUNTIME, TRANSPOSE_RUNTIME
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.targets import Board, find_core
from picobnn.codegen.targets.code_sizes import CodeSizes, CodeUnit
from picobnn.errors import ErrorId, PicobnnError
from picobnn.toolchain import run_tool

_Key = tuple[str, int]
"""A section: path of its object, number."""


@dataclass(slots=True)
class _Found:
    """A section with the symbols that lie in it; ``uses``: sections, or names of symbols of other objects."""

    size: int
    public: list[str] = field(default_factory=list)
    private: list[str] = field(default_factory=list)
    uses: set[_Key | str] = field(default_factory=set)


def compiled_sizes(board: Board, plans: Sequence[Plan]) -> CodeSizes:
    """Of the runtime of a board's core and of the models of ``plans``, which must use every strategy of the core and
    differ in their numbers of steps and transposes. Raises E_TOOL_MISSING, E_TOOL_FAILED."""
    with tempfile.TemporaryDirectory(prefix="picobnn-code-") as name:
        folder = Path(name)
        files = {source.path: source for source in render_model(plans[0], PREFIX)}
        runtime = {*COMMON_RUNTIME, *TRANSPOSE_RUNTIME}
        strategies = {step.strategy for plan in plans for step in plan.steps}
        runtime.update(file for name in strategies for file in find_strategy(name).runtime_files(board.target))
        files |= {file: SourceFile(file, runtime_text(file)) for file in runtime}
        project = render_project(board, PREFIX, project_facts(plans[0]), tuple(files.values()))
        write_sources((*files.values(), *project), folder)
        stems = [file.removesuffix(".c") for file in sorted(runtime) if not file.endswith(".h")]
        objects = [Path("build") / f"{stem}.o" for stem in stems]
        run_tool(["make", "-C", folder, *objects], where="runtime")
        units = read_units([folder / path for path in objects])
        layers, rows = {}, []
        for plan in plans:
            sizes = _model_sections(folder, plan)
            layers.update(_layer_sizes(plan, sizes))
            own = sizes[f".text.{PREFIX}_run"] + sizes[f".rodata.{PREFIX}.model_hash"]
            rows.append((len(plan.steps), sum(step.transpose_bytes > 0 for step in plan.steps), own))
    once, step, transpose = fit_model(rows)
    return CodeSizes(units, layers, once, step, transpose)


def fit_model(rows: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Bytes of every model, of each step and of each transpose, from steps, transposes and bytes of some: least
    squares, rounded; none is negative. Without transposes among them one takes 0."""
    counts = np.array([(1, steps, transposes) for steps, transposes, _ in rows], float)
    once, step, transpose = np.linalg.lstsq(counts, np.array([size for *_, size in rows], float), rcond=None)[0]
    return max(0, round(once)), max(0, round(step)), max(0, round(transpose))


def _model_sections(folder: Path, plan: Plan) -> dict[str, int]:
    """Sizes of the sections of a model's own source, by name."""
    write_sources([source for source in render_model(plan, PREFIX) if source.path.startswith(PREFIX)], folder)
    built = folder / "build" / f"{PREFIX}.o"
    built.unlink(missing_ok=True)
    run_tool(["make", "-C", folder, Path("build") / built.name], where="model")
    with built.open("rb") as stream:
        return {section.name: section["sh_size"] for section in _loaded(ELFFile(stream)).values()}


def _layer_sizes(plan: Plan, sizes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """C type and bytes of every step's record."""
    program, target = plan.program, find_core(plan.core)
    for planned, step in zip(plan.steps, program.steps, strict=True):
        strategy = find_strategy(planned.strategy)
        tables = {table.role: table.role for table in strategy.tables(step, program, target)}
        view = strategy.view(step, program, target, f"{step.name}_layer", tables)
        yield view.c_type, sizes[f".rodata.{view.symbol}"]


RUNTIME_PREFIX = "picobnn_"
"""Of everything that the runtime defines; other names are the compiler's library."""


def read_units(objects: Iterable[Path]) -> dict[str, CodeUnit]:
    """The units of some objects by symbol: public sections, and private ones that several refer to."""
    found: dict[_Key, _Found] = {}
    for path in objects:
        with path.open("rb") as stream:
            found |= _read_sections(path.stem, ELFFile(stream))
    owners = {name: key for key, section in found.items() for name in section.public}
    named = {used for section in found.values() for used in section.uses if isinstance(used, str)}
    lost = sorted(name for name in named - set(owners) if name.startswith(RUNTIME_PREFIX))
    if lost:
        raise PicobnnError(
            ErrorId.BAD_INPUT, f"nobody defines {', '.join(lost)} as a function or a constant.",
            where="objects of the runtime", remedy="Give assembly a .type, and list every file that is needed.",
        )  # fmt: skip
    uses = {
        key: {owners.get(used) if isinstance(used, str) else used for used in section.uses} - {None, key}
        for key, section in found.items()
    }
    sizes = {key: section.size for key, section in found.items()}
    _fold({key for key, section in found.items() if not section.public}, uses, sizes)
    names = _names({key: found[key] for key in sizes})
    units = {
        name: CodeUnit(sizes[key], tuple(sorted(names[used] for used in uses[key]))) for key, name in names.items()
    }
    aliases = {name: CodeUnit(0, (names[key],)) for name, key in owners.items() if name != names[key]}
    return units | aliases


def _fold(private: Iterable[_Key], uses: dict[_Key, set[_Key]], sizes: dict[_Key, int]) -> None:
    """Puts private sections into the only one that refers to them, until none is left; without one, they go."""
    waiting = set(private)
    while True:
        users: dict[_Key, list[_Key]] = defaultdict(list)
        for key in uses:
            for used in uses[key]:
                users[used].append(key)
        alone = next((key for key in sorted(waiting) if len(users[key]) <= 1), None)
        if alone is None:
            return
        waiting.remove(alone)
        size, onward = sizes.pop(alone), uses.pop(alone)
        for user in users[alone]:
            sizes[user] += size
            uses[user] = (uses[user] | onward) - {alone, user}


def _names(sections: Mapping[_Key, _Found]) -> dict[_Key, str]:
    """The symbol of each; a private one that is not alone of its name has its object's in front."""
    count = Counter(section.private[0] for section in sections.values() if not section.public)
    names = {}
    for (stem, number), section in sections.items():
        if section.public:
            names[stem, number] = section.public[0]
        else:
            name = section.private[0]
            names[stem, number] = name if count[name] == 1 else f"{stem.partition('.')[0]}.{name}"
    return names


def _read_sections(stem: str, elf: ELFFile) -> dict[_Key, _Found]:
    found = {(stem, number): _Found(section["sh_size"]) for number, section in _loaded(elf).items()}
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    for symbol in symbols.iter_symbols():
        key = stem, symbol["st_shndx"]
        if key in found and symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT"):
            is_public = symbol["st_info"]["bind"] == "STB_GLOBAL"
            (found[key].public if is_public else found[key].private).append(symbol.name)
    for (_, number), section in found.items():
        assert not elf.get_section(number)["sh_flags"] & SH_FLAGS.SHF_WRITE, f"{stem}: the runtime has no variables"
        section.public.sort()
        section.private = sorted(section.private) or [elf.get_section(number).name]
    for relocations in elf.iter_sections():
        if isinstance(relocations, RelocationSection) and (stem, relocations["sh_info"]) in found:
            uses = found[stem, relocations["sh_info"]].uses
            for relocation in relocations.iter_relocations():
                symbol = symbols.get_symbol(relocation["r_info_sym"])
                number = symbol["st_shndx"]
                uses.add(symbol.name if number == "SHN_UNDEF" else (stem, number))
    return found


def _loaded(elf: ELFFile) -> dict[int, Section]:
    """Sections that take room in an image, by number."""
    return {
        number: section
        for number, section in enumerate(elf.iter_sections())
        if section["sh_flags"] & SH_FLAGS.SHF_ALLOC and section["sh_size"]
    }
