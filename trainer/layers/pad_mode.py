# SPDX-License-Identifier: Apache-2.0
"""What a binary convolution sees outside its map. Export maps this enum to the compiler's."""

from __future__ import annotations

from enum import Enum


class PadMode(Enum):
    """``MINUS_ONE`` needs no extra bits in firmware; ``ZERO`` drops the taps outside the map."""

    MINUS_ONE = "minus_one"
    ZERO = "zero"
