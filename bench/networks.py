# SPDX-License-Identifier: Apache-2.0
"""Whole networks, one image each, on the emulated board of every core: the cheapest kernels beside packed xnor.

    python bench/networks.py                      # the shapes of the two zoo networks with random weights
    python bench/networks.py --core m4 --run runs/fmnist --json

Without ``--run`` weights are random (time depends on them only through the share of set activations), and the pruned
networks have 35 % fewer filters in every layer.
Cycles are modelled at zero wait states; those of M0+ and M55 without an error band. Flash and RAM are the model's
share of the linked image. Every step's output equals the reference, or the row says that it does not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from calibration_layers import with_densities
from layer_runs import board_of, plan_for, run_plan
from workloads import ZERO_POINT, middle_threshold, random_bits

from picobnn.codegen.plan import Kernels
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, Tensor
from picobnn.codegen.vocabulary import ElementKind, PadMode, Pool, PoolStage, Scale, Shape, Window
from picobnn.errors import PicobnnError
from picobnn.flow.image import golden_vectors, load_program
from picobnn.flow.run_directory import RunDirectory

CORES = ("m0plus", "m3", "m4", "m7", "m33", "m55")
CLASSES = 10

NETWORKS = {
    "fmnist_cnn dense": (28, (32, 64, 128), 2),
    "fmnist_cnn pruned": (28, (21, 41, 83), 2),
    "digits_cnn dense": (8, (24, 32, 32), 1),
    "digits_cnn pruned": (8, (16, 21, 20), 1),
}
"""Side of the image, filters per convolution, and how many convolutions end in a pool."""

Row = dict[str, Any]


def network_program(name: str) -> Program:
    """A network of :data:`NETWORKS` with random weights: 3x3 convolutions with zero padding, pools, sums."""
    side, widths, pools = NETWORKS[name]
    rng = np.random.default_rng(len(name))
    shape = Shape(side, side, 1)
    tensors, steps = [Tensor("image", shape, ElementKind.UINT8)], []
    same, halve = Window(3, 3, 1, 1, 1, 1, 1, 1), Pool(Window(2, 2, 2, 2), PoolStage.ACC)
    for index, width in enumerate(widths):
        weights = random_bits(rng, (width, 3, 3, shape.channels), 0.5)
        pool = halve if index < pools else None
        halves = 1 if pool is None else 2
        shape = Shape(shape.height // halves, shape.width // halves, width)
        step: Step
        if index == 0:
            epilogue = middle_threshold(rng, weights, 74.0)
            step = InputConv2dStep("conv0", "", 0, 1, weights, same, pool, epilogue)
        else:
            epilogue = middle_threshold(rng, weights, 1.0)
            step = BinaryConv2dStep(f"conv{index}", "", index, index + 1, weights, same, PadMode.ZERO, pool, epilogue)
        steps.append(step)
        tensors.append(Tensor(f"map{index}", shape, ElementKind.BIT))
    weights = random_bits(rng, (CLASSES, shape.height, shape.width, shape.channels), 0.5)
    sums = Scale(np.full(CLASSES, 3, np.int32), np.zeros(CLASSES, np.int32))
    steps.append(BinaryDenseStep("dense", "", len(steps), len(steps) + 1, weights, sums))
    tensors.append(Tensor("logits", Shape(1, 1, CLASSES), ElementKind.INT32))
    return Program(name.replace(" ", "_"), ZERO_POINT, tuple(tensors), tuple(steps))


def run_network(program: Program, image: npt.NDArray[np.uint8], core: str, kernels: Kernels) -> Row:
    """One row: one image of one network on one core."""
    board = board_of(core)
    try:
        run = run_plan(plan_for(program, board, kernels), board, image)
    except PicobnnError as error:
        return {"core": core, "board": board.id, "kernels": kernels.value, "refused": error.what}
    cycles = [step.cycles for step in run.steps]
    return {
        "core": core,
        "board": board.id,
        "kernels": kernels.value,
        "strategies": [step.strategy for step in run.steps],
        "cycles": None if None in cycles else sum((s.cycles or 0) + (s.transpose_cycles or 0) for s in run.steps),
        "instructions": sum(step.instructions + step.transpose_instructions for step in run.steps),
        "macs": sum(step.macs for step in run.steps),
        "flash_bytes": run.flash_bytes,
        "ram_bytes": run.arena_bytes,
        "verified": all(step.is_equal for step in run.steps),
    }


def random_network(name: str) -> tuple[Program, npt.NDArray[np.uint8]]:
    """The program with the densities of its one random image, uint8 (H, W, C)."""
    program = network_program(name)
    shape = program.input.shape
    image = np.random.default_rng(3).integers(0, 256, (shape.height, shape.width, shape.channels), dtype=np.uint8)
    return with_densities(program, image), image


def trained_network(folder: Path) -> tuple[Program, npt.NDArray[np.uint8]]:
    """What a run exported, and its first golden image."""
    run = RunDirectory(folder)
    program = load_program(run.require(run.program, "export"))
    vectors = golden_vectors(run.golden)
    if vectors is None:
        raise SystemExit(f"{run.golden} is missing; run picobnn export")
    return program, vectors.images[0]


def line(network: str, row: Row) -> str:
    """Plain text."""
    head = f"{network:20} {row['core']:7} {row['kernels']:5}"
    if "refused" in row:
        return f"{head} refused: {row['refused']}"
    cycles = "-" if row["cycles"] is None else f"{row['cycles']:,}"
    wrong = "" if row["verified"] else "  DIFFERS FROM THE REFERENCE"
    sizes = f"{row['flash_bytes']:>8,} {row['ram_bytes']:>8,}"
    return f"{head} {cycles:>12} {row['instructions']:>12,} {sizes}  {' '.join(row['strategies'])}{wrong}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Whole networks on emulated cores, one image each.")
    parser.add_argument("--core", default=",".join(CORES), help="comma-separated")
    parser.add_argument("--network", default=",".join(NETWORKS), help="comma-separated")
    parser.add_argument("--kernels", default="xnor,auto", help="comma-separated")
    parser.add_argument("--run", type=Path, help="a trained run instead of random weights")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--write", type=Path, help="also write the JSON there")
    options = parser.parse_args(arguments)
    if options.run is not None:
        networks = {options.run.name: trained_network(options.run)}
    else:
        networks = {name: random_network(name) for name in options.network.split(",")}
    results: Row = {"weights": "random" if options.run is None else "trained", "networks": {}}
    if not options.json:
        print(f"weights: {results['weights']}; modelled cycles, counted instructions, flash and RAM in bytes")
    for name, (program, image) in networks.items():
        results["networks"][name] = []
        for core in options.core.split(","):
            for kernels in options.kernels.split(","):
                row = run_network(program, image, core, Kernels(kernels))
                results["networks"][name].append(row)
                if not options.json:
                    print(line(name, row), flush=True)
    text = json.dumps(results, indent=2, sort_keys=True) + "\n"
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")
    if options.json:
        print(text, end="")
    rows = [row for rows in results["networks"].values() for row in rows]
    return 0 if all(row.get("verified", True) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
