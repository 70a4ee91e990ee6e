# SPDX-License-Identifier: Apache-2.0
"""picobnn turns pruned binary neural networks into Cortex-M firmware and shows that the firmware computes exactly
what the trained network computes.

The verbs of the command line are functions of the same name; nothing heavy is imported before one is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picobnn.flow.export import export
    from picobnn.flow.prune import prune
    from picobnn.flow.report import report
    from picobnn.flow.simulate import simulate
    from picobnn.flow.train import train
    from picobnn.flow.verify import verify

__version__ = "0.1.0"

__all__ = ["__version__", "export", "prune", "report", "simulate", "train", "verify"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"picobnn.flow.{name}"), name)
    raise AttributeError(f"module 'picobnn' has no attribute '{name}'")
