# SPDX-License-Identifier: Apache-2.0
"""The output layer: batch norm while training, an integer multiply-add per class in eval mode. Ends every network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from picobnn.errors import ErrorId, PicobnnError

MULTIPLIER_BITS = 15  # max |m| lies in [2**14, 2**15): int16, and as good as float for argmax (reference: training)
_INT32_MAX = 2**31 - 1
_MAX_EXPONENT = 126  # 2**exponent and its inverse stay normal float32 values


class LogitScale(nn.Module):
    """Train mode: ``y = (acc - mean) / sqrt(var + eps) * gamma + beta``. Eval mode: ``y = acc * m + b``, int32.

    (m, b) are the float scale and shift times 2**exponent, rounded to integers; the exponent is chosen from the
    float values so that max |m| lies in [2**14, 2**15). The integers are the definition that export and firmware
    share; ``argmax`` of eval mode is the class, ties to the lower index.

    Gradient: batch norm's in train mode, none in eval mode.
    Shape: (N, classes) accumulators -> (N, classes), float in train mode, int32 in eval mode.
    Lowers to: the ``acc * m + b`` logits of the last step.
    """

    def __init__(self, classes: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.classes = classes
        self.norm = nn.BatchNorm1d(classes, eps=eps)

    def forward(self, acc: Tensor) -> Tensor:
        if self.training:
            result: Tensor = self.norm(acc.float())
            return result
        multiplier, bias = (v.to(acc.device, torch.int64) for v in self.integers())
        logits = acc.round().to(torch.int64) * multiplier + bias
        return logits.to(torch.int32)

    @torch.no_grad()
    def float_values(self) -> tuple[Tensor, Tensor]:
        """Scale and shift per class, each (classes,) float64 on the CPU, from the running statistics."""
        norm = self.norm
        if norm.running_mean is None or norm.running_var is None:
            raise PicobnnError(
                ErrorId.UNSUPPORTED_LAYER,
                "The batch norm keeps no running statistics.",
                where="LogitScale",
                remedy="Use the layer's own batch norm.",
            )
        inverse = (norm.running_var.detach().cpu().double() + norm.eps).rsqrt()
        scale = inverse * norm.weight.detach().cpu().double()
        shift = norm.bias.detach().cpu().double() - norm.running_mean.detach().cpu().double() * scale
        return scale, shift

    def exponent(self) -> int:
        """The power of two by which eval logits are larger than the float logits."""
        largest = float(self.float_values()[0].abs().max())
        if largest == 0.0:
            return MULTIPLIER_BITS - 1
        exponent = MULTIPLIER_BITS - math.frexp(largest)[1]
        if round(math.ldexp(largest, exponent)) >= 2**MULTIPLIER_BITS:
            exponent -= 1
        return max(-_MAX_EXPONENT, min(_MAX_EXPONENT, exponent))

    def integers(self) -> tuple[Tensor, Tensor]:
        """(m, b), each (classes,) int32 on the CPU: what eval mode, export and firmware compute with.

        Raises UNSUPPORTED_FEATURE when a shift does not fit 32 bits (a batch norm that ignores its input).
        """
        scale, shift = self.float_values()
        factor = math.ldexp(1.0, self.exponent())
        multiplier = (scale * factor).round()
        bias = (shift * factor).round()
        if not bool(torch.isfinite(bias).all()) or float(bias.abs().max()) > _INT32_MAX:
            raise PicobnnError(
                ErrorId.UNSUPPORTED_FEATURE,
                f"The shift of a logit is {float(bias.abs().max()):.3g} after scaling, beyond 32 bits.",
                where="LogitScale",
                remedy="Train longer, or check that the last layer's scale has not collapsed to zero.",
            )
        return multiplier.to(torch.int32), bias.to(torch.int32)

    def to_float(self, logits: Tensor) -> Tensor:
        """Float logits for a loss, from the int32 logits of eval mode: ``logits / 2**exponent``, float32."""
        return logits.to(torch.float32) * math.ldexp(1.0, -self.exponent())

    def extra_repr(self) -> str:
        return f"{self.classes}"
