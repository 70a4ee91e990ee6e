# SPDX-License-Identifier: Apache-2.0
"""How often a flash memory had to bring up another of its lines, and what that costs at a board's wait states.

The memory behind the figures keeps the one line that was read last and nothing else: no cache, no prefetch, and a core
that fetches only what it executes. Every change of line costs all wait states. Parts hide some of that, so the figure
is the upper end of a range whose lower end is the cycles at zero wait states; a core that fetches beyond a branch, or
one whose data and code ports meet in the memory at a bad moment, may lose more, which nobody counted.

Fetches come from the counted blocks and edges, reads of data from the counting plugin, which sees every address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from picobnn.codegen.targets import Board
from picobnn.sim.cycles.counts import BlockCount


@dataclass(frozen=True, slots=True)
class FlashLines:
    """A flash of ``size_bytes`` at ``origin`` that is read in lines of ``line_bytes``, a power of two."""

    origin: int
    size_bytes: int
    line_bytes: int

    def holds(self, address: int) -> bool:
        return self.origin <= address < self.origin + self.size_bytes

    def line(self, address: int) -> int:
        """The number of the line that an address lies in."""
        return address // self.line_bytes


def flash_lines(board: Board) -> FlashLines | None:
    """The lines of a board's flash; None where it has no wait states, so that lines do not matter."""
    timing = board.flash_timing
    if timing.wait_states == 0:
        return None
    return FlashLines(board.flash.origin, board.flash.size_bytes, timing.line_bytes)


def line_changes(counted: Sequence[BlockCount], everything: Sequence[BlockCount], flash: FlashLines) -> tuple[int, int]:
    """Changes of line by fetching the blocks ``counted``, and by the data that they read.

    ``everything`` holds the edges into them. A read by code in flash counts twice: to the line of the data and back to
    that of the code. What runs from RAM fetches nothing.
    """
    in_flash = [block for block in counted if flash.holds(block.start)]
    inside = sum(block.count * (flash.line(block.end - 1) - flash.line(block.start)) for block in in_flash)
    entries: Counter[int] = Counter()
    for block in in_flash:
        entries[block.start] += block.count
    stayed: Counter[int] = Counter()
    for block in everything:
        for edge in block.edges:
            if flash.holds(block.start) and flash.line(block.end - 1) == flash.line(edge.successor):
                stayed[edge.successor] += edge.count
    entered = sum(max(0, count - stayed[start]) for start, count in entries.items())
    reads = sum(block.line_reads * (2 if flash.holds(block.start) else 1) for block in counted)
    return inside + entered, reads
