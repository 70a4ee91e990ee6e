# SPDX-License-Identifier: Apache-2.0
"""The README's table of results, rendered from ``bench/results/chain.json``; a test holds the two together.

python bench/chain_table.py --write README.md
"""

from __future__ import annotations

import sys
from typing import Any

from readme_table import run


def render(results: dict[str, Any]) -> str:
    """The table as Markdown lines."""
    demo, fmnist, equality = results["demo"], results["fmnist"], results["equality"]
    simulator, training, memory = results["simulator"], results["training"], results["memory"]
    warnings, tests = results["warnings"], results["tests"]
    cycles = ", ".join(f"{core.removeprefix('cortex-').upper()} {value:,}" for core, value in demo["cycles"].items())
    host = min(count for name, count in equality["vectors"].items() if not name.startswith("emulator"))
    boards = {name: count for name, count in equality["vectors"].items() if name.startswith("emulator")}
    wrong = sum(equality["mismatches"].values())
    ratio = simulator["ratio_to_pytorch"]
    accuracy, sizes = demo["accuracy"], f"{demo['flash_bytes']:,} B flash, {demo['ram_bytes']:,} B RAM"
    removed = f"{fmnist['filters_removed']:.1%} of filters removed in {fmnist['pruned_seconds']:.0f} s more"
    speed = simulator["images_per_second"]["cython_avx2"]
    rows = {
        "`make demo`: digits, trained, pruned, compiled, run": f"{demo['seconds']:.0f} s; accuracy "
        f"{accuracy['dense']:.1%} dense, {accuracy['pruned']:.1%} with {demo['filters_removed']:.1%} of filters gone",
        "the same on emulated cores": f"{sizes}; modelled cycles: {cycles}",
        "Fashion-MNIST, 32-64-128 filters": f"dense {fmnist['dense_accuracy']:.2%} in {fmnist['dense_seconds']:.0f} s; "
        f"{fmnist['pruned_accuracy']:.2%} with {removed}",
        "PyTorch = reference = Cython = C on the host": f"{wrong} differences, every layer, on {host:,} "
        "Fashion-MNIST test images",
        "firmware on emulated boards = reference": f"{wrong} differences, every layer, {min(boards.values())} images "
        f"on each of {len(boards)} boards (microbit: digits, the others: Fashion-MNIST)",
        "Cython simulator against PyTorch eval, 2 threads": f"{ratio['avx2']:.1f}x with AVX2 ({speed:,} images/s), "
        f"{ratio['portable']:.1f}x portable",
        "automatic choice of number and memory format": f"{training['share_of_best']:.0%} of the best of four "
        f"({training['chosen']})",
        "dense Fashion-MNIST model on M4, from the map file": f"{memory['flash_bytes']:,} B flash "
        f"({memory['packed_weight_bytes']:,} B are packed weights), {memory['ram_bytes']:,} B RAM",
        "generated C, `-Wall -Wextra -Wpedantic -Wconversion -Werror`": f"{len(warnings['with_warnings'])} warnings in "
        f"{warnings['compiled']} compilations, host gcc and six cores",
        "`make test`": f"{tests['summary']} in {tests['seconds']:.0f} s; line coverage {tests['coverage_percent']} %",
    }
    return "\n".join(["| what | result |", "|---|---|", *(f"| {what} | {result} |" for what, result in rows.items())])


if __name__ == "__main__":
    sys.exit(run("chain", render))
