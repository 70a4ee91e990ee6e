# SPDX-License-Identifier: Apache-2.0
"""Dense layer of +-1 activations with +-1 weights. Used by every network, as head or hidden layer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from picobnn.trainer.layers.binary_weight import BinaryWeightLayer, all_ones, exact_accumulator, full_precision


class BinaryLinear(BinaryWeightLayer):
    """``acc = sum(x * sign(weight))``; no bias.

    ``input_mask`` (I,) holds 1 for kept and 0 for removed inputs; a removed input takes no part in the sum.

    Gradient: to ``x`` that of a dense layer, to ``weight`` through :func:`sign_ste`.
    Shape: (N, I) of -1, +1, and 0 in removed inputs -> (N, O), integers of magnitude at most I; float32 in eval mode.
    Lowers to: the program's binary dense step (export permutes the weights behind a flatten from C,H,W to H,W,C).
    Source: Courbariaux et al. (arXiv 1602.02830).
    """

    input_mask: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__((out_features, in_features), largest_input=1)
        self.in_features = in_features
        self.out_features = out_features
        self.register_buffer("input_mask", torch.ones(in_features))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.binary_weight()
        if not all_ones(self.input_mask):
            weight = weight * self.input_mask
        if self.training:
            return functional.linear(x, weight)
        with full_precision(x):
            return exact_accumulator(functional.linear(x.float(), weight))

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"
