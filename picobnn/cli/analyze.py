# SPDX-License-Identifier: Apache-2.0
"""``picobnn analyze``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from picobnn.cli.common import Invocation, make_table
from picobnn.cli.options import (
    KernelsOption,
    ModelOption,
    OptimizeOption,
    RunOption,
    config_of,
    split_list,
    target_overrides,
)
from picobnn.config import Config, parse_config
from picobnn.flow.analyze import BoardAnalysis, LayerFacts

NAME = "analyze"


def invoke(
    call: Invocation,
    run: RunOption = None,
    model: ModelOption = None,
    board: Annotated[str | None, typer.Option("--board", help="Boards, comma-separated.")] = None,
    core: Annotated[str | None, typer.Option("--core", help="Cores instead of boards, comma-separated: m4,m0.")] = None,
    kernels: KernelsOption = None,
    optimize: OptimizeOption = None,
    cycles: Annotated[bool, typer.Option("--cycles", help="Run one vector on the emulator, model its cycles.")] = False,
    max_flash: Annotated[str | None, typer.Option("--max-flash", help="Budget, e.g. '32 KiB'.")] = None,
    max_ram: Annotated[str | None, typer.Option("--max-ram", help="Budget, e.g. '8 KiB'.")] = None,
    max_cycles: Annotated[int | None, typer.Option("--max-cycles", help="Budget, modelled cycles.")] = None,
) -> None:
    """Cost per layer and per board: MACs, tables, flash, RAM, cycles; budgets decide the exit code."""
    from picobnn.files import write_json
    from picobnn.flow.analyze import analyze, boards_of_cores
    from picobnn.flow.image import find_program
    from picobnn.flow.run_directory import find_run

    directory = None if model is not None else find_run(call.config, run)
    config = target_overrides(config_of(call, directory), None, kernels, optimize)
    config = _with_budget(config, max_flash, max_ram, max_cycles)
    program, golden = find_program(directory, model)
    boards = (*split_list(board), *boards_of_cores(split_list(core))) or (config.target.board,)
    with_cycles = cycles or config.budget.max_cycles is not None
    result = analyze(config, program, golden, boards, with_cycles=with_cycles, say=call.say)
    if directory is not None:
        write_json(directory.analysis, result.as_dict())
    sizes = [
        (b.board, b.core, b.table_bytes, b.arena_bytes, b.ram_table_bytes, b.hot_code_bytes, b.estimated_flash_bytes,
         b.flash_bytes, b.ram_bytes)
        for b in result.boards
    ]  # fmt: skip
    size_heads = ("bytes", "core", "tables", "arena", "tables in RAM", "code in RAM", "flash est.", "flash", "RAM")
    modelled = [(b.board, b.core, b.cycles, b.cycles_up_to, b.wait_states) for b in result.boards]
    cycle_heads = ("cycles (modelled)", "core", "at zero wait states", "up to", "wait states of the flash")
    choices = [_choice(b.core, x) for b in result.boards for x in b.layers if x.estimated_cycles is not None]
    notes = [f"{b.board}: {note}" for b in result.boards for note in b.notes]
    call.finish(
        result,
        tables=[
            *(_layer_table(board) for board in result.boards),
            make_table("", size_heads, sizes),
            *([make_table("", cycle_heads, modelled)] if with_cycles else []),
            *choices,
            *notes,
        ],
        next_command="picobnn generate",
        failure=result.failure(config),
    )


def _layer_table(board: BoardAnalysis) -> Table:
    rows = [
        (x.name, x.strategy, x.input_shape, x.output_shape, x.macs, f"{x.weight_density:.2f}", x.table_bytes,
         x.flash_bytes, x.output_bytes, x.scratch_bytes, x.cycles, x.cycles_up_to)
        for x in board.layers
    ]  # fmt: skip
    heads = ("layer", "strategy", "input", "output", "MACs", "ones", "tables", "linked", "output B", "scratch B",
             "cycles", "up to")  # fmt: skip
    return make_table(f"layers on {board.board} ({board.core})", heads, rows)


def _choice(core: str, layer: LayerFacts) -> str:
    """What runs a layer, at what estimated cost, what it beat and by how much."""
    assert layer.estimated_cycles is not None
    cycles = f"{layer.estimated_cycles:,} cycles estimated for every image"
    if not layer.input_independent:
        cycles = f"{layer.estimated_cycles:,} cycles estimated on average, {layer.worst_cycles:,} with the worst image"
        if layer.golden_mean_cycles is not None:
            golden = f"{layer.golden_mean_cycles:,} on average and {layer.golden_worst_cycles:,} at worst"
            cycles = f"{golden} over the golden vectors (cycles estimated), {layer.worst_cycles:,} with the worst image"
    turned = f", and {layer.transpose_cycles:,} to transpose its input" if layer.transpose_cycles else ""
    others = sorted(layer.beat.items(), key=lambda item: item[1])
    beaten = ", ".join(
        f"{name} {estimate:,} ({100 * (estimate - layer.estimated_cycles) / max(layer.estimated_cycles, 1):+.0f} %)"
        for name, estimate in others
    )
    return f"{core}: {layer.name} runs as {layer.strategy}, {cycles}{turned}" + (
        f"; not chosen: {beaten}" if others else ""
    )


def _with_budget(config: Config, max_flash: str | None, max_ram: str | None, max_cycles: int | None) -> Config:
    given = {"max_flash": max_flash, "max_ram": max_ram, "max_cycles": max_cycles}
    document = config.model_dump(mode="json", exclude_none=True)
    document["budget"] |= {key: value for key, value in given.items() if value is not None}
    return parse_config(document, "command line")
