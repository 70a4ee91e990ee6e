# SPDX-License-Identifier: Apache-2.0
"""Trained network -> compiler graph, one file per layer kind: the only part of the trainer that meets the compiler."""

from picobnn.trainer.export.graph import EXPORTERS, to_graph
from picobnn.trainer.export.outputs import ModuleOutput, module_outputs
from picobnn.trainer.export.threshold import find_threshold

__all__ = ["EXPORTERS", "ModuleOutput", "find_threshold", "module_outputs", "to_graph"]
