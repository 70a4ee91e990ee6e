# SPDX-License-Identifier: Apache-2.0
"""Random graphs as an exporter would make them (nothing fused), and a plain evaluator for them.

The evaluator is independent of the compiler and of the reference: nested loops over int64 values, node by node.
"""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt

from picobnn.codegen.ir import (
    BinaryConv2d,
    BinaryDense,
    Flatten,
    Graph,
    InputConv2d,
    InputImage,
    MaxPool2d,
    Node,
    PadMode,
    Scale,
    ScaleLogits,
    Shape,
    Sign,
    Threshold,
    WeightDomain,
    Window,
)

Values = npt.NDArray[np.int64]


def evaluate_graph(graph: Graph, image: npt.NDArray[np.uint8]) -> dict[str, Values]:
    """Every value of the graph on one image (H, W, C); bits come as -1 and +1."""
    values: dict[str, Values] = {}
    for node in graph.nodes:
        values[node.name] = _evaluate(node, values, image)
    return values


def _evaluate(node: Node, values: dict[str, Values], image: npt.NDArray[np.uint8]) -> Values:
    match node:
        case InputImage():
            return image.astype(np.int64) - node.zero_point
        case InputConv2d():
            return _convolve(values[node.input], node.weights.astype(np.int64) * 2 - 1, node.window, 0, 1)
        case BinaryConv2d():
            fill = -1 if node.pad_mode is PadMode.MINUS_ONE else 0
            weights = _weight_values(node.weights, node.kept, node.domain)
            return _convolve(values[node.input], weights, node.window, fill, node.groups)
        case BinaryDense():
            weights = _weight_values(node.weights, node.kept, node.domain)
            return np.array([[[int((weights[o] * values[node.input]).sum()) for o in range(len(weights))]]])
        case MaxPool2d():
            return _max_pool(values[node.input], node.window)
        case Sign():
            passes = values[node.input] >= node.threshold.thresholds
            return np.where(passes ^ node.threshold.flip.astype(bool), 1, -1)
        case ScaleLogits():
            return values[node.input] * node.scale.multiplier.astype(np.int64) + node.scale.bias
        case Flatten():
            return values[node.input].reshape(1, 1, -1)


def _weight_values(bits: npt.NDArray[np.uint8], kept: npt.NDArray[np.uint8] | None, domain: WeightDomain) -> Values:
    values = np.where(bits == 1, 2**domain.shift + domain.ratio, domain.ratio)
    return values if kept is None else np.where(kept == 1, values, 0)


def _convolve(source: Values, weights: Values, window: Window, fill: int, groups: int) -> Values:
    spread = np.zeros((*weights.shape[:3], source.shape[2]), np.int64)  # 0 outside a filter's group
    inputs, outputs = weights.shape[3], len(weights) // groups
    for o in range(len(weights)):
        first = o // outputs * inputs
        spread[o, :, :, first : first + inputs] = weights[o]
    height, width, _ = source.shape
    rows, columns = window.output_size(height, width)
    result = np.zeros((rows, columns, len(weights)), np.int64)
    for y in range(rows):
        for x in range(columns):
            for ky in range(window.height):
                for kx in range(window.width):
                    row = y * window.stride_y + ky - window.pad_top
                    column = x * window.stride_x + kx - window.pad_left
                    inside = 0 <= row < height and 0 <= column < width
                    pixel = source[row, column] if inside else np.full(source.shape[2], fill)
                    result[y, x] += spread[:, ky, kx, :] @ pixel
    return result


def _max_pool(source: Values, window: Window) -> Values:
    height, width, channels = source.shape
    rows, columns = window.output_size(height, width)
    result = np.zeros((rows, columns, channels), np.int64)
    for y in range(rows):
        for x in range(columns):
            top, left = y * window.stride_y - window.pad_top, x * window.stride_x - window.pad_left
            patch = source[max(top, 0) : top + window.height, max(left, 0) : left + window.width]
            result[y, x] = patch.max(axis=(0, 1))
    return result


def bits(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.uint8]:
    return rng.integers(0, 2, shape, dtype=np.uint8)


def domains(rng: np.random.Generator) -> WeightDomain:
    """-1 and +1 half the time; 0 and 1, shared beta, and any other."""
    drawn = WeightDomain(int(rng.integers(0, 6)), int(rng.integers(-9, 10)))
    choices = [WeightDomain(1, -1)] * 4 + [WeightDomain(0, 0), WeightDomain(4, -1), drawn, drawn]
    return choices[int(rng.integers(len(choices)))]


