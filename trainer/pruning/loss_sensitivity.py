# SPDX-License-Identifier: Apache-2.0
"""Rank filters by how much the loss would change without them, to first order.

Formula: ``score[c] = mean over images of |sum over positions of (dL/dy[c] * y[c])|`` with y the output of the sign:
the Taylor term of removing channel c, which sets y[c] to 0 (Molchanov et al., arXiv 1611.06440).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from picobnn.trainer.pruning.method import RankingMethod
from picobnn.trainer.pruning.structure import FilterGroup, find_filters
from picobnn.trainer.pruning.training import Batches


class LossSensitivity(RankingMethod):
    """First-order Taylor of the cross entropy on training batches; needs no labels beyond the training set's."""

    name: ClassVar[str] = "sensitivity"

    def scores(self, model: nn.Module, groups: Sequence[FilterGroup], batches: Batches) -> dict[str, Tensor]:
        """Computed on a copy in train mode, where batch norm and logits have gradients; the model is left alone."""
        probe = deepcopy(model).train()
        totals = {group.name: torch.zeros(group.filters) for group in groups}
        for group in find_filters(probe):
            for sign in group.signs:
                sign.register_forward_hook(partial(_watch, totals[group.name]))
        device = next(probe.parameters()).device
        for images, labels in batches:
            loss = cross_entropy(probe(images.to(device)).float(), labels.to(device), reduction="sum")
            loss.backward()
        return totals


def _watch(total: Tensor, _sign: nn.Module, _inputs: object, output: Tensor) -> None:
    """Add this batch's terms to ``total`` when the gradient of the sign's output arrives."""
    values = output.detach()

    def add(gradient: Tensor) -> None:
        terms = (gradient * values).float().flatten(2).sum(2) if values.dim() > 2 else (gradient * values).float()
        total.add_(terms.abs().sum(0).cpu())

    output.register_hook(add)
