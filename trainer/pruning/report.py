# SPDX-License-Identifier: Apache-2.0
"""What pruning removed, in numbers. Made by the methods' ``finish``, joined over rounds by ``schedule.prune``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class PrunedLayer:
    """Filters of one layer before (``total``) and after (``kept``)."""

    name: str
    kept: int
    total: int


@dataclass(frozen=True, slots=True)
class LayerOnes:
    """Weight bits of one hidden layer that are 1, of ``total``; ``shift`` and ``ratio``: its weight domain."""

    name: str
    ones: int
    total: int
    shift: int
    ratio: int


@dataclass(frozen=True, slots=True)
class LayerMargins:
    """Margins ``1 - |w|`` of one layer's latent weights, 0 (decided) to 1 (on the boundary between the signs).

    ``mean``; ``decided``: share of the weights with ``|w| > 0.9``; ``histogram``: weights per bin, the bins equal and
    from margin 0 to margin 1, both ends inside.
    """

    name: str
    mean: float
    decided: float
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PruningReport:
    """Counts over the prunable layers: every convolution, the first included, and every hidden dense layer.

    ``ones``: of the hidden layers, where the method changes what weights are; ``margins``: of every binary layer, where
    the method moves latent weights away from 0; empty elsewhere. ``fixed``: layers that the method leaves whole by
    its definition; ``filters_removed`` counts their filters, ``filters_removed_elsewhere`` does not.
    """

    method: str
    layers: tuple[PrunedLayer, ...]
    macs_before: int
    macs_after: int
    ones: tuple[LayerOnes, ...] = ()
    margins: tuple[LayerMargins, ...] = ()
    fixed: tuple[str, ...] = ()

    @property
    def filters_removed(self) -> float:
        """Removed share of all filters of prunable layers, 0 to 1 (PFR)."""
        total = sum(layer.total for layer in self.layers)
        return 1 - sum(layer.kept for layer in self.layers) / total

    @property
    def filters_removed_elsewhere(self) -> float:
        """Removed share of the filters of the layers that are not ``fixed``, 0 to 1; 0 where there are none."""
        open_layers = [layer for layer in self.layers if layer.name not in self.fixed]
        total = sum(layer.total for layer in open_layers)
        return 1 - sum(layer.kept for layer in open_layers) / total if total else 0.0

    @property
    def macs_removed(self) -> float:
        """Saved share of the multiply-accumulates, the readers' smaller inputs included, 0 to 1 (PCR)."""
        return 1 - self.macs_after / self.macs_before

    @property
    def density(self) -> float | None:
        """Share of ones of the hidden layers' weights, 0 to 1; None where no method counted them."""
        total = sum(layer.total for layer in self.ones)
        return sum(layer.ones for layer in self.ones) / total if total else None

    def then(self, later: PruningReport) -> PruningReport:
        """This round and a later one on its result, as one report."""
        layers = tuple(
            PrunedLayer(first.name, last.kept, first.total)
            for first, last in zip(self.layers, later.layers, strict=True)
        )
        return replace(later, method=self.method, layers=layers, macs_before=self.macs_before)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "method": self.method,
            "layers": [{"name": x.name, "kept": x.kept, "total": x.total} for x in self.layers],
            "filters_removed": self.filters_removed,
            "filters_removed_elsewhere": self.filters_removed_elsewhere,
            "fixed": list(self.fixed),
            "macs_removed": self.macs_removed,
            "macs_before": self.macs_before,
            "macs_after": self.macs_after,
            "density": self.density,
            "ones": [asdict(layer) for layer in self.ones],
            "margins": [asdict(layer) for layer in self.margins],
        }