def masks(rng: np.random.Generator, weights: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """No mask half the time; clears the weight bits of removed taps, in place."""
    share = rng.choice([1.0, 1.0, 1.0, 0.5, 0.2, 0.0])
    if share == 1.0:
        return None
    kept = (rng.random(weights.shape) < share).astype(np.uint8)
    weights &= kept
    return kept


def thresholds(rng: np.random.Generator, count: int, reach: int, largest: int = 1) -> Threshold:
    """Near zero mostly, some beyond what can be reached by ``reach`` weights of at most ``largest``."""
    values = rng.integers(-5 * largest, 5 * largest + 1, count)
    far = rng.random(count) < 0.2
    reach *= largest
    values[far] = rng.choice([-reach - 7, -reach, reach, reach + 1, reach + 9], int(far.sum()))
    return Threshold(values.astype(np.int32), bits(rng, count))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A chain: input convolution, binary convolutions, flatten, dense layers; pools on one side of the signs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = Shape(draw(st.integers(3, 7)), draw(st.integers(3, 7)), draw(st.integers(1, 3)))
    nodes: list[Node] = [InputImage("image", shape, draw(st.sampled_from([0, 1, 128, 255])))]
    convs, denses = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    for index in range(convs):
        outputs = draw(st.integers(1, 9))
        window = _window(draw, shape, 3, pool=False)
        divisors = [count for count in range(1, 10) if shape.channels % count == outputs % count == 0]
        groups = draw(st.sampled_from(divisors)) if index else 1
        weights = bits(rng, outputs, window.height, window.width, shape.channels // groups)
        largest = 1
        name, before = f"conv{index}", nodes[-1].name
        if index == 0:
            nodes.append(InputConv2d(name, name, before, weights, window))
        else:
            mode = draw(st.sampled_from(PadMode))
            domain, kept = domains(rng), masks(rng, weights)
            largest = max(abs(value) for value in domain.values)
            nodes.append(BinaryConv2d(name, name, before, weights, window, mode, domain, groups, kept=kept))
        shape = Shape(*window.output_size(shape.height, shape.width), outputs)
        if index == convs - 1 and not denses and draw(st.booleans()):
            nodes += _result(draw, rng, name, outputs)
            return Graph("random", tuple(nodes))
        sign = Sign(f"sign{index}", f"sign{index}", "", thresholds(rng, outputs, weights[0].size, largest))
        shape = _add_pools_and_sign(draw, nodes, sign, shape, index)
    for index in range(denses):
        name, fan_in = f"dense{index}", shape.elements
        if index == 0:
            nodes.append(Flatten("flatten", "flatten", nodes[-1].name))
        outputs = draw(st.integers(1, 6))
        weights = bits(rng, outputs, 1, 1, fan_in)
        domain, kept = domains(rng), masks(rng, weights)
        nodes.append(BinaryDense(name, name, nodes[-1].name, weights, domain, kept=kept))
        shape = Shape(1, 1, outputs)
        if index == denses - 1:
            nodes += _result(draw, rng, name, outputs)
        else:
            nodes.append(Sign(f"dsign{index}", f"dsign{index}", name, thresholds(rng, outputs, fan_in)))
    return Graph("random", tuple(nodes))


def _result(draw: st.DrawFn, rng: np.random.Generator, name: str, outputs: int) -> list[Node]:
    kind = draw(st.sampled_from(["raw", "scale", "sign"]))
    if kind == "scale":
        scale = Scale(*rng.integers(-(2**15), 2**15, (2, outputs)).astype(np.int32))
        return [ScaleLogits("logits", "logits", name, scale)]
    return [Sign("last", "last", name, thresholds(rng, outputs, 9))] if kind == "sign" else []


def _add_pools_and_sign(draw: st.DrawFn, nodes: list[Node], sign: Sign, shape: Shape, index: int) -> Shape:
    """No pool, one, an identity, or two that merge, in front of the sign or behind it."""
    windows: list[Window] = []
    kind = draw(st.sampled_from(["none", "one", "identity", "two"]))
    if kind == "identity":
        windows.append(Window(1, 1))
    if kind == "two" and min(shape.height, shape.width) > 2:
        windows.append(Window(2, 2, draw(st.integers(1, 2)), 1, pad_top=draw(st.integers(0, 1))))
    if kind in ("one", "two"):
        inner = Shape(*_output(windows, shape), shape.channels)
        windows.append(_window(draw, inner, 3, pool=True, padded=kind == "one"))
    names = [f"pool{index}_{order}" for order in range(len(windows))]
    pools = [MaxPool2d(name, name, "", window) for name, window in zip(names, windows, strict=True)]
    for node in [*pools, sign] if draw(st.booleans()) else [sign, *pools]:
        nodes.append(replace(node, input=nodes[-1].name))
    return Shape(*_output(windows, shape), shape.channels)


def _output(windows: list[Window], shape: Shape) -> tuple[int, int]:
    rows, columns = shape.height, shape.width
    for window in windows:
        rows, columns = window.output_size(rows, columns)
    return rows, columns


def _window(draw: st.DrawFn, shape: Shape, most: int, *, pool: bool, padded: bool = True) -> Window:
    height = draw(st.integers(1, min(most, shape.height)))
    width = draw(st.integers(1, min(most, shape.width)))
    limits = [min(1, size - 1) if pool else 1 for size in (height, width, height, width)]
    pads = [draw(st.integers(0, limit)) if padded else 0 for limit in limits]
    return Window(height, width, draw(st.integers(1, 2)), draw(st.integers(1, 2)), *pads)
