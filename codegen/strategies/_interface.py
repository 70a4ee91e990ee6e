# SPDX-License-Identifier: Apache-2.0
"""What a strategy is: one way to run a step on a core.

Invariant: a strategy either refuses a step with a reason or equals the reference on it; what it puts into flash are
the tables it names, nothing else. ``select.py`` asks, ``emit.py`` renders, ``manifest.py`` records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import Program, Step
from picobnn.codegen.targets import Target


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a strategy does not run a step, as a clause: "fan-in 40000 is above 32766"."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One constant array of a step. ``role`` ends its symbol (``weights``, ``thresholds``); values are 1-D, of the
    little-endian dtype that ``c_type`` stores. ``is_scattered``: read here and there and many times, so that every read
    meets the wait states of flash; a copy in RAM pays where there are any."""

    role: str
    c_type: str
    values: npt.NDArray[np.generic]
    is_scattered: bool = False

    @property
    def size_bytes(self) -> int:
        return self.values.nbytes

    def to_bytes(self) -> bytes:
        """The bytes as they lie in flash."""
        return self.values.astype(self.values.dtype.newbyteorder("<")).tobytes()


@dataclass(frozen=True, slots=True)
class LayerView:
    """What the strategy's template sees: numbers, names and lists of those, nothing to decide.

    ``numbers`` are (designator, value) pairs; ``pointers`` are (designator, expression) pairs, where a missing table
    is ``NULL``. ``limited`` are numbers with the runtime macro of their greatest value, which the compiler checks.
    """

    symbol: str
    c_type: str
    function: str
    numbers: tuple[tuple[str, int], ...]
    pointers: tuple[tuple[str, str], ...]
    limited: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CostTerm:
    """One thing that a kernel does again and again, and how often in one run of a step.

    The step costs the sum of coefficient * count over its terms, with the coefficients of
    ``targets/costs/<core>.toml``. ``mean``: at the program's densities; ``worst``: with the worst image.
    """

    name: str
    mean: float
    worst: float

    @classmethod
    def always(cls, name: str, count: float) -> CostTerm:
        """A term that does not depend on the image."""
        return cls(name, count, count)


class Strategy(Protocol):
    """One way to run a step. Implementations are stateless; every method but ``accepts`` needs an accepted step."""

    @property
    def name(self) -> str:
        """As in plans and manifests; the stem of ``kernels/<name>.c.j2``."""

    @property
    def header(self) -> str:
        """The runtime header that declares its functions."""

    @property
    def packed_weights(self) -> bool:
        """Whether flash holds the weights as packed bits (one each, and one more of a mask), or coded in less. What
        stores lists is a candidate under SPEED only."""

    def runtime_files(self, target: Target) -> tuple[str, ...]:
        """Files of ``firmware_templates/runtime`` that its calls need on the target, beside the common runtime."""

    @property
    def input_independent(self) -> bool:
        """Whether a step takes the same cycles whatever the input: no branch and no list depends on it."""

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:
        """None when this strategy runs the step exactly on the target."""

    def input_layout(self, step: Step) -> Layout:
        """How the kernel reads the step's input; where it was written otherwise, a transposed copy is made."""

    def output_layout(self, step: Step) -> Layout:
        """How the kernel writes the step's output."""

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:
        """Arena bytes used during the step only, 4-byte aligned."""

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:
        """What the kernel does on the step, linear in the coefficients: the same names for every step, in the same
        order (count 0 where a step has nothing of a kind). Densities: ``_common.input_density``."""

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:
        """Constant arrays in the order in which they are emitted."""

    def view(
        self, step: Step, program: Program, target: Target, symbol: str, table_symbols: dict[str, str]
    ) -> LayerView:
        """``table_symbols`` maps the role of every table to its C symbol."""


@runtime_checkable
class BoundedStrategy(Strategy, Protocol):
    """One whose cycles depend on the input, with a bound."""

    def most_cycles(self, step: Step, program: Program, target: Target, parts: Mapping[str, float]) -> float:
        """What no input exceeds where one run of each part of the kernel takes the cycles in ``parts`` at most; see
        ``targets/bounds.py``."""


def table_bytes(tables: tuple[Table, ...]) -> int:
    """Flash that the tables take (estimated: the linker may align)."""
    return sum(table.size_bytes for table in tables)
