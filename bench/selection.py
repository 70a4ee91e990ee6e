# SPDX-License-Identifier: Apache-2.0
"""Whether the choice of kernels is a good one: random networks, every kernel of every layer executed.

    python bench/selection.py                        # cores m0, m3 and m4; an hour
    python bench/selection.py --core m4 --seeds 0,1  # prints a table; bench/results/selection.json keeps all rows

Per network and core: every strategy of every layer, and every transpose that two neighbours may need, runs as real
firmware on the emulated board (one image covers as many of them as a chain of layers can hold). The best plan is
found by trying all combinations of these executed costs. The best and the chosen plan are then executed whole, always.
Costs are modelled cycles at zero wait states. Rows of the same kernels and coefficients are not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from calibration_layers import Chain, Conv, build_chain
from layer_runs import RunFigures, StepFigures, plan_for, roomy_board_of, run_plan
from step_cache import StepCache

from picobnn.codegen.cost import step_cost, transpose_cost
from picobnn.codegen.plan import Kernels, Layout, Optimize, Plan
from picobnn.codegen.program import Program
from picobnn.codegen.strategies import STRATEGIES, find_strategy
from picobnn.codegen.targets import Board
from picobnn.codegen.targets.costs import load_costs
from picobnn.codegen.vocabulary import Shape
from picobnn.codegen.ways import joins
from picobnn.files import write_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "selection.json"
CORES = ("m0", "m3", "m4")
SEEDS = 24
WITHIN_BEST = 3.0
WITHIN_ESTIMATE = 5.0
"""Percent."""

CODE = (
    "bench/calibration_layers.py",
    "bench/layer_runs.py",
    "bench/workloads.py",
    "codegen/budget.py",
    "codegen/cost.py",
    "codegen/runtime_code.py",
    "codegen/search.py",
    "codegen/search_bounds.py",
    "codegen/select.py",
    "codegen/stages.py",
    "codegen/strategies",
    "codegen/ways.py",
    "firmware_templates/kernels",
    "firmware_templates/runtime",
    "sim/cycles",
)
"""What decides the figures of a row, beside its core's costs: a row of other code is run again."""

Row = dict[str, Any]
Part = tuple[int, str | Layout]
"""A step with a strategy, or a tensor with the layout that it is transposed into."""


