# SPDX-License-Identifier: Apache-2.0
"""``picobnn verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from picobnn.cli.common import Invocation, make_table
from picobnn.cli.options import ModelOption, RunOption, config_of, split_list

NAME = "verify"


def invoke(
    call: Invocation,
    run: RunOption = None,
    model: ModelOption = None,
    on: Annotated[
        str | None,
        typer.Option("--on", help="Executors, comma-separated: torch,reference,cython,host,emulator,device."),
    ] = None,
    board: Annotated[str | None, typer.Option("--board", help="Emulated boards, comma-separated.")] = None,
    vectors: Annotated[int | None, typer.Option("--vectors", min=1, help="Images to compare; default: all.")] = None,
    port: Annotated[
        str | None,
        typer.Option("--port", help="Serial port or pyserial URL of firmware that runs; implies --on device."),
    ] = None,
    firmware: Annotated[
        Path | None, typer.Option("--firmware", help="Run this generated project on the emulator instead of a new one.")
    ] = None,
) -> None:
    """Compare executors on the same images, every layer's output, for equality; names the first difference."""
    from dataclasses import replace

    from picobnn.files import write_json
    from picobnn.flow.run_directory import find_run
    from picobnn.flow.verify import request_of, verify

    directory = None if model is not None else find_run(call.config, run)
    config = config_of(call, directory)
    names = split_list(on)
    if port is not None and "device" not in names:
        names = (*names, "device")
    request = request_of(config, names, split_list(board))
    request = replace(request, vectors=vectors or request.vectors, firmware=firmware, port=port)
    result = verify(config, request, run=directory, model=model, say=call.say)
    if directory is not None:
        write_json(directory.verify_result, result.as_dict())
    rows = [(r.executor, r.vectors, r.mismatches, f"{r.seconds:.2f}") for r in result.results]
    lines = [f"skipped {name}: {why}" for name, why in result.skipped.items()]
    lines += [f"first difference: {r.first}" for r in result.results if r.first is not None]
    call.finish(
        result,
        tables=[
            make_table("compared with the reference", ("executor", "vectors", "different", "seconds"), rows),
            *lines,
        ],
        next_command=f"picobnn profile --run {directory.path}" if directory is not None else "",
        failure=result.failure(),
    )
