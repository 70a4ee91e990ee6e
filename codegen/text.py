# SPDX-License-Identifier: Apache-2.0
"""Graphs and programs as text, one line per value, for ``--dump-after PASS``, logs and tests.

Invariant: a pure function of its argument; arrays show as their shape and range. Nothing reads it back.
"""

from __future__ import annotations

from picobnn.codegen.bnn_file import model_hash
from picobnn.codegen.ir import (
    BinaryConv2d,
    BinaryDense,
    Flatten,
    Graph,
    InputConv2d,
    InputImage,
    MaxPool2d,
    Operation,
    ScaleLogits,
    Sign,
    verify_graph,
)
from picobnn.codegen.program import (
    BinaryConv2dStep,
    BinaryDenseStep,
    InputConv2dStep,
    Program,
    Step,
    accumulator_bounds,
    step_macs,
)
from picobnn.codegen.vocabulary import Epilogue, Int32Array, Scale, Window

Layer = InputConv2d | BinaryConv2d | BinaryDense | Step


def graph_text(graph: Graph) -> str:
    """One line per node: name, type, operation and its inputs. Raises what :func:`verify_graph` raises."""
    types = verify_graph(graph)
    lines = [f"graph {graph.name}"]
    for node in graph.nodes:
        value = types[node.name]
        head = f"  {node.name}: {value.kind.value} {value.shape} = "
        if isinstance(node, InputImage):
            lines.append(f"{head}image, zero point {node.zero_point}")
        else:
            source = f"  # {node.source}" if node.source else ""
            lines.append(f"{head}{_operation(node)}{source}")
    return "\n".join(lines) + "\n"


def program_text(program: Program) -> str:
    """One line per step of a verified program: tensors, operation, accumulator range, multiply-accumulates."""
    image = program.input
    lines = [
        f"program {program.name}, model hash {model_hash(program).hex()[:16]}",
        f"  %0 {image.name}: {image.kind.value} {image.shape} = image, zero point {program.input_zero_point}",
    ]
    for step in program.steps:
        target = program.tensors[step.output]
        low, high = accumulator_bounds(program, step)
        lines.append(
            f"  %{step.output} {target.name}: {target.kind.value} {target.shape} = {_layer(step, f'%{step.input}')}"
            f"  # {step.source or step.name}: acc {low.min()} to {high.max()}, {step_macs(program, step)} MACs"
        )
    return "\n".join(lines) + "\n"


def _operation(node: Operation) -> str:
    match node:
        case MaxPool2d():
            return f"max_pool2d({node.input}, {_window(node.window)})"
        case Sign():
            return f"sign({node.input}, {_epilogue(node.threshold)})"
        case ScaleLogits():
            return f"scale_logits({node.input}, {_epilogue(node.scale)})"
        case Flatten():
            return f"flatten({node.input})"
        case _:
            return _layer(node, node.input)


def _layer(layer: Layer, reads: str) -> str:
    parts = [reads, f"weights {'x'.join(str(side) for side in layer.weights.shape)}"]
    match layer:
        case InputConv2d() | InputConv2dStep():
            name = "input_conv2d"
        case BinaryConv2d() | BinaryConv2dStep():
            name = "binary_conv2d"
        case BinaryDense() | BinaryDenseStep():
            name = "binary_dense"
    if not isinstance(layer, BinaryDense | BinaryDenseStep):
        parts.append(_window(layer.window))
        if isinstance(layer, BinaryConv2d | BinaryConv2dStep) and layer.window.has_padding:
            parts.append(f"pad {layer.pad_mode.value}")
        if layer.pool is not None:
            parts.append(f"pool {layer.pool.stage.value} {_window(layer.pool.window)}")
    if layer.epilogue is not None:
        parts.append(_epilogue(layer.epilogue))
    return f"{name}({', '.join(parts)})"


def _window(window: Window) -> str:
    """Size, then stride and pads (top, left, bottom, right) where they are not the default."""
    text = f"window {window.height}x{window.width}"
    if (window.stride_y, window.stride_x) != (1, 1):
        text += f" stride {window.stride_y}x{window.stride_x}"
    if window.has_padding:
        text += f" pads {window.pad_top},{window.pad_left},{window.pad_bottom},{window.pad_right}"
    return text


def _epilogue(epilogue: Epilogue) -> str:
    if isinstance(epilogue, Scale):
        return f"scale m {_range(epilogue.multiplier)} b {_range(epilogue.bias)}"
    return f"threshold {_range(epilogue.thresholds)} with {int(epilogue.flip.sum())} flips"


def _range(values: Int32Array) -> str:
    return f"{values.min()} to {values.max()}"
