# SPDX-License-Identifier: Apache-2.0
"""Strategy ``gaps``: dense layers with few ones, or few zeros, among their weights, on every core.

Flash names the weights of the layer's rarer kind, one byte each: the words to go on since the one before, and a bit.
The kernel counts the set inputs under them, and all set inputs once per layer. Flash: 1 byte per weight named, 3 at
least per filter, 4 bytes per threshold; refused where the bytes are more than those of the packed bits. Time falls with
the weights named and does not depend on the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from picobnn.codegen.plan import Layout
from picobnn.codegen.program import BinaryDenseStep, Program, Step
from picobnn.codegen.strategies._common import filter_words, flip_tables, is_ternary, output_layout
from picobnn.codegen.strategies._interface import CostTerm, LayerView, Refusal, Table
from picobnn.codegen.targets import Target
from picobnn.codegen.vocabulary import BitArray, Scale, Threshold

MAX_WORDS = 4095
"""Of input: their set bits are counted in 16-bit halves."""

MAX_SUM = 2**30
"""Sums and limits below it are less than 2**31 apart."""

MAX_ADVANCE = 7
MAX_SKIP = 255
MAX_RUN = 8 * 255 + 7
LAST_RUN = 8
WORDS_AT = 5
"""As in ``picobnn_gaps.h``: words that an entry goes on, that a run skips, entries of a run, the mark of the last run,
and where an entry holds its words."""

RUNTIME_FILES = ("picobnn_gaps.h", "picobnn_gaps.c", "picobnn_xnor_count.h")


@dataclass(frozen=True, slots=True, eq=False)
class GapLists:
    """What flash holds of the weights: ``data``, uint8, and per filter, int64 (O,), the ``lengths``, weights named.
    ``runs``, ``eights``, ``rest``: of all filters, runs, groups of eight entries, and entries behind these."""

    names_clear: bool
    data: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]
    runs: int
    eights: int
    rest: int


@dataclass(frozen=True, slots=True)
class _Form:
    """``acc = factor * d + balance * p - constant`` of each filter; see the header."""

    factor: int
    balance: int
    constants: npt.NDArray[np.int64]
    largest: int
    """Above the magnitude of ``factor * d + balance * p``."""


@dataclass(frozen=True, slots=True)
class GapsStrategy:
    """See the module."""

    name: str = "gaps"
    header: str = "picobnn_gaps.h"
    packed_weights: bool = True
    input_independent: bool = True

    def runtime_files(self, target: Target) -> tuple[str, ...]:  # noqa: ARG002
        return RUNTIME_FILES

    def accepts(self, step: Step, program: Program, target: Target) -> Refusal | None:  # noqa: ARG002
        if not isinstance(step, BinaryDenseStep):
            return Refusal("it is no dense layer")
        if is_ternary(step):
            return Refusal("some weights are removed")
        if (words := _input_words(step)) > MAX_WORDS:
            return Refusal(f"{words} words of input are above {MAX_WORDS}")
        packed, fewer = 4 * len(step.weights) * filter_words(step), _fewer(step.weights)
        size = fewer if fewer > packed else len(gap_lists(step).data)
        if size > packed:
            return Refusal(f"the gaps between {fewer} weights take more than the {packed} bytes of all weights packed")
        if not isinstance(step.epilogue, Scale) and _form(step).largest >= MAX_SUM:
            return Refusal(f"sums of {_taps(step)} weights of {max(map(abs, step.domain.values))} may need 32 bits")
        return None

    def input_layout(self, step: Step) -> Layout:  # noqa: ARG002
        return Layout.CHANNEL_WORDS

    def output_layout(self, step: Step) -> Layout:
        return output_layout(step)

    def scratch_bytes(self, step: Step, program: Program, target: Target) -> int:  # noqa: ARG002
        return 0

    def cost_terms(self, step: Step, program: Program, target: Target) -> tuple[CostTerm, ...]:  # noqa: ARG002
        """``three``: groups of three words of input whose set bits are counted, ``few``: 1 where words are left;
        ``lanes``: words of results; ``compared``, ``scaled``: filters by their ending; ``run``: runs
        but the first of each filter; ``eight``: groups of eight entries, ``rest``: entries behind those."""
        assert isinstance(step, BinaryDenseStep)  # accepts() refused everything else
        lists, words, filters = gap_lists(step), _input_words(step), len(step.weights)
        counted = words if _form(step).balance else 0
        has_limits = isinstance(step.epilogue, Threshold)
        return (
            CostTerm.always("call", 1),
            CostTerm.always("three", counted // 3),
            CostTerm.always("few", int(counted % 3 != 0)),
            CostTerm.always("lanes", -(-filters // 32) if has_limits else 0),
            CostTerm.always("compared", filters if has_limits else 0),
            CostTerm.always("scaled", 0 if has_limits else filters),
            CostTerm.always("run", lists.runs - filters),
            CostTerm.always("eight", lists.eights),
            CostTerm.always("rest", lists.rest),
        )

    def tables(self, step: Step, program: Program, target: Target) -> tuple[Table, ...]:  # noqa: ARG002
        assert isinstance(step, BinaryDenseStep)  # accepts() refused everything else
        form, gaps = _form(step), Table("gaps", "uint8_t", gap_lists(step).data)
        match step.epilogue:
            case Scale() as scale:
                biases = scale.bias - form.constants * scale.multiplier.astype(np.int64)
                return (
                    gaps,
                    Table("multipliers", "int32_t", scale.multiplier.astype(np.int32)),
                    Table("biases", "int32_t", biases.astype(np.uint32).view(np.int32)),
                )
            case Threshold() as threshold:
                limits = np.clip(threshold.thresholds + form.constants, -form.largest, form.largest)
                return (gaps, Table("limits", "int32_t", limits.astype(np.int32)), *flip_tables(threshold))

    def view(
        self,
        step: Step,
        program: Program,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        symbol: str,
        table_symbols: dict[str, str],
    ) -> LayerView:
        assert isinstance(step, BinaryDenseStep)  # accepts() refused everything else
        form = _form(step)
        ending = "scale" if isinstance(step.epilogue, Scale) else "bits"
        roles = ("gaps", "limits", "flips", "multipliers", "biases")
        return LayerView(
            symbol=symbol,
            c_type="picobnn_gaps_layer",
            function=f"picobnn_gaps_{ending}",
            numbers=(
                ("count", len(step.weights)),
                ("factor", form.factor % 2**32),
                ("balance", form.balance % 2**32),
            ),
            pointers=tuple((role, table_symbols.get(role, "NULL")) for role in roles),
            limited=(("words", _input_words(step), "PICOBNN_GAPS_MAX_WORDS"),),
        )


@lru_cache(maxsize=8)
def gap_lists(step: BinaryDenseStep) -> GapLists:
    """In the format of ``picobnn_gaps.h``."""
    names_clear = 2 * int(step.weights.sum(dtype=np.int64)) > step.weights.size
    filters, pixels, channels = np.nonzero((step.weights ^ names_clear).reshape(len(step.weights), -1, _channels(step)))
    places = 32 * -(-_channels(step) // 32) * pixels + channels
    lengths = np.bincount(filters, minlength=len(step.weights))
    parts: list[npt.NDArray[np.uint8]] = []
    runs = eights = rest = 0
    for ends, length in zip(np.cumsum(lengths), lengths, strict=True):
        for run in _runs(places[ends - length : ends]):
            parts.append(run)
            runs, eights, rest = runs + 1, eights + int(run[0]), rest + int(run[1]) % LAST_RUN
    return GapLists(names_clear, np.concatenate(parts), lengths, runs, eights, rest)


def _runs(places: npt.NDArray[np.int64]) -> list[npt.NDArray[np.uint8]]:
    """Of one filter, whose weights are named by the bits of the input that they meet, ascending."""
    words, entries = places // 32, (places + 1) % 32
    advances = np.diff(words, prepend=0)
    found: list[npt.NDArray[np.uint8]] = []
    starts = [0, *np.flatnonzero(advances[1:] > MAX_ADVANCE) + 1, len(places)]
    for start, end in pairwise(starts):
        skip = int(advances[start]) if end else 0
        while skip > MAX_SKIP:
            found.append(_run(entries[:0], MAX_SKIP))
            skip -= MAX_SKIP
        within = entries[start:end] | advances[start:end] << WORDS_AT
        within[:1] &= 31
        for first in range(0, max(1, len(within)), MAX_RUN):
            found.append(_run(within[first : first + MAX_RUN], skip))
            skip = 0
    found[-1][1] |= LAST_RUN
    return found


def _run(entries: npt.NDArray[np.int64], skip: int) -> npt.NDArray[np.uint8]:
    head = np.array([len(entries) // 8, len(entries) % 8, skip])
    return np.concatenate([head, entries]).astype(np.uint8)


def _form(step: BinaryDenseStep) -> _Form:
    taps, lists = _taps(step), gap_lists(step)
    step_up, rest = 2**step.domain.shift, step.domain.ratio
    if lists.names_clear:
        step_up, rest = -step_up, rest + step_up
    constants = step_up * lists.lengths + rest * taps
    largest = 2 * (abs(step_up) * int(lists.lengths.max()) + abs(rest) * taps) + 1
    return _Form(2 * step_up, 2 * rest, constants, largest)


def _fewer(weights: BitArray) -> int:
    ones = int(weights.sum(dtype=np.int64))
    return min(ones, weights.size - ones)


def _taps(step: BinaryDenseStep) -> int:
    return int(step.weights[0].size)


def _channels(step: BinaryDenseStep) -> int:
    return int(step.weights.shape[3])


def _input_words(step: BinaryDenseStep) -> int:
    return _taps(step) // _channels(step) * -(-_channels(step) // 32)


STRATEGY = GapsStrategy()
