# SPDX-License-Identifier: Apache-2.0
"""Fits the cost coefficients of every kernel on a core and writes ``codegen/targets/costs/<core>.toml``.

    python bench/calibrate.py --core m4 --write      # hundreds of firmwares: many minutes
    python bench/calibrate.py --core m0plus --json --cache ~/.cache/picobnn/steps  # runs only what is not there
    python bench/calibrate.py --core m4 --code --write  # the bytes of code alone

Runs the programs of ``calibration_layers.py`` as real firmware on the core's emulated board, with each strategy forced
wherever it accepts, and fits non-negative coefficients to the relative error of modelled cycles (counted instructions
where a core has no cycle model). What a strategy does per layer are its own ``cost_terms``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from calibration_layers import CHAINS, chain_program
from code_sections import compiled_sizes
from layer_runs import RunFigures, plan_for, roomy_board_of, run_plan
from step_cache import StepCache

from picobnn.codegen.cost import transpose_terms
from picobnn.codegen.plan import Kernels, Plan
from picobnn.codegen.program import InputConv2dStep, Program
from picobnn.codegen.strategies import STRATEGIES, CostTerm, find_strategy
from picobnn.codegen.targets import Board
from picobnn.codegen.targets.code_sizes import CodeSizes
from picobnn.codegen.targets.costs import TRANSPOSE, CoreCosts, CostBasis, KernelCosts, costs_text, load_costs
from picobnn.errors import ErrorId, PicobnnError
from picobnn.sim.cycles import find_model

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 20000
NO_COSTS = CoreCosts("", CostBasis.COUNTED, "", {})
"""Nothing is estimated here: the terms may be newer than the coefficients."""

FIRST = ("direct", "subset")
"""The strategies that read the image."""


CODE_CHAINS = (1, 6, 8, 25, 30, 35, 39, 50)
"""Programs in which every strategy of every core comes up, of one to eight steps."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One layer as it ran: what the kernel did and what it took."""

    layer: str
    terms: tuple[CostTerm, ...]
    cost: int


def samples(
    board: Board, chains: Sequence[int], strategies: Sequence[str], cache_folder: Path | None = None
) -> dict[str, list[Sample]]:
    """Of every strategy and of the transposes, by kernel, each layer once. What is in ``cache_folder`` does not run
    again; plans that do not fit the board are left out."""
    found: dict[str, dict[str, Sample]] = defaultdict(dict)
    known = StepCache(cache_folder, board)
    for number in chains:
        program, image = chain_program(number)
        known.begin(program, image)
        for forced in _choices(program, board, strategies):
            plan = plan_for(program, board, Kernels.XNOR, forced=forced, costs=NO_COSTS)
            if not known.has_all(plan):
                try:
                    run = run_plan(plan, board, image)
                except PicobnnError as error:
                    if error.error_id is ErrorId.DOES_NOT_FIT:
                        print(
                            f"program {number} does not fit {board.id} with {sorted({*forced.values()})}",
                            file=sys.stderr,
                        )
                        continue
                    raise SystemExit(f"program {number} with {sorted({*forced.values()})}: {error}") from error
                _keep(known, plan, run, number)
            for index, planned in enumerate(plan.steps):
                label, step = f"{number}.{index}", program.steps[index]
                terms = find_strategy(planned.strategy).cost_terms(step, program, board.target)
                found[planned.strategy][label] = Sample(label, terms, known.find(index, planned.strategy) or 0)
                if planned.transpose_bytes:
                    terms = transpose_terms(program.tensors[step.input].shape, planned.input_layout)
                    cost = known.find_transpose(index, planned.input_layout)
                    found[TRANSPOSE][f"{label} {planned.input_layout.value}"] = Sample(label, terms, cost or 0)
        known.save()
    return {name: list(rows.values()) for name, rows in found.items()}


