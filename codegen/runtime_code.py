# SPDX-License-Identifier: Apache-2.0
"""Which runtime files a model brings into an image, and the flash that they are known to take.

Sizes are data like the coefficients of costs: ``bench/calibrate.py`` reads them from map files of real firmware, the
largest that was seen of every file (the linker leaves out functions that a model does not call). Used by ``select.py``,
``emit.py`` and ``bench/calibrate.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from picobnn.codegen.strategies import Strategy
from picobnn.codegen.targets import Target

COMMON_RUNTIME = ("picobnn_runtime.h", "picobnn_runtime.c")
TRANSPOSE_RUNTIME = ("picobnn_transpose.h", "picobnn_transpose.c")

MODEL = "model"
"""The unit for a model's own code: its functions, beside what every step adds (:data:`STEP`)."""
STEP = "step"


def code_units(strategy: Strategy, target: Target) -> frozenset[str]:
    """Units of code behind a step: objects of the runtime by their stem, and the model's own code."""
    return _objects((*COMMON_RUNTIME, *strategy.runtime_files(target))) | {MODEL}


def transpose_units() -> frozenset[str]:
    """Those of a transpose."""
    return _objects(TRANSPOSE_RUNTIME)


def _objects(files: Iterable[str]) -> frozenset[str]:
    return frozenset(PurePosixPath(name).stem for name in files if not name.endswith(".h"))
