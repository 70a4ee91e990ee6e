# SPDX-License-Identifier: Apache-2.0
"""Run a stored program on the host, as a Python user or a CI job would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt


def simulate(model: Path | str, images: npt.NDArray[np.uint8], *, threads: int = 2) -> npt.NDArray[np.int32]:
    """Logits int32 (N, classes) of images uint8 (N, H, W, C): what the firmware computes, bit for bit.

    Runs the Cython executor; where it was not built, numpy with one warning.
    Raises E_FILE_MISSING, E_BNN_*, E_BAD_INPUT.
    """
    from picobnn.codegen.bnn_file import read_bnn
    from picobnn.sim.executor import best_executor

    return best_executor(read_bnn(Path(model)), threads).run(images)