def _keep(known: StepCache, plan: Plan, run: RunFigures, number: int) -> None:
    """Raises SystemExit where a step differs from the reference."""
    for index, figures in enumerate(run.steps):
        if not figures.is_equal:
            raise SystemExit(f"program {number}, step {index}, {figures.strategy}: differs from the reference")
        is_counted = figures.cycles is None
        known.keep(index, figures.strategy, (figures.instructions if is_counted else figures.cycles) or 0)
        if plan.steps[index].transpose_bytes:
            cost = figures.transpose_instructions if is_counted else figures.transpose_cycles
            known.keep_transpose(index, plan.steps[index].input_layout, cost or 0)


def linked_code(board: Board) -> CodeSizes:
    """What code takes on the board's core: nothing runs, each choice of kernels is compiled once."""
    plans: dict[tuple[int, tuple[str, ...]], Plan] = {}
    for number in CODE_CHAINS:
        program, _ = chain_program(number)
        for forced in _choices(program, board, [strategy.name for strategy in STRATEGIES]):
            plan = plan_for(program, board, Kernels.XNOR, forced=forced, costs=NO_COSTS)
            plans[number, tuple(step.strategy for step in plan.steps)] = plan
    return compiled_sizes(board, [*plans.values()])


def _choices(program: Program, board: Board, strategies: Sequence[str]) -> list[dict[int, str]]:
    """One per strategy: forced wherever it accepts."""
    chosen = [find_strategy(name) for name in strategies]
    choices: list[dict[int, str]] = []
    firsts = [s.name for s in chosen if s.accepts(program.steps[0], program, board.target) is None] or ["direct"]
    others = [s.name for s in chosen if s.name not in FIRST] if len(program.steps) > 1 else []
    others = others or [""]
    for turn in range(max(len(firsts), len(others))):
        forced = {0: firsts[turn % len(firsts)]}
        for index, step in enumerate(program.steps):
            name = others[turn % len(others)]
            if name and not isinstance(step, InputConv2dStep):
                strategy = find_strategy(name)
                if strategy.accepts(step, program, board.target) is None:
                    forced[index] = name
                elif find_strategy("xnor").accepts(step, program, board.target) is not None:
                    forced[index] = next(s.name for s in STRATEGIES if s.accepts(step, program, board.target) is None)
        choices.append(forced)
    return choices


def fit(rows: Sequence[Sample]) -> tuple[dict[str, float], npt.NDArray[np.float64]]:
    """Coefficients by term, and the relative error of every sample (estimated / modelled - 1)."""
    names = [term.name for term in rows[0].terms]
    costs = np.array([row.cost for row in rows], float)
    counts = np.array([[term.mean for term in row.terms] for row in rows], float) / costs[:, None]
    scale = np.maximum(np.linalg.norm(counts, axis=0), 1e-300)
    solution = _non_negative_least_squares(counts / scale, np.ones(len(rows))) / scale
    used = np.abs(counts).sum(axis=0) > 0
    coefficients = {name: round(float(value), 4) for name, value in zip(names, solution * used, strict=True)}
    return coefficients, counts @ (solution * used) - 1.0


