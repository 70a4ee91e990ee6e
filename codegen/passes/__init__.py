# SPDX-License-Identifier: Apache-2.0
"""Graph -> Graph functions, one per file, and the order in which they run.

Invariant: every pass keeps the value of the last node; the graph is verified after each. Called by ``lower.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from picobnn.codegen.ir import Graph, verify_graph
from picobnn.codegen.passes.canonical_thresholds import canonical_thresholds
from picobnn.codegen.passes.drop_identity import drop_identity
from picobnn.codegen.passes.fold_flatten import fold_flatten
from picobnn.codegen.passes.fuse_epilogue import fuse_epilogue
from picobnn.codegen.passes.reduce_domains import reduce_domains

__all__ = ["PIPELINE", "Dump", "Pass", "run_pipeline"]

Pass = Callable[[Graph], Graph]
Dump = Callable[[str, Graph], None]  # name of the pass that has just run, its result

PIPELINE: tuple[Pass, ...] = (drop_identity, fold_flatten, fuse_epilogue, reduce_domains, canonical_thresholds)


def run_pipeline(graph: Graph, dump: Dump | None = None) -> Graph:
    """Run all passes on a verified graph; ``dump`` sees the verified result of each. Raises what verify_graph raises,
    and UNSUPPORTED_FEATURE for node patterns that no step computes."""
    for run_pass in PIPELINE:
        graph = run_pass(graph)
        verify_graph(graph)
        if dump is not None:
            dump(run_pass.__name__, graph)
    return graph