def random_chain(seed: int) -> Chain:
    """Three to six layers that fit the smallest board: two to four convolutions, then one or two dense layers."""
    rng = np.random.default_rng(1000 + seed)

    def pick(*options: int) -> int:
        return int(rng.choice(options))

    height, width = pick(7, 8, 10, 12, 14, 16, 20), pick(7, 8, 10, 12, 14, 16, 20)
    convolutions = [Conv(pick(16, 24, 32, 40, 64), pick(3, 3, 5), pool=bool(rng.random() < 0.4))]
    side = min(height, width) // (2 if convolutions[0].pool else 1)
    for _ in range(pick(1, 2, 2, 3)):
        kernel, stride = pick(1, 3, 3, 3), pick(1, 1, 1, 2)
        can_pool = stride == 1 and kernel > 1 and side >= 6
        pool = can_pool and bool(rng.random() < 0.4)
        conv = Conv(pick(16, 20, 32, 48, 64, 64, 96, 128), kernel, stride, zero=bool(rng.random() < 0.4), pool=pool)
        convolutions.append(conv)
        side = -(-side // stride) // (2 if pool else 1)
    dense = (pick(32, 64, 100), 10) if rng.random() < 0.5 else (10,)
    return Shape(height, width, pick(1, 3)), tuple(convolutions), dense


@dataclass(frozen=True, slots=True)
class Executed:
    """Modelled cycles as executed. ``layers``: by step and strategy; ``transposes``: by tensor and wanted layout."""

    layers: Mapping[tuple[int, str], int]
    transposes: Mapping[tuple[int, Layout], int]


def accepted(program: Program, board: Board) -> list[list[str]]:
    """The strategies of every step that may be chosen."""
    costs = load_costs(board.target.core)
    assert costs is not None
    known = [strategy for strategy in STRATEGIES if strategy.name in costs.kernels]
    return [
        [each.name for each in known if each.accepts(step, program, board.target) is None] for step in program.steps
    ]


def all_parts(program: Program, names: Sequence[Sequence[str]]) -> set[Part]:
    """Each strategy of each step, and each transpose of each tensor."""
    parts: set[Part] = {(i, name) for i, row in enumerate(names) for name in row}
    for index in range(1, len(names)):
        for before, name in itertools.product(names[index - 1], names[index]):
            wanted = _transposed(program, index, before, name)
            parts |= {(index, wanted)} if wanted is not None else set()
    return parts


def covering_runs(program: Program, names: Sequence[Sequence[str]], parts: Set[Part]) -> list[tuple[str, ...]]:
    """Few assignments of strategies in which each of the ``parts`` comes up.

    Each is the chain with most of what is still missing, by dynamic programming over the last strategy.
    """
    missing, runs = {*parts}, []
    while missing:
        # Per last strategy: how much of what is missing the best chain to it holds, and that chain.
        front: dict[str, tuple[int, tuple[str, ...]]] = {
            name: (int((0, name) in missing), (name,)) for name in names[0]
        }
        for index in range(1, len(names)):
            reached = {}
            for name in names[index]:
                ways = []
                for before, (gain, chain) in front.items():
                    if _joined(program, index, before, name):
                        found = {(index, name), (index, _transposed(program, index, before, name))} & missing
                        ways.append((gain + len(found), (*chain, name)))
                if ways:
                    reached[name] = max(ways)
            front = reached
        gain, chain = max(front.values())
        assert gain, f"no chain of layers runs {missing}"
        missing -= {(index, name) for index, name in enumerate(chain)}
        for index in range(1, len(chain)):
            missing -= {(index, _transposed(program, index, chain[index - 1], chain[index]))}  # type: ignore[arg-type]
        runs.append(chain)
    return runs


def _transposed(program: Program, index: int, before: str, name: str) -> Layout | None:
    """The layout that step ``index`` transposes its input into, None where it reads what was written."""
    wanted = find_strategy(name).input_layout(program.steps[index])
    if not _joined(program, index, before, name):
        return None
    return None if find_strategy(before).output_layout(program.steps[index - 1]) is wanted else wanted


def _joined(program: Program, index: int, before: str, name: str) -> bool:
    stored = find_strategy(before).output_layout(program.steps[index - 1])
    return joins(stored, find_strategy(name).input_layout(program.steps[index]))


def execute(program: Program, image: npt.NDArray[np.uint8], board: Board, cache_folder: Path | None = None) -> Executed:
    """Runs all kernels of all layers, those that are in ``cache_folder`` excepted. Raises SystemExit where one differs
    from the reference."""
    known, names = StepCache(cache_folder, board), accepted(program, board)
    known.begin(program, image)
    parts = all_parts(program, names)
    for chain in covering_runs(program, names, {part for part in parts if _find(known, part) is None}):
        plan, run = run_forced(program, image, board, chain)
        for index, figures in enumerate(run.steps):
            cycles, around = _cycles(figures)
            known.keep(index, figures.strategy, cycles)
            if plan.steps[index].transpose_bytes:
                known.keep_transpose(index, plan.steps[index].input_layout, around)
    known.save()
    layers: dict[tuple[int, str], int] = {}
    transposes: dict[tuple[int, Layout], int] = {}
    for index, what in parts:
        cycles = _find(known, (index, what)) or 0
        if isinstance(what, Layout):
            transposes[index, what] = cycles
        else:
            layers[index, what] = cycles
    return Executed(layers, transposes)


def _find(known: StepCache, part: Part) -> int | None:
    index, what = part
    return known.find_transpose(index, what) if isinstance(what, Layout) else known.find(index, what)


def run_forced(
    program: Program, image: npt.NDArray[np.uint8], board: Board, chain: Sequence[str]
) -> tuple[Plan, RunFigures]:
    """Runs one assignment of strategies. Raises SystemExit where a step differs from the reference."""
    plan = plan_for(program, board, Kernels.XNOR, forced=dict(enumerate(chain)))
    run = run_plan(plan, board, image)
    wrong = [index for index, figures in enumerate(run.steps) if not figures.is_equal]
    if wrong:
        raise SystemExit(f"{board.id}, {chain}: steps {wrong} differ from the reference")
    return plan, run


def best_by_search(program: Program, executed: Executed, names: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], int]:
    """All combinations tried: the cheapest, and its cycles as the sum of executed ones."""
    best: tuple[int, tuple[str, ...]] | None = None
    for chain in itertools.product(*names):
        total = 0
        for index, name in enumerate(chain):
            total += executed.layers[index, name]
            if index:
                if not _joined(program, index, chain[index - 1], name):
                    break
                wanted = _transposed(program, index, chain[index - 1], name)
                total += executed.transposes[index, wanted] if wanted is not None else 0
        else:
            if best is None or (total, chain) < best:
                best = total, chain
    assert best is not None
    return best[1], best[0]


