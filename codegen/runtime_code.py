# SPDX-License-Identifier: Apache-2.0
"""Which runtime files a model brings into an image, and the sections of them that the linker keeps.

Every function lies in a section of its own and what nothing refers to is left out, so that the code of a model is what
can be reached from the functions that its steps name: those they call, and those that their records point to. Exact
for the runtime, as compiled by the compiler of the calibration; not counted are the compiler's own library and memset
(shared with the application, ``map_file.model_memory`` leaves them out too), padding between sections, and the linker's
stubs where code runs from RAM. Used by ``stages.py``, ``emit.py`` and ``bench``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from picobnn.codegen.strategies import LayerView
from picobnn.codegen.targets.code_sizes import CodeSizes

COMMON_RUNTIME = ("picobnn_runtime.h", "picobnn_runtime.c")
TRANSPOSE_RUNTIME = ("picobnn_transpose.h", "picobnn_transpose.c")
TRANSPOSE_FUNCTION = "picobnn_transpose"
RUNTIME_PREFIX = "picobnn_"
"""Of every global name of the runtime, and of no name of a model."""

Units = frozenset[str]


def called_units(view: LayerView) -> Units:
    """Functions of the runtime that a step names: the one that it calls and those that its record points to."""
    return frozenset({view.function, *(name for _, name in view.pointers if name.startswith(RUNTIME_PREFIX))})


def linked_units(called: Iterable[str], code: CodeSizes) -> Units | None:
    """All that is linked with ``called``; None where one of them is not known."""
    found: set[str] = set()
    waiting = list(called)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name not in code.units:
            return None
        found.add(name)
        waiting += code.units[name].uses
    return frozenset(found)


def grouped_units(sets: Sequence[Units], sizes: Mapping[str, int]) -> tuple[list[Units], Mapping[str, int]]:
    """The same sets with units that always come together as one, called like the first of them, and the sizes of those:
    sums over any union of the sets stay what they are, with fewer units to look at."""
    owners: dict[str, list[int]] = defaultdict(list)
    for index, units in enumerate(sets):
        for unit in units:
            owners[unit].append(index)
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for unit in sorted(owners):
        groups[tuple(owners[unit])].append(unit)
    grouped: list[set[str]] = [set() for _ in sets]
    totals: dict[str, int] = {}
    for indices, together in groups.items():
        totals[together[0]] = sum(sizes[unit] for unit in together)
        for index in indices:
            grouped[index].add(together[0])
    return [frozenset(units) for units in grouped], totals
