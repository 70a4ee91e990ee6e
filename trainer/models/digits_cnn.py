# SPDX-License-Identifier: Apache-2.0
"""Network for 8x8 digits, small enough for a Cortex-M0: three convolutions, 8x8 -> 4x4 -> 4x4, and a dense output."""

from __future__ import annotations

from typing import ClassVar

from picobnn.trainer.models.network import Network, NetworkConfig, convolution_stages, dense_output

WIDTHS = (24, 32, 32)


class DigitsCnn(Network):
    """conv 24 - pool - conv 32 - conv 32 - dense 10, all weights binary: 21,464 weight bits = 2.6 KiB dense.

    Shape: (N, 1, 8, 8) uint8 -> (N, 10).
    """

    model_name: ClassVar[str] = "digits_cnn"
    input_shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)

    def __init__(
        self, widths: tuple[int, ...] = WIDTHS, classes: int = 10, zero_point: int = 128, float_twin: bool = False
    ) -> None:
        config = NetworkConfig(tuple(widths), classes, zero_point, float_twin)
        layers = convolution_stages(config, self.input_shape[0], pools=(True, False, False))
        layers.update(dense_output(config, 4 * 4 * config.widths[-1]))
        super().__init__(config, layers)
