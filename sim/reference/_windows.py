# SPDX-License-Identifier: Apache-2.0
"""Sliding windows shared by the convolutions: padding, unfolding, and exact integer sums.

Invariant: values (at most 8 bits and a sign, or -1 and +1) and weights (-1 and +1, or at most 16 bits and a sign) are
integers held in float64, so that BLAS can do the work. Every product and every partial sum is an integer. A map has at
most 2**28 elements, so that no sum exceeds 2**44; up to 2**53 float64 is exact in any order of addition.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from picobnn.codegen.vocabulary import BitArray, WeightDomain, Window

Integers = npt.NDArray[np.int64]
Exact = npt.NDArray[np.float64]  # integers below 2**53


def signs(bits: npt.NDArray[np.uint8]) -> Exact:
    """0/1 -> -1/+1."""
    return bits.astype(np.float64) * 2.0 - 1.0


def weight_values(bits: BitArray, kept: BitArray | None, domain: WeightDomain) -> Exact:
    """Weight bits -> the values they stand for, 0 where a tap is removed."""
    values = np.asarray(bits * 2.0**domain.shift + domain.ratio, np.float64)
    return values if kept is None else values * kept


def pad_map(values: Exact, window: Window, fill: float) -> Exact:
    """(N, H, W, C) with ``fill`` around it, per side."""
    sides = ((0, 0), (window.pad_top, window.pad_bottom), (window.pad_left, window.pad_right), (0, 0))
    return np.pad(values, sides, constant_values=fill)


def window_views(values: npt.NDArray[np.generic], window: Window) -> npt.NDArray[np.generic]:
    """Padded (N, H, W, C) -> every window, (N, rows, columns, C, ky, kx), as a view."""
    views = np.lib.stride_tricks.sliding_window_view(values, (window.height, window.width), axis=(1, 2))
    return views[:, :: window.stride_y, :: window.stride_x]


def convolve(padded: Exact, weights: Exact, window: Window) -> Integers:
    """Accumulators (N, rows, columns, O) of padded maps (N, H, W, C) and weights (O, ky, kx, C)."""
    views = window_views(padded, window).transpose(0, 1, 2, 4, 5, 3)
    return multiply_exactly(views.reshape(*views.shape[:3], window.height * window.width * padded.shape[3]), weights)


def multiply_exactly(rows: npt.NDArray[np.generic], weights: Exact) -> Integers:
    """int64 (..., O) = rows (..., K) times weights (O, ...) flattened to (O, K)."""
    matrix = weights.reshape(len(weights), -1)
    # Exact: see the module's invariant. BLAS is far faster than numpy's own integer product.
    product: Exact = np.asarray(rows, np.float64).reshape(-1, matrix.shape[1]) @ matrix.T
    return product.astype(np.int64).reshape(*rows.shape[:-1], len(weights))
