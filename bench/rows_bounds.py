# SPDX-License-Identifier: Apache-2.0
"""What one run of each part of ``rows`` (and ``rows_mve``) costs on a core, for the bound on its cycles; writes
``codegen/targets/bounds/<core>.toml``.

    python bench/rows_bounds.py --core m4 --write      # minutes

Runs layers as real firmware on the core's emulated board, each on inputs of many kinds, and counts exactly how often
every part of the kernel runs (``_rows_counts.py``). Coefficients that are not negative are fitted to the modelled
cycles and then raised together until no run costs more than they say, and by another 0.3 percent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from fan_plans import plan_fan
from layer_runs import modelled_cycles, roomy_board_of

from picobnn.codegen.plan import Plan
from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Program, Step, Tensor
from picobnn.codegen.strategies import find_strategy
from picobnn.codegen.strategies._rows_counts import Adder, Counts, adder_of, counts_of
from picobnn.codegen.targets import Board, InstructionSet
from picobnn.codegen.targets.bounds import bounds_text
from picobnn.codegen.vocabulary import (
    PLUS_MINUS_ONE,
    ElementKind,
    PadMode,
    Pool,
    PoolStage,
    Shape,
    Threshold,
    WeightDomain,
    Window,
)
from picobnn.sim.reference import run_step

BitArray = npt.NDArray[np.uint8]
ZERO_POINT = 128
ROOT = Path(__file__).resolve().parents[1]

NEAR = 0.85
"""Of the most that a layer took: what runs near it decides by how much coefficients are raised."""

FAR_WEIGHT = 0.2
ALLOWANCE = 1.003
"""On top, for layers that were not run."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution with square windows, or without ``kernel`` a dense layer."""

    filters: int
    kernel: int = 0
    stride: int = 1
    pad: int = 0
    mode: PadMode = PadMode.MINUS_ONE
    pool: Pool | None = None
    domain: WeightDomain = PLUS_MINUS_ONE
    flips: bool = False


M, Z = PadMode.MINUS_ONE, PadMode.ZERO
ACC2, BIT2 = Pool(Window(2, 2, 2, 2), PoolStage.ACC), Pool(Window(2, 2, 2, 2), PoolStage.BIT)
WIDE = Pool(Window(3, 3, 2, 2, 1, 1, 1, 1), PoolStage.BIT)
SHARED = WeightDomain(3, -1)

FANS: tuple[tuple[Shape, tuple[Layer, ...]], ...] = (
    (
        Shape(8, 8, 64),
        (
            Layer(64, 3, pad=1),
            Layer(64, 3, pad=1, mode=Z),
            Layer(32, 3),
            Layer(128, 1),
            Layer(64, 3, 2, 1),
            Layer(96, 3, 2, 1, Z, flips=True),
            Layer(40, 5, pad=2),
            Layer(32, 1, 2),
            Layer(64, 3, pad=1, pool=ACC2, flips=True),
            Layer(160, 3, pad=1, mode=Z, pool=BIT2, flips=True),
            Layer(32, 3, pad=1, domain=SHARED),
            Layer(96),
            Layer(32, domain=SHARED),
        ),
    ),
    (
        Shape(13, 9, 40),
        (
            Layer(33, 3, pad=1),
            Layer(48, 3, pad=1, mode=Z, pool=WIDE),
            Layer(31, 2),
            Layer(64, 1),
            Layer(200, 1, flips=True),
            Layer(64, 1, pad=1),
            Layer(64, 5, 2, 1),
            Layer(32, 7, pad=3, mode=Z),
            Layer(24, 3, pad=2),
            Layer(64, 3, pad=1, mode=Z, domain=SHARED),
            Layer(64, 3, pad=1, pool=WIDE, flips=True),
            Layer(300),
        ),
    ),
    (
        Shape(6, 7, 128),
        (
            Layer(128, 3, pad=1),
            Layer(32, 3, pad=1),
            Layer(256, 1),
            Layer(32, 3, 2, 1),
            Layer(64, 4, pad=2, mode=Z, flips=True),
            Layer(160, 3, pad=1, pool=ACC2),
            Layer(128, 2, 2),
            Layer(10),
            Layer(128, flips=True),
        ),
    ),
    (
        Shape(16, 16, 16),
        (
            Layer(32, 3, pad=1),
            Layer(96, 3, pad=1, mode=Z),
            Layer(32, 3, pad=1, pool=BIT2),
            Layer(64, 1),
            Layer(16, 5, pad=2),
            Layer(64, 3, 2, 1),
            Layer(32, 3, 1, 1, domain=SHARED, flips=True),
            Layer(64),
        ),
    ),
    (Shape(4, 4, 256), (Layer(64, 3, pad=1), Layer(32, 1), Layer(160), Layer(64, 2, 2, flips=True))),
    (
        Shape(8, 8, 8),
        (Layer(32, 3, pad=1), Layer(64, 1), Layer(32), Layer(32, 3, 2, 1), Layer(64, 3, pad=1, pool=ACC2)),
    ),
)
VECTORS = (
    (
        Shape(6, 7, 64),
        (
            Layer(128, 3, pad=1),
            Layer(256, 3, pad=1, mode=Z, flips=True),
            Layer(160, 1),
            Layer(130, 5, 2, 2),
            Layer(128, 3, pad=1, domain=SHARED),
            Layer(256, 3, pad=1, pool=ACC2),
            Layer(300),
            Layer(128),
        ),
    ),
)
"""More for cores with vectors, where 128 channels fill one."""


