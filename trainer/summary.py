# SPDX-License-Identifier: Apache-2.0
"""The bill of a network before export: shapes, weight bits, KiB and multiply-adds of every layer.

One row per layer that ends up in firmware; pool, batch norm and sign are part of the step of their convolution and
cost no weights of their own. Counts are of the network as it is built; masks do not change them, compaction does.
Called by the flow and from Python.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from torch import Tensor, nn

from picobnn.trainer.layers import BinaryConv2d, BinaryLinear, BinaryWeightLayer, InputConv2d, LogitScale
from picobnn.trainer.modes import evaluating

_BITS_PER_KIB = 8 * 1024


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer. Shapes are (C, H, W) or (features,), without the batch; ``macs`` are per image.

    ``input_bits`` is 8 for the image, 1 for binary activations, 32 for accumulators: the precision of the MACs.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weight_bits: int
    input_bits: int
    macs: int

    @property
    def weight_kib(self) -> float:
        return self.weight_bits / _BITS_PER_KIB


@dataclass(frozen=True, slots=True)
class Summary:
    """All rows, and totals. Print it with rich, or take :meth:`as_dict` for JSON."""

    title: str
    rows: tuple[LayerRow, ...]

    @property
    def weight_bits(self) -> int:
        return sum(row.weight_bits for row in self.rows)

    @property
    def weight_kib(self) -> float:
        """KiB of packed weights, without padding to words, thresholds and code."""
        return self.weight_bits / _BITS_PER_KIB

    def macs(self, input_bits: int) -> int:
        """Multiply-adds per image at that precision of the activations (1 or 8; weights are always 1 bit)."""
        return sum(row.macs for row in self.rows if row.input_bits == input_bits)

    def as_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "layers": [asdict(row) for row in self.rows],
            "weight_bits": self.weight_bits,
            "weight_kib": self.weight_kib,
            "macs_1_bit": self.macs(1),
            "macs_8_bit": self.macs(8),
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table()

    def table(self) -> Table:
        """A rich table with a row of totals."""
        table = Table(title=self.title, show_footer=True)
        table.add_column("layer", "total")
        table.add_column("kind")
        table.add_column("in")
        table.add_column("out")
        table.add_column("weight bits", f"{self.weight_bits:,}", justify="right")
        table.add_column("KiB", f"{self.weight_kib:.2f}", justify="right")
        table.add_column("MACs 1 bit", f"{self.macs(1):,}", justify="right")
        table.add_column("MACs 8 bit", f"{self.macs(8):,}", justify="right")
        for row in self.rows:
            table.add_row(
                row.name,
                row.kind,
                "x".join(map(str, row.input_shape)),
                "x".join(map(str, row.output_shape)),
                f"{row.weight_bits:,}",
                f"{row.weight_kib:.2f}",
                f"{row.macs:,}" if row.input_bits == 1 else "",
                f"{row.macs:,}" if row.input_bits == 8 else "",
            )
        return table


@torch.no_grad()
def summary(model: nn.Module, input_shape: tuple[int, int, int]) -> Summary:
    """The bill of ``model`` for images of ``input_shape`` (C, H, W). Runs one grey image in eval mode; keeps the mode.

    Layers other than picobnn's (of a float twin, say) get no row.
    """
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, BinaryWeightLayer | LogitScale)}

    def recorder(name: str) -> Any:
        def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            shapes[name] = (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))

        return record

    hooks = [layer.register_forward_hook(recorder(name)) for name, layer in layers.items()]
    try:
        device = next(model.parameters()).device
        with evaluating(model):
            model(torch.full((1, *input_shape), 128, dtype=torch.uint8, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    rows = tuple(_row(name, layers[name], *shapes[name]) for name in shapes)
    return Summary(getattr(model, "model_name", type(model).__name__), rows)


def _row(name: str, layer: nn.Module, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> LayerRow:
    kind = type(layer).__name__
    if isinstance(layer, InputConv2d | BinaryConv2d):
        bits = layer.weight.numel()
        places = output_shape[1] * output_shape[2]
        input_bits = 8 if isinstance(layer, InputConv2d) else 1
        return LayerRow(name, kind, input_shape, output_shape, bits, input_bits, bits * places)
    if isinstance(layer, BinaryLinear):
        bits = layer.weight.numel()
        return LayerRow(name, kind, input_shape, output_shape, bits, 1, bits)
    return LayerRow(name, kind, input_shape, output_shape, 0, 32, output_shape[0])