def _non_negative_least_squares(
    matrix: npt.NDArray[np.float64], target: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Coordinate descent on ``|matrix @ x - target|`` with x >= 0; columns have length 1 or 0."""
    gram, right = matrix.T @ matrix, matrix.T @ target
    solution = np.zeros(matrix.shape[1])
    active = [index for index in range(len(solution)) if gram[index, index] > 0]
    for _ in range(ROUNDS):
        change = 0.0
        for index in active:
            step = (right[index] - gram[index] @ solution) / gram[index, index]
            new = max(0.0, solution[index] + step)
            change = max(change, abs(new - solution[index]))
            solution[index] = new
        if change < 1e-12:
            break
    return solution


def calibrate(
    core: str, chains: Sequence[int], strategies: Sequence[str], cache_folder: Path | None = None
) -> tuple[CoreCosts, dict[str, dict[str, float]]]:
    """The coefficients of a core, and per kernel its residuals in percent (largest, mean) and samples."""
    board = roomy_board_of(core)
    found = samples(board, chains, strategies, cache_folder)
    kernels, residuals = {}, {}
    known = load_costs(board.target.core)
    is_part = set(strategies) != {strategy.name for strategy in STRATEGIES} or len(chains) < len(CHAINS)
    for name, rows in sorted(found.items()):
        if name not in (*strategies, TRANSPOSE):
            continue  # it only stood in where the others refuse
        if name == TRANSPOSE and is_part and known is not None and TRANSPOSE in known.kernels:
            continue  # fitted to more layers
        coefficients, errors = fit(rows)
        largest = round(100 * float(np.abs(errors).max()), 1)
        kernels[name] = KernelCosts(coefficients, largest)
        residuals[name] = {
            "largest": largest,
            "mean": round(100 * float(np.abs(errors).mean()), 1),
            "samples": float(len(rows)),
        }
        for row, error in sorted(zip(rows, errors, strict=True), key=lambda pair: -abs(pair[1]))[:3]:
            print(f"  {name} {row.layer}: {100 * error:+.1f} % of {row.cost:,}", file=sys.stderr)
    basis = CostBasis.COUNTED if find_model(board.target.core) is None else CostBasis.MODELLED
    source = f"bench/calibrate.py on {board.id}, {len(chains)} programs"
    if known is not None:
        kernels = {**known.kernels, **kernels}
        if is_part:
            source = known.source
    if TRANSPOSE not in kernels:
        kernels[TRANSPOSE] = KernelCosts(_borrowed().kernels[TRANSPOSE].coefficients, 100.0)
        print(f"nothing transposes on {board.target.core}: its coefficients are cortex-m4's", file=sys.stderr)
    return CoreCosts(board.target.core, basis, source, kernels, linked_code(board)), residuals


def with_code(core: str) -> CoreCosts:
    """What is known of a calibrated core, with the bytes of code anew."""
    board = roomy_board_of(core)
    known = load_costs(board.target.core)
    assert known is not None, f"{core} has no coefficients yet"
    return dataclasses.replace(known, code=linked_code(board))


def _borrowed() -> CoreCosts:
    """The costs of Cortex-M4, for what cannot be measured on a core because no kernel of it needs that."""
    found = load_costs("cortex-m4")
    assert found is not None
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fit the cost coefficients of a core.")
    parser.add_argument("--core", required=True, help="m0, m0plus, m3, m4, m7, m33 or m55")
    parser.add_argument("--chains", help="numbers of programs, comma-separated; without it all of them")
    names = [strategy.name for strategy in STRATEGIES]
    parser.add_argument("--strategies", default=",".join(names), help="comma-separated; others keep what they have")
    parser.add_argument("--write", action="store_true", help="write codegen/targets/costs/<core>.toml")
    parser.add_argument("--cache", type=Path, help="folder that keeps what ran; without it everything runs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--code", action="store_true", help="only what code takes, of all strategies: nothing runs")
    options = parser.parse_args(arguments)
    chains = [*range(len(CHAINS))]
    if options.chains is not None:
        chains = [int(number) for number in options.chains.split(",")]
    strategies = options.strategies.split(",")
    if options.code and (options.chains is not None or options.strategies != ",".join(names)):
        parser.error("--code is of all programs and strategies")
    if options.code:
        costs, residuals = with_code(options.core), {}
    else:
        costs, residuals = calibrate(options.core, chains, strategies, options.cache)
    if options.write:
        path = ROOT / "codegen" / "targets" / "costs" / f"{costs.core}.toml"
        path.write_text(costs_text(costs), encoding="utf-8")
    if options.json:
        print(json.dumps({"core": costs.core, "residual_percent": residuals}, sort_keys=True))
    else:
        for name, row in residuals.items():
            errors = f"largest {row['largest']:5.1f} %  mean {row['mean']:4.1f} %"
            print(f"{costs.core} {name:10} {errors}  ({row['samples']:.0f} layers)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
