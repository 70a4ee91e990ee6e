# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST network: three convolutions, 28x28 -> 14x14 -> 7x7 -> 7x7, and a dense output over 7x7."""

from __future__ import annotations

from typing import ClassVar

from picobnn.trainer.models.network import Network, NetworkConfig, convolution_stages, dense_output

WIDTHS = (32, 64, 128)


class FmnistCnn(Network):
    """conv 32 - pool - conv 64 - pool - conv 128 - dense 10, all weights binary: 155,168 weight bits = 18.9 KiB dense.

    Shape: (N, 1, 28, 28) uint8 -> (N, 10).
    """

    model_name: ClassVar[str] = "fmnist_cnn"
    input_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)

    def __init__(
        self, widths: tuple[int, ...] = WIDTHS, classes: int = 10, zero_point: int = 128, float_twin: bool = False
    ) -> None:
        config = NetworkConfig(tuple(widths), classes, zero_point, float_twin)
        layers = convolution_stages(config, self.input_shape[0], pools=(True, True, False))
        layers.update(dense_output(config, 7 * 7 * config.widths[-1]))
        super().__init__(config, layers)