def measure(seed: int, core: str, cache_folder: Path | None = None) -> Row:
    """One row: one network on one core."""
    board = roomy_board_of(core)
    program, image = build_chain(random_chain(seed), seed)
    names = accepted(program, board)
    executed = execute(program, image, board, cache_folder)
    best, best_sum = best_by_search(program, executed, names)
    chosen_plan = plan_for(program, board, Kernels.AUTO, Optimize.SPEED)
    chosen = tuple(step.strategy for step in chosen_plan.steps)
    _, best_run = run_forced(program, image, board, best)
    chosen_run = best_run if chosen == best else run_forced(program, image, board, chosen)[1]
    best_cycles, chosen_cycles = _total(best_run), _total(chosen_run)
    estimated = sum((0 if s.cost is None else s.cost.cycles) + (s.transpose_cycles or 0) for s in chosen_plan.steps)
    return {
        "seed": seed,
        "core": board.target.core,
        "network": [f"{step.name} {'x'.join(map(str, step.weights.shape))}" for step in program.steps],
        "best": list(best),
        "best_sum_of_layers": best_sum,
        "best_cycles": best_cycles,
        "chosen": list(chosen),
        "chosen_cycles": chosen_cycles,
        "above_best_percent": percent(chosen_cycles, best_cycles),
        "estimated_cycles": estimated,
        "estimate_error_percent": percent(estimated, chosen_cycles),
        "layers": _layer_rows(program, board, executed),
        "transposes": _transpose_rows(program, board, executed),
    }


def percent(value: int, reference: int) -> float:
    """How far ``value`` is above ``reference``."""
    return round(100.0 * (value - reference) / reference, 2)


def _layer_rows(program: Program, board: Board, executed: Executed) -> list[Row]:
    costs, rows = load_costs(board.target.core), []
    for (index, name), cycles in sorted(executed.layers.items()):
        cost = step_cost(find_strategy(name), program.steps[index], program, board.target, costs)
        assert cost is not None
        row = {"step": index, "strategy": name, "cycles": cycles, "estimated_cycles": cost.cycles}
        rows.append({**row, "estimate_error_percent": percent(cost.cycles, cycles)})
    return rows


def _transpose_rows(program: Program, board: Board, executed: Executed) -> list[Row]:
    costs, rows = load_costs(board.target.core), []
    for (index, layout), cycles in sorted(executed.transposes.items(), key=lambda item: (item[0][0], item[0][1].value)):
        estimated = transpose_cost(program.tensors[index].shape, layout, costs) or 0
        row = {"tensor": index, "into": layout.value, "cycles": cycles, "estimated_cycles": estimated}
        rows.append({**row, "estimate_error_percent": percent(estimated, cycles)})
    return rows