def bits_layer(channels: int) -> InputConv2dStep:
    """A 1x1 layer with a row of a Hadamard matrix for every channel: any bits have an image."""
    matrix = np.ones((1, 1), np.int8)
    while len(matrix) < channels:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    weights = (matrix[:channels] > 0).astype(np.uint8)[:, None, None, :]
    none = np.zeros(channels, np.uint8)
    return InputConv2dStep("bits", "", 0, 1, weights, Window(1, 1), None, Threshold(none.astype(np.int32), none))


def image_of(step: InputConv2dStep, bits: BitArray) -> BitArray:
    """uint8 (H, W, D) whose bits are these, up to few where channels are many and most of their signs agree."""
    signs = 2 * step.weights[:, 0, 0].astype(np.int64) - 1
    values = (2 * bits.astype(np.int64) - 1) @ signs
    return np.clip(values + ZERO_POINT, 0, 255).astype(np.uint8)


def fan_of(
    shape: Shape, layers: Sequence[Layer], board: Board, name: str, seed: int = 0
) -> tuple[Plan, tuple[Layer, ...]]:
    """Those layers of the fan that the strategy accepts."""
    rng = np.random.default_rng(seed)
    first = bits_layer(shape.channels)
    depth = first.weights.shape[3]
    tensors = [
        Tensor("image", Shape(shape.height, shape.width, depth), ElementKind.UINT8),
        Tensor("bits", shape, ElementKind.BIT),
    ]
    steps: list[Step] = [first]
    taken = []
    for layer in layers:
        index = len(steps)
        step, output = _step(rng, layer, shape, index)
        program = Program(
            "bounds", ZERO_POINT, (*tensors, Tensor(f"out{index}", output, ElementKind.BIT)), (*steps, step)
        )
        if find_strategy(name).accepts(step, program, board.target) is None:
            tensors, steps = list(program.tensors), list(program.steps)
            taken.append(layer)
    program = Program("bounds", ZERO_POINT, tuple(tensors), tuple(steps))
    return plan_fan(program, [name] * (len(steps) - 1), board.target), tuple(taken)


def _step(rng: np.random.Generator, layer: Layer, shape: Shape, index: int) -> tuple[Step, Shape]:
    flips = rng.integers(0, 2, layer.filters).astype(np.uint8) * np.uint8(layer.flips)
    if not layer.kernel:
        weights = rng.integers(0, 2, (layer.filters, shape.height, shape.width, shape.channels)).astype(np.uint8)
        output = Shape(1, 1, layer.filters)
    else:
        weights = rng.integers(0, 2, (layer.filters, layer.kernel, layer.kernel, shape.channels)).astype(np.uint8)
        window = Window(layer.kernel, layer.kernel, layer.stride, layer.stride, *[layer.pad] * 4)
        size = window.output_size(shape.height, shape.width)
        size = size if layer.pool is None else layer.pool.window.output_size(*size)
        output = Shape(*size, layer.filters)
    # Thresholds anywhere in reach: then some lane carries into the upper planes nearly whenever one can.
    reach = weights[0].size
    threshold = Threshold(rng.integers(-reach, reach + 1, layer.filters).astype(np.int32), flips)
    if not layer.kernel:
        return BinaryDenseStep(f"l{index}", "", 1, index + 1, weights, threshold, layer.domain), output
    return (
        BinaryConv2dStep(
            f"l{index}", "", 1, index + 1, weights, window, layer.mode, layer.pool, threshold, layer.domain
        ),
        output,
    )


