# SPDX-License-Identifier: Apache-2.0
"""Layers of binary networks, one per file. Batch norm, max pool and flatten are torch's own."""

from picobnn.trainer.layers.binary_conv2d import BinaryConv2d
from picobnn.trainer.layers.binary_linear import BinaryLinear
from picobnn.trainer.layers.binary_weight import BinaryWeightLayer
from picobnn.trainer.layers.filter_gate import FilterGate
from picobnn.trainer.layers.input_conv2d import InputConv2d
from picobnn.trainer.layers.logit_scale import LogitScale
from picobnn.trainer.layers.pad_mode import PadMode
from picobnn.trainer.layers.sign import Sign
from picobnn.trainer.layers.two_values import TwoValues, best_two_values, fractional_bits

LEAF_TYPES: tuple[type, ...] = (InputConv2d, BinaryConv2d, BinaryLinear, Sign, LogitScale)
"""Modules a tracer keeps whole."""

__all__ = [
    "LEAF_TYPES",
    "BinaryConv2d",
    "BinaryLinear",
    "BinaryWeightLayer",
    "FilterGate",
    "InputConv2d",
    "LogitScale",
    "PadMode",
    "Sign",
    "TwoValues",
    "best_two_values",
    "fractional_bits",
]
