# SPDX-License-Identifier: Apache-2.0
"""Executed blocks and edges to what every step of a program cost.

Invariants: instructions are counted, cycles are modelled, and the two are never mixed; a core without a model gives
cycles None, not a guess. What the harness itself runs (its own functions, the layer hook, and functions that only they
call) is in no step; the model's run function is, where it executes. Called by ``picobnn profile``, the benchmarks and
the calibration of the cost coefficients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.cycles.code import Code, read_code
from picobnn.sim.cycles.counts import BlockCount, Segment
from picobnn.sim.cycles.flash import FlashLines, line_changes
from picobnn.sim.cycles.instruction import Instruction, Kind
from picobnn.sim.cycles.model import CycleModel, find_model

HARNESS_PREFIX = "picobnn_harness_"
LAYER_HOOK = "picobnn_layer_hook"


@dataclass(frozen=True, slots=True)
class FunctionCost:
    """Share of one function. ``instructions`` are counted; ``cycles`` are modelled, None on a core without a model."""

    name: str
    instructions: int
    cycles: int | None


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one step cost in one run.

    ``functions`` are sorted by name and add up to the totals. ``interrupted`` counts exits that no branch explains
    (exceptions): their branch penalties are left out. ``undecoded`` counts executed instructions that the model took at
    one cycle because the disassembler does not know them. ``line_changes``: how often the flash had to bring up another
    of its lines, for code and data (``flash.py``); 0 where it was not watched.
    """

    step: int
    instructions: int
    cycles: int | None
    functions: tuple[FunctionCost, ...]
    interrupted: int = 0
    undecoded: int = 0
    line_changes: int = 0


def layer_costs(
    segments: Sequence[Segment], elf: Path, core: str, step_count: int, flash: FlashLines | None = None
) -> list[LayerCost]:
    """Costs of the steps 0 .. ``step_count`` - 1 in the last run that was counted.

    A run is ``step_count`` + 1 marks: one before it, one after every step. ``core`` is GCC's name or the short one.
    ``flash``: as given to the plugin.
    Raises E_BAD_INPUT where fewer marks were seen or the ELF is not the one that ran, E_UNKNOWN_CORE.
    """
    code, model = read_code(elf, core), find_model(core)
    marked = [segment for segment in segments if segment.mark is not None]
    if step_count < 1 or len(marked) < step_count + 1:
        raise PicobnnError(
            ErrorId.BAD_INPUT,
            f"{len(marked)} marks were counted, one run of {step_count} steps has {step_count + 1}.",
            where=str(elf),
            remedy="Run one inference to its end before the emulator is stopped, on firmware with the layer hook.",
        )
    run = marked[-step_count:]
    excluded = _harness_functions(code, run)
    return [_layer_cost(step, segment, code, model, excluded, flash) for step, segment in enumerate(run)]


def total_instructions(layers: Iterable[LayerCost]) -> int:
    """Counted instructions of a run."""
    return sum(layer.instructions for layer in layers)


def total_cycles(layers: Iterable[LayerCost]) -> int | None:
    """Modelled cycles of a run, None on a core without a model."""
    cycles = [layer.cycles for layer in layers]
    return None if None in cycles else sum(value for value in cycles if value is not None)


def _harness_functions(code: Code, run: Sequence[Segment]) -> frozenset[str]:
    """The functions that belong to the harness: by name, and those that only harness functions enter (a checksum in the
    hook). The function that calls the hook is the model's run function, whoever calls it; without one in sight (marks
    set by hand) only the names decide."""
    names = {code.function(block.start) for segment in run for block in segment.blocks}
    excluded = {name for name in names if name == LAYER_HOOK or name.startswith(HARNESS_PREFIX)}
    callers: dict[str, set[str]] = defaultdict(set)
    for segment in run:
        for block in segment.blocks:
            for edge in block.edges:
                if code.is_entry(edge.successor):
                    callers[code.function(edge.successor)].add(code.function(block.start))
    run_functions = callers[LAYER_HOOK] - excluded
    if not run_functions:
        return frozenset(excluded)
    while True:
        more = {
            name
            for name in names - excluded - run_functions
            if callers[name] and callers[name] - {name} and callers[name] - {name} <= excluded
        }
        if not more:
            return frozenset(excluded)
        excluded |= more


@dataclass(slots=True)
class _Sum:
    instructions: int = 0
    cycles: int = 0


def _layer_cost(
    step: int,
    segment: Segment,
    code: Code,
    model: CycleModel | None,
    excluded: frozenset[str],
    flash: FlashLines | None,
) -> LayerCost:
    sums: dict[str, _Sum] = defaultdict(_Sum)
    followers = _most_executed(segment.blocks)
    interrupted = undecoded = 0
    for block in segment.blocks:
        name = code.function(block.start)
        if name in excluded:
            continue
        share = sums[name]
        share.instructions += block.count * block.instructions
        if model is None:
            continue
        instructions = _instructions(code, block)
        cycles, unexplained = _block_cycles(block, instructions, code, model, followers)
        share.cycles += cycles
        interrupted += unexplained
        undecoded += block.count * sum(instruction.kind is Kind.UNKNOWN for instruction in instructions)
    counted = [block for block in segment.blocks if code.function(block.start) not in excluded]
    functions = tuple(
        FunctionCost(name, share.instructions, None if model is None else share.cycles)
        for name, share in sorted(sums.items())
        if share.instructions or share.cycles
    )
    return LayerCost(
        step=step,
        instructions=sum(function.instructions for function in functions),
        cycles=None if model is None else sum(share.cycles for share in sums.values()),
        functions=functions,
        interrupted=interrupted,
        undecoded=undecoded,
        line_changes=0 if flash is None else sum(line_changes(counted, segment.blocks, flash)),
    )


def _instructions(code: Code, block: BlockCount) -> tuple[Instruction, ...]:
    instructions = code.block(block.start, block.end)
    if len(instructions) != block.instructions:
        raise PicobnnError(
            ErrorId.BAD_INPUT,
            f"the block at 0x{block.start:08x} ran {block.instructions} instructions, the ELF has {len(instructions)}.",
            where=str(code.path),
            remedy="Give the ELF that the emulator ran.",
        )
    return instructions


def _most_executed(blocks: Iterable[BlockCount]) -> dict[int, BlockCount]:
    """By start address. The emulator may hold several blocks of one start; the one that ran most stands for them."""
    found: dict[int, BlockCount] = {}
    for block in blocks:
        if block.start not in found or found[block.start].count < block.count:
            found[block.start] = block
    return found


def _block_cycles(
    block: BlockCount,
    instructions: Sequence[Instruction],
    code: Code,
    model: CycleModel,
    followers: Mapping[int, BlockCount],
) -> tuple[int, int]:
    """Cycles of all passes through a block with what its exits cost, and the exits that no branch explains."""
    last = instructions[-1]
    alone = model.block_cycles(instructions)
    cycles, unexplained = block.count * alone, 0
    for edge in block.edges:
        if edge.successor == block.end and edge.successor != last.target:
            follower = followers.get(edge.successor)
            if not last.ends_block and follower is not None:
                # The emulator cut straight-line code here (at a page, say); the core does not.
                behind = _instructions(code, follower)
                seam = model.block_cycles((*instructions, *behind)) - alone - model.block_cycles(behind)
                cycles += edge.count * seam
        elif last.ends_block and last.target in (None, edge.successor):
            cycles += edge.count * model.taken_cycles(instructions, code.first(edge.successor))
        else:
            unexplained += edge.count
    return cycles, unexplained
