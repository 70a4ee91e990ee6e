# SPDX-License-Identifier: Apache-2.0
"""The file that the block counting plugin writes, as records.

Invariant: what is read is what was counted; nothing is judged here. The format stands in ``plugin/block_edges.c``.
Read by :func:`picobnn.sim.cycles.costs.layer_costs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from picobnn.errors import ErrorId, PicobnnError

HEADER = "picobnn-edges 1"


@dataclass(frozen=True, slots=True)
class Edge:
    """``count`` times the block that starts at ``successor`` ran next."""

    successor: int
    count: int


@dataclass(frozen=True, slots=True)
class BlockCount:
    """A translation block: code from ``start`` up to ``end``, ``instructions`` long, that ran ``count`` times.

    The last block of a segment may leave it by an edge that the next segment counts; a block with ``count`` 0 holds
    such an edge. ``line_reads``: data that it read from another line of flash than was at hand, 0 where the plugin did
    not watch the flash.
    """

    start: int
    end: int
    instructions: int
    count: int
    edges: tuple[Edge, ...]
    line_reads: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """What ran up to a mark, since the mark before or since reset. ``mark`` counts from 0; None is what came last."""

    mark: int | None
    blocks: tuple[BlockCount, ...]


def read_counts(path: Path) -> list[Segment]:
    """Reads the plugin's file. An emulator that was killed leaves lines after the last mark out: they are dropped.

    Raises E_FILE_MISSING, or E_BAD_INPUT with the line where the file is not what the plugin writes.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise PicobnnError(
            ErrorId.FILE_MISSING,
            f"cannot be read ({error.strerror}).",
            where=str(path),
            remedy="Run the firmware on the emulator with the counting plugin.",
        ) from error
    except UnicodeDecodeError as error:
        raise _malformed(path, 1, "is no text") from error
    if not lines or lines[0] != HEADER:
        raise _malformed(path, 1, f"does not start with '{HEADER}'")
    segments: list[Segment] = []
    blocks: list[BlockCount] = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            _read_line(line.split(), segments, blocks)
        except (ValueError, IndexError) as error:
            if number == len(lines):
                break
            raise _malformed(path, number, f"has the odd line '{line[:60]}'") from error
    return segments


def _read_line(words: Sequence[str], segments: list[Segment], blocks: list[BlockCount]) -> None:
    match words:
        case ["block", start, end, instructions, count]:
            blocks.append(BlockCount(int(start, 16), int(end, 16), int(instructions), int(count), ()))
        case ["edge", successor, count]:
            block = blocks.pop()
            blocks.append(replace(block, edges=(*block.edges, Edge(int(successor, 16), int(count)))))
        case ["reads", count]:
            blocks.append(replace(blocks.pop(), line_reads=int(count)))
        case ["mark", number] if int(number) == len(segments):
            segments.append(Segment(len(segments), tuple(blocks)))
            blocks.clear()
        case ["end"]:
            segments.append(Segment(None, tuple(blocks)))
            blocks.clear()
        case _:
            raise ValueError(words)


def _malformed(path: Path, line: int, what: str) -> PicobnnError:
    return PicobnnError(
        ErrorId.BAD_INPUT,
        f"line {line} {what}.",
        where=str(path),
        remedy="Give the file that the counting plugin of this picobnn wrote, unchanged.",
    )
