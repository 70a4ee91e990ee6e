# SPDX-License-Identifier: Apache-2.0
"""The plan grammar: how one target runs a program. Chosen strategies, layouts and arena offsets; never stored in
``.bnn``. Made by ``select.py`` and ``arena.py``, read by ``emit.py``, ``manifest.py`` and the simulator's host C.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from picobnn.codegen.program import Program
from picobnn.codegen.vocabulary import Shape


class Layout(Enum):
    """How a tensor lies in memory.

    ``HWC_BYTES``: one byte per element, H, W, C order. ``CHANNEL_WORDS``: per pixel ceil(C / 32) little-endian words,
    channel c at bit c % 32 of word c // 32, padding bits 0. ``PIXEL_PLANES``: per channel a plane of ceil(H * W / 32)
    words, pixel p = y * W + x at bit p % 32 of word p // 32, padding bits 0. ``HWC_INT32``: one int32 per element.
    """

    HWC_BYTES = "hwc_bytes"
    CHANNEL_WORDS = "channel_words"
    HWC_INT32 = "hwc_int32"
    PIXEL_PLANES = "pixel_planes"


class Kernels(Enum):
    """``generate --kernels``: every binary layer as packed xnor, or the strategy that costs least."""

    XNOR = "xnor"
    AUTO = "auto"


class Optimize(Enum):
    """``generate --optimize``."""

    SIZE = "size"
    BALANCED = "balanced"
    SPEED = "speed"


@dataclass(frozen=True, slots=True)
class Buffer:
    """One tensor in the arena. Alive from the step that writes it to the last step that reads it, both included;
    the image is alive from step 0, the result to the end."""

    tensor: int
    layout: Layout
    size_bytes: int
    offset_bytes: int
    first_step: int
    last_step: int


@dataclass(frozen=True, slots=True)
class StepCost:
    """Estimated cycles of one run of a step at zero wait states, without the transpose of its input.

    ``cycles``: with the program's densities (half of the bits where it has none). ``worst_cycles``: with the worst
    image; a bound on modelled cycles where the core has one for the strategy (``targets/bounds.py``). On a core whose
    coefficients count instructions both are instructions.
    """

    cycles: int
    worst_cycles: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """A strategy that accepts a step and was not chosen, with the estimate that it had."""

    strategy: str
    cost: StepCost


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """How step ``step`` of the program runs. Scratch lies in the arena, alive during this step only.

    The strategy reads its input in ``input_layout``. Where the input's buffer has another layout, the step first
    transposes it into ``transpose_bytes`` of the arena, alive during this step only; 0 bytes: it reads the buffer.
    ``cost`` and ``transpose_cycles`` are estimates, None where the core has no coefficients (``transpose_cycles`` is 0
    where nothing is transposed). ``alternatives``: what was weighed against ``strategy`` (in the order of the registry;
    a choice minimises the whole chain, so one of them may cost less on its own).
    """

    step: int
    strategy: str
    scratch_bytes: int
    scratch_offset_bytes: int
    input_layout: Layout
    transpose_bytes: int = 0
    transpose_offset_bytes: int = 0
    cost: StepCost | None = None
    transpose_cycles: int | None = 0
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A program bound to a core. ``buffers[t]`` holds tensor ``t``. ``flash_bytes``: tables and the code that the model
    needs, estimated; None where the sizes of code are not known on the core."""

    program: Program
    core: str
    kernels: Kernels
    optimize: Optimize
    steps: tuple[PlannedStep, ...]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    flash_bytes: int | None = None


def layout_bytes(layout: Layout, shape: Shape) -> int:
    """Bytes that a tensor of ``shape`` takes in ``layout``; all but HWC_BYTES need 4-byte alignment."""
    if layout is Layout.HWC_BYTES:
        return shape.elements
    if layout is Layout.HWC_INT32:
        return 4 * shape.elements
    if layout is Layout.PIXEL_PLANES:
        return 4 * shape.channels * ((shape.height * shape.width + 31) // 32)
    return 4 * shape.height * shape.width * ((shape.channels + 31) // 32)