def some_bits(rng: np.random.Generator, shape: Shape) -> list[BitArray]:
    """Shares of ones from 0 to 1, spread evenly, by pixel, by row and by column; few bits per word."""
    size = (shape.height, shape.width, shape.channels)
    found = [np.zeros(size, np.uint8), np.ones(size, np.uint8)]
    found += [(rng.random(size) < share).astype(np.uint8) for share in (0.02, 0.1, 0.3, 0.5, 0.5, 0.52, 0.7, 0.95)]
    for axes in ((1, 1, 0), (1, 0, 0), (0, 1, 0)):
        extent = [side if keep else 1 for side, keep in zip(size, axes, strict=True)]
        wholes = [rng.random(extent) < share for share in (0.35, 0.5, 0.65)]
        found += [np.broadcast_to(whole, size).astype(np.uint8).copy() for whole in wholes]
        found.append((rng.random(size) < rng.random(extent)).astype(np.uint8))
    graded = np.broadcast_to(np.arange(shape.channels) < shape.channels // 2, size).astype(np.uint8)
    return [*found, graded.copy(), (1 - graded).astype(np.uint8)]


@dataclass(frozen=True, slots=True)
class Sample:
    """One layer on one input."""

    layer: str
    counts: Counts
    cycles: int


def adder_for(step: Step, board: Board, name: str) -> Adder:
    assert not isinstance(step, InputConv2dStep)
    return adder_of(step, has_vectors=name == "rows_mve", is_v6m=board.target.isa is InstructionSet.V6M)


def samples_of(plan: Plan, board: Board, name: str, bits: Sequence[BitArray]) -> list[Sample]:
    program = plan.program
    first = program.steps[0]
    assert isinstance(first, InputConv2dStep)
    images = [image_of(first, each) for each in bits]
    cycles = modelled_cycles(plan, board, images)
    found = []
    for image, run in zip(images, cycles, strict=True):
        seen = np.asarray(run_step(program, first, image[None]))[0].astype(np.uint8)
        for index, step in enumerate(program.steps[1:], start=1):
            assert not isinstance(step, InputConv2dStep)
            counts = counts_of(step, program, seen, adder_for(step, board, name))
            found.append(Sample(f"{program.tensors[1].shape} {step.name}", counts, run[index]))
    return found


def fit(found: Sequence[Sample]) -> dict[str, float]:
    """Cycles by part that no sample near the most of its layer exceeds; the others count less."""
    names = sorted({name for sample in found for name in sample.counts})
    most: dict[str, int] = {}
    for sample in found:
        most[sample.layer] = max(sample.cycles, most.get(sample.layer, 0))
    cycles = np.array([sample.cycles for sample in found], float)
    is_near = np.array([sample.cycles > NEAR * most[sample.layer] for sample in found])
    matrix = np.array([[sample.counts.get(name, 0.0) for name in names] for sample in found]) / cycles[:, None]
    scale = np.maximum(np.linalg.norm(matrix, axis=0), 1e-300)
    weight = np.where(is_near, 1.0, FAR_WEIGHT)
    solution = non_negative(matrix / scale * weight[:, None], weight) / scale
    ratios = matrix @ solution
    solution *= ALLOWANCE / ratios[is_near].min()
    print(f"raised by {100 / ratios[is_near].min() - 100:.2f} %; {len(found)} runs", file=sys.stderr)
    for index in np.argsort(ratios + 9.0 * ~is_near)[:3]:
        print(f"  {found[index].layer}: {100 * ratios[index] - 100:+.2f} %", file=sys.stderr)
    return dict(zip(names, solution.tolist(), strict=True))


def non_negative(matrix: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The least squares solution x >= 0 (Lawson and Hanson, 1974); columns that are 0 stay 0."""
    solution = np.zeros(matrix.shape[1])
    chosen = np.zeros(matrix.shape[1], bool)
    for _ in range(10 * matrix.shape[1]):
        gradient = np.where(chosen, -np.inf, matrix.T @ (target - matrix @ solution))
        if gradient.max() <= 1e-9:
            break
        chosen[np.argmax(gradient)] = True
        while True:
            trial = np.zeros_like(solution)
            trial[chosen] = np.linalg.lstsq(matrix[:, chosen], target, rcond=None)[0]
            below = chosen & (trial <= 0)
            if not below.any():
                break
            step = (solution[below] / (solution[below] - trial[below])).min()
            solution = solution + step * (trial - solution)
            chosen &= solution > 1e-12
        solution = trial
    return solution


def calibrate(board: Board, name: str) -> tuple[dict[str, float], int]:
    """Cycles by part, and the number of runs that they bound."""
    rng, found = np.random.default_rng(1), list[Sample]()
    programs = []
    for number, (shape, layers) in enumerate((*FANS, *(VECTORS if name == "rows_mve" else ()))):
        plan, taken = fan_of(shape, layers, board, name, number)
        if taken:
            programs.append(plan.program)
            found += samples_of(plan, board, name, some_bits(rng, shape))
    parts = fit(found)
    most: dict[str, float] = {}
    for program in programs:
        shape = program.tensors[1].shape
        for step in program.steps[1:]:
            bound = find_strategy(name).most_cycles(step, program, board.target, parts)
            most[f"{shape} {step.name}"] = bound
    above = [sample.layer for sample in found if sample.cycles > most[sample.layer]]
    if above:
        raise SystemExit(f"above the bound: {above}")
    return parts, len(found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fit the parts of rows for its bound.")
    parser.add_argument("--core", required=True, help="m0, m0plus, m3, m4, m7, m33 or m55")
    parser.add_argument("--write", action="store_true", help="write codegen/targets/bounds/<core>.toml")
    options = parser.parse_args(arguments)
    board = roomy_board_of(options.core)
    names = ["rows", "rows_mve"] if board.target.isa is InstructionSet.MVE else ["rows"]
    parts, runs = {}, 0
    for name in names:
        parts[name], more = calibrate(board, name)
        runs += more
    text = bounds_text(board.target.core, f"bench/rows_bounds.py on {board.id}, {runs} runs of layers", parts)
    if options.write:
        path = ROOT / "codegen" / "targets" / "bounds" / f"{board.target.core}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
