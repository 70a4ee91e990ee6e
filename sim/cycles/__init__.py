# SPDX-License-Identifier: Apache-2.0
"""Cycles of firmware from the blocks and edges that ran on the emulator: counted instructions, modelled cycles.

``build_plugin`` and ``plugin_argument`` make QEMU count, ``read_counts`` reads what it counted, ``layer_costs`` turns
it into the cost of every step; ``find_model`` gives a core's cycle model with its error band. docs/cycle-models.md
says what the models know and what they do not.
"""

from picobnn.sim.cycles.costs import FunctionCost, LayerCost, layer_costs, total_cycles, total_instructions
from picobnn.sim.cycles.counts import BlockCount, Edge, Segment, read_counts
from picobnn.sim.cycles.flash import FlashLines, flash_lines, line_changes
from picobnn.sim.cycles.instruction import Instruction, Kind
from picobnn.sim.cycles.model import MODELS, CycleModel, find_model
from picobnn.sim.cycles.plugin_build import build_plugin, plugin_argument

__all__ = [
    "MODELS",
    "BlockCount",
    "CycleModel",
    "Edge",
    "FlashLines",
    "FunctionCost",
    "Instruction",
    "Kind",
    "LayerCost",
    "Segment",
    "build_plugin",
    "find_model",
    "flash_lines",
    "layer_costs",
    "line_changes",
    "plugin_argument",
    "read_counts",
    "total_cycles",
    "total_instructions",
]
