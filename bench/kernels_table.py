# SPDX-License-Identifier: Apache-2.0
"""The README's table of kernels, rendered from ``bench/results/kernels.json``; a test holds the two together.

python bench/kernels_table.py --write README.md
"""

from __future__ import annotations

import sys
from typing import Any

from readme_table import run
from workloads import WORKLOADS

from picobnn.codegen.targets import find_core

COLUMNS = ("a", "b", "c", "d", "e", "f", "g")
ROWS = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33", "cortex-m7", "cortex-m55")
PACKED = ("cortex-m4, xnor", "cortex-m0plus, xnor")


def render(results: dict[str, Any]) -> str:
    """Markdown: one line per core with the kernels that are chosen for speed, then the packed baseline."""
    keys = [f"{core}, auto" for core in ROWS if f"{core}, auto" in results] + [key for key in PACKED if key in results]
    heads = [f"{name}: {WORKLOADS[name].text}" for name in COLUMNS]
    lines = [f"| core | {' | '.join(heads)} |", f"|---{'|--:' * len(COLUMNS)}|"]
    for key in keys:
        core, _, kernels = key.partition(", ")
        name = find_core(core).name + (", `--kernels xnor`" if kernels == "xnor" else "")
        cells = [_cell(results[key]["workloads"].get(column, {})) for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    ratio = row.get("cycles_per_32_macs")
    return "-" if ratio is None else f"{ratio:.2f}"


if __name__ == "__main__":
    sys.exit(run("kernels", render))