def _cycles(figures: StepFigures) -> tuple[int, int]:
    if figures.cycles is None or figures.transpose_cycles is None:
        raise SystemExit("the core has no cycle model: nothing to compare")
    return figures.cycles, figures.transpose_cycles


def _total(run: RunFigures) -> int:
    return sum(sum(_cycles(figures)) for figures in run.steps)


def code_digest(core: str) -> str:
    """Of all files that decide a core's figures."""
    digest = hashlib.sha256()
    for name in (*CODE, f"codegen/targets/costs/{core}.toml"):
        root = ROOT / name
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def summary(rows: Sequence[Row]) -> Row:
    """Of one core's rows: the largest distances, and how often each strategy was chosen and the error of each."""
    layers = [layer for row in rows for layer in row["layers"]]
    names = sorted({layer["strategy"] for layer in layers})
    transposes = [abs(each["estimate_error_percent"]) for row in rows for each in row["transposes"]]
    return {
        "networks": len(rows),
        "largest_above_best_percent": max(row["above_best_percent"] for row in rows),
        "largest_estimate_error_percent": max(abs(row["estimate_error_percent"]) for row in rows),
        "chosen": {name: sum(row["chosen"].count(name) for row in rows) for name in names},
        "largest_layer_error_percent": {
            name: max(abs(x["estimate_error_percent"]) for x in layers if x["strategy"] == name) for name in names
        }
        | ({"transpose": max(transposes)} if transposes else {}),
    }


def line(row: Row) -> str:
    """Plain text."""
    beaten = "" if row["chosen"] == row["best"] else f"  best: {' '.join(row['best'])}"
    return (
        f"{row['core']:10} {row['seed']:3} best {row['best_cycles']:>10,}  chosen {row['chosen_cycles']:>10,} "
        f"({row['above_best_percent']:+5.2f} %)  estimated {row['estimated_cycles']:>10,} "
        f"({row['estimate_error_percent']:+5.2f} %)  {' '.join(row['chosen'])}{beaten}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Chosen plans against the best of all executed kernels.")
    parser.add_argument("--core", default=",".join(CORES), help="comma-separated; cores with a cycle model")
    parser.add_argument("--seeds", default=",".join(map(str, range(SEEDS))), help="networks, comma-separated")
    parser.add_argument("--results", type=Path, default=RESULTS, help="rows are kept there")
    parser.add_argument("--cache", type=Path, help="folder that keeps what ran; without it every layer runs")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args(arguments)
    known: Row = json.loads(options.results.read_text(encoding="utf-8")) if options.results.is_file() else {}
    rows: dict[str, Row] = {
        key: row for key, row in known.get("rows", {}).items() if row["code"] == code_digest(row["core"])
    }
    results: Row = {}
    for core in options.core.split(","):
        target = roomy_board_of(core).target
        for seed in map(int, options.seeds.split(",")):
            key = f"{target.core}, {seed}"
            if key not in rows:
                rows[key] = {**measure(seed, core, options.cache), "code": code_digest(target.core)}
            if not options.json:
                print(line(rows[key]), flush=True)
            cores = sorted({row["core"] for row in rows.values()})
            by_core = {name: summary([row for row in rows.values() if row["core"] == name]) for name in cores}
            results = {"summary": by_core, "rows": rows}
            write_json(options.results, results)
    if options.json:
        print(json.dumps(results, indent=2, sort_keys=True))
    else:
        for core, found in results["summary"].items():
            print(f"{core}: {json.dumps(found)}")
    is_good = all(
        found["largest_above_best_percent"] <= WITHIN_BEST
        and found["largest_estimate_error_percent"] <= WITHIN_ESTIMATE
        for found in results["summary"].values()
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
