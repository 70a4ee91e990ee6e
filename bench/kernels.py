# SPDX-License-Identifier: Apache-2.0
"""Cycles per 32 multiply-accumulates of whole layers, inside generated firmware on an emulated board.

    python bench/kernels.py --core m4                                  # all workloads, the cheapest kernels
    python bench/kernels.py --core m0plus --kernels xnor --json
    python bench/kernels.py --core m4 --workload c --density 0.1 --strategy planes_coded

The layer stands behind an input convolution that makes random bits, half of them ones; only the layer is counted, and
its output is compared with the reference. Weights have as many ones as ``--density`` says and stand for two values
whose mean is near zero (at 0.5: -1 and +1), or for those of ``--domain``. Layouts at the layer's borders are the
strategy's own. Cycles are modelled at zero wait states from counted instructions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layer_runs import board_of, plan_for, run_plan
from workloads import WORKLOADS, half_ones_image, layer_program

from picobnn.codegen.plan import Kernels, Optimize
from picobnn.codegen.vocabulary import WeightDomain
from picobnn.errors import PicobnnError
from picobnn.sim.cycles import find_model

Row = dict[str, Any]


def run_workload(
    core: str,
    workload: str,
    *,
    density: float = 0.5,
    domain: WeightDomain | None = None,
    kernels: Kernels = Kernels.AUTO,
    optimize: Optimize = Optimize.SPEED,
    strategy: str | None = None,
) -> Row:
    """One workload on one core. A layer that nobody runs gives a row with ``refused`` alone."""
    program = layer_program(WORKLOADS[workload], density, domain)
    last = len(program.steps) - 1
    board = board_of(core)
    try:
        plan = plan_for(program, board, kernels, optimize, {last: strategy} if strategy else None)
    except PicobnnError as error:
        return {"refused": error.what}
    run = run_plan(plan, board, half_ones_image(program))
    step = run.steps[last]
    return {
        "strategy": step.strategy,
        "cycles": step.cycles,
        "instructions": step.instructions,
        "macs": step.macs,
        "cycles_per_32_macs": None if step.cycles is None else round(32 * step.cycles / step.macs, 2),
        "flash_bytes": step.table_bytes + step.code_bytes,
        "table_bytes": step.table_bytes,
        "bits_per_weight": round(8 * step.table_bytes / program.steps[last].weights.size, 3),
        "ram_bytes": step.input_bytes + step.output_bytes + step.scratch_bytes,
        "scratch_bytes": step.scratch_bytes,
        "verified": all(other.is_equal for other in run.steps),
    }


def merge(path: Path, key: str, result: Row) -> None:
    """Puts the rows under ``key`` into the file, keeping all others."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    workloads = {**kept.get(key, {}).get("workloads", {}), **result["workloads"]}
    kept[key] = {**result, "workloads": workloads}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def table(workloads: Row) -> str:
    """Plain text, one line per workload."""
    lines = [f"{'workload':36} {'strategy':10} {'c/32':>7} {'cycles':>11} {'instructions':>12} {'flash':>8} {'RAM':>7}"]
    for name, row in workloads.items():
        text = f"{name} {WORKLOADS[name].text}" if name in WORKLOADS else name
        if "refused" in row:
            lines.append(f"{text:36} refused: {row['refused']}")
            continue
        cycles = "no model" if row["cycles"] is None else f"{row['cycles']:,}"
        ratio = "" if row["cycles"] is None else f"{row['cycles_per_32_macs']:.2f}"
        wrong = "" if row["verified"] else "  DIFFERS FROM THE REFERENCE"
        lines.append(
            f"{text:36} {row['strategy']:10} {ratio:>7} {cycles:>11} {row['instructions']:>12,}"
            f" {row['flash_bytes']:>8,} {row['ram_bytes']:>7,}{wrong}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Modelled cycles of single layers in real firmware.")
    parser.add_argument("--core", required=True, help="m0, m0plus, m3, m4, m7, m33 or m55")
    parser.add_argument("--workload", default=",".join(sorted(WORKLOADS)), help="letters, comma-separated")
    parser.add_argument("--density", type=float, default=0.5, help="share of ones of the weights")
    parser.add_argument("--domain", help="K,R: clear weights are R, set ones 2**K + R; else by the density")
    parser.add_argument("--kernels", choices=[kind.value for kind in Kernels], default="auto")
    parser.add_argument("--optimize", choices=[kind.value for kind in Optimize], default="speed")
    parser.add_argument("--strategy", help="take this strategy for the layer instead of choosing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--write", type=Path, help="also merge the JSON into this file")
    options = parser.parse_args(arguments)
    names = options.workload.split(",")
    if not {*names} <= {*WORKLOADS}:
        parser.error(f"workloads are {', '.join(sorted(WORKLOADS))}")
    domain = WeightDomain(*(int(part) for part in options.domain.split(","))) if options.domain else None
    board = board_of(options.core)
    model = find_model(board.target.core)
    result: Row = {
        "core": board.target.core,
        "error_band_percent": None if model is None else model.error_band_percent,
        "board": board.id,
        "kernels": options.kernels,
        "optimize": options.optimize,
        "density": options.density,
        "domain": options.domain,
        "strategy": options.strategy,
        "workloads": {},
    }
    for name in names:
        result["workloads"][name] = run_workload(
            options.core,
            name,
            density=options.density,
            domain=domain,
            kernels=Kernels(options.kernels),
            optimize=Optimize(options.optimize),
            strategy=options.strategy,
        )
    if options.write is not None:
        merge(options.write, result_key(result), result)
    if options.json:
        print(json.dumps(result, sort_keys=True))
    else:
        band = result["error_band_percent"]
        print(f"cycles on {result['core']} modelled {'without a band' if band is None else f'within {band} %'}")
        print(table(result["workloads"]))
    return 0 if all(row.get("verified", True) for row in result["workloads"].values()) else 1


def result_key(result: Row) -> str:
    """Where a result stands in the file: core, choice, and what differs from the defaults."""
    parts = [result["core"], result["strategy"] or result["kernels"]]
    if result["optimize"] != "speed":
        parts.append(result["optimize"])
    if result["density"] != 0.5:
        parts.append(f"density {result['density']}")
    if result["domain"] is not None:
        parts.append(f"domain {result['domain']}")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
