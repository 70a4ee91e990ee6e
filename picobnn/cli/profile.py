# SPDX-License-Identifier: Apache-2.0
"""``picobnn profile``."""

from __future__ import annotations

from typing import Annotated

import typer

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

NAME = "profile"


def invoke(
    call: Invocation,
    run: RunOption = None,
    model: ModelOption = None,
    board: Annotated[str | None, typer.Option("--board", help="Emulated boards, comma-separated.")] = None,
    kernels: KernelsOption = None,
    optimize: OptimizeOption = None,
) -> None:
    """Run one vector on emulated boards: instructions counted, cycles modelled, per layer."""
    from picobnn.flow.chain import profile_boards
    from picobnn.flow.image import find_program
    from picobnn.flow.run_directory import find_run

    directory = None if model is not None else find_run(call.config, run)
    config = target_overrides(config_of(call, directory), None, kernels, optimize)
    program, golden = find_program(directory, model)
    boards = split_list(board) or (config.target.board,)
    result = profile_boards(config, program, golden, boards, directory, say=call.say)
    tables = []
    for p in result.profiles:
        band = "without a band" if p.error_band_percent is None else f"+-{p.error_band_percent:g} %"
        rows: list[tuple[object, ...]] = [
            (x.name, x.strategy, x.macs, x.flash_bytes, x.ram_bytes, x.instructions, x.cycles, x.cycles_up_to)
            for x in p.layers
        ]
        rows.append(("total", "", sum(x.macs for x in p.layers), "", "", p.instructions, p.cycles, p.cycles_up_to))
        heads = (
            "layer",
            "strategy",
            "MACs",
            "flash B",
            "RAM B",
            "instructions (counted)",
            f"cycles (modelled, {band})",
            f"up to ({p.wait_states} ws)",
        )
        tables.append(make_table(f"{p.board} ({p.core}), not a latency", heads, rows))
    sizes = [
        (p.board, p.build.weight_bytes, p.build.flash_bytes, p.build.ram_bytes, p.cycles_per_32_macs)
        for p in result.profiles
    ]
    tables.append(make_table("", ("board", "weights", "flash", "RAM", "cycles per 32 MACs"), sizes))
    call.finish(result, tables=tables, next_command="picobnn report" if directory is not None else "")
