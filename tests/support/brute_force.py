# SPDX-License-Identifier: Apache-2.0
"""One step on one image in plain Python loops, straight from docs/integer-semantics.md: no numpy arithmetic, nothing
shared with the reference. Maps are nested lists ``[y][x][c]``.
"""

from __future__ import annotations

from itertools import product

from picobnn.codegen.program import BinaryConv2dStep, BinaryDenseStep, InputConv2dStep, Step
from picobnn.codegen.vocabulary import Epilogue, PadMode, Pool, PoolStage, Scale, Window

Map = list[list[list[int]]]


def run_step_slowly(step: Step, source: Map, zero_point: int) -> Map:
    """Image bytes or bits in, bits or logits out."""
    height, width, channels = len(source), len(source[0]), len(source[0][0])
    if isinstance(step, BinaryDenseStep):
        places = list(product(range(height), range(width), range(channels)))
        filters = _values(step)
        sums = [sum(_sign(source[y][x][c]) * row[y][x][c] for y, x, c in places) for row in filters]
        return _finish([[sums]], None, step.epilogue)
    rows, columns = step.window.output_size(height, width)
    filters = _values(step)
    accumulators = [
        [[_one_sum(step, source, o, filters[o], y, x, zero_point) for o in range(len(filters))] for x in range(columns)]
        for y in range(rows)
    ]
    return _finish(accumulators, step.pool, step.epilogue)


def _values(step: Step) -> list[Map]:
    """Weight values [o][ky][kx][i]: -1 and +1 for an image, the domain's for bits, 0 where a tap is removed."""
    if isinstance(step, InputConv2dStep):
        clear, set_ = -1, 1
        kept = step.weights * 0 + 1
    else:
        clear, set_ = step.domain.ratio, 2**step.domain.shift + step.domain.ratio
        kept = step.weights * 0 + 1 if step.kept is None else step.kept
    pairs = zip(step.weights.reshape(-1).tolist(), kept.reshape(-1).tolist(), strict=True)
    flat = iter([(set_ if bit else clear) if keep else 0 for bit, keep in pairs])
    outputs, rows, columns, channels = step.weights.shape
    return [
        [[[next(flat) for _ in range(channels)] for _ in range(columns)] for _ in range(rows)] for _ in range(outputs)
    ]


def _one_sum(
    step: InputConv2dStep | BinaryConv2dStep,
    source: Map,
    output: int,
    weights: Map,
    row: int,
    column: int,
    zero_point: int,
) -> int:
    window, total = step.window, 0
    groups = 1 if isinstance(step, InputConv2dStep) else step.groups
    first = output // (len(step.weights) // groups) * step.weights.shape[3]
    for ky, kx in product(range(window.height), range(window.width)):
        y = row * window.stride_y + ky - window.pad_top
        x = column * window.stride_x + kx - window.pad_left
        inside = 0 <= y < len(source) and 0 <= x < len(source[0])
        for c, weight in enumerate(weights[ky][kx], start=first):
            if isinstance(step, InputConv2dStep):
                pixel = (source[y][x][c] if inside else zero_point) - zero_point
            elif inside:
                pixel = _sign(source[y][x][c])
            else:
                pixel = -1 if step.pad_mode is PadMode.MINUS_ONE else 0
            total += pixel * weight
    return total


def _finish(accumulators: Map, pool: Pool | None, epilogue: Epilogue) -> Map:
    rows, columns, channels = len(accumulators), len(accumulators[0]), len(accumulators[0][0])
    if isinstance(epilogue, Scale):
        m, b = epilogue.multiplier.tolist(), epilogue.bias.tolist()
        return [[[acc * m[o] + b[o] for o, acc in enumerate(pixel)] for pixel in row] for row in accumulators]
    limits, flips = epilogue.thresholds.tolist(), epilogue.flip.tolist()
    window, stage = (Window(1, 1), PoolStage.ACC) if pool is None else (pool.window, pool.stage)
    out_rows, out_columns = window.output_size(rows, columns)
    result = [[[0] * channels for _ in range(out_columns)] for _ in range(out_rows)]
    for row, column, o in product(range(out_rows), range(out_columns), range(channels)):
        passes = []
        for ky, kx in product(range(window.height), range(window.width)):
            y = row * window.stride_y + ky - window.pad_top
            x = column * window.stride_x + kx - window.pad_left
            if 0 <= y < rows and 0 <= x < columns:
                passes.append(accumulators[y][x][o] >= limits[o])
        wins = all if flips[o] and stage is PoolStage.BIT else any
        result[row][column][o] = int(wins(passes) ^ bool(flips[o]))
    return result


def _sign(bit: int) -> int:
    return 1 if bit else -1
