# SPDX-License-Identifier: Apache-2.0
"""Types of the Cython module ``_bitslice``."""

import numpy as np
import numpy.typing as npt

from picobnn.sim.bitslice import StepTables
from picobnn.sim.bitslice_sums import Int64s

def has_avx2() -> bool: ...
def lanes(avx2: bool) -> int: ...

class Workspace:
    def __init__(self, size_bytes: int, step_count: int) -> None: ...

class Kernel:
    def __init__(
        self,
        tables: list[StepTables],
        map_offsets: Int64s,
        map_vectors: Int64s,
        scratch_offset: int,
        size_bytes: int,
        zero_point: int,
        image_bytes: int,
        avx2: bool,
    ) -> None: ...
    def workspace(self) -> Workspace: ...
    def run(
        self,
        images: npt.NDArray[np.uint8],
        workspace: Workspace,
        outputs: list[npt.NDArray[np.uint8] | npt.NDArray[np.int32] | None],
    ) -> None: ...
