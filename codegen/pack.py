# SPDX-License-Identifier: Apache-2.0
"""Bits, bytes and words: the only place that knows bit order.

A set bit is +1. LSB first: element i of a run is bit i % 8 of byte i // 8, and bit i % 32 of word i // 32. Words are
32 bit, little endian. Padding bits are 0. (Codes of variable length: :func:`pack_codes`.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from picobnn.codegen.plan import Layout
from picobnn.codegen.vocabulary import BitArray, Shape

WordArray = npt.NDArray[np.uint32]


def pack_bits(bits: BitArray) -> bytes:
    """All elements (0/1, any shape, C order) as one run of bytes, the last one padded with 0."""
    return np.packbits(bits.reshape(-1), bitorder="little").tobytes()


def unpack_bits(data: bytes, shape: tuple[int, ...]) -> BitArray:
    """Inverse of :func:`pack_bits`; ``data`` must hold exactly ceil(elements / 8) bytes."""
    count = int(np.prod(shape))
    flat = np.unpackbits(np.frombuffer(data, np.uint8), count=count, bitorder="little")
    return flat.reshape(shape)


def pack_words(bits: BitArray) -> WordArray:
    """Pack the last axis: (..., n) of 0/1 -> uint32 (..., ceil(n / 32))."""
    length = bits.shape[-1]
    words = (length + 31) // 32
    padded = np.zeros((*bits.shape[:-1], words * 32), np.uint8)
    padded[..., :length] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view("<u4").astype(np.uint32)


def unpack_words(words: WordArray, length: int) -> BitArray:
    """Inverse of :func:`pack_words`: uint32 (..., w) -> 0/1 (..., length)."""
    data = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    return np.unpackbits(data, axis=-1, count=length, bitorder="little")


def pack_codes(bits: BitArray) -> npt.NDArray[np.uint16]:
    """A run of codes (n,) of 0/1 -> uint16 (ceil(n / 16),). Here alone the first bit is the highest: codes are read by
    counting leading zeros."""
    padded = np.zeros(-(-len(bits) // 16) * 16, np.uint8)
    padded[: len(bits)] = bits
    return np.packbits(padded).view(">u2").astype(np.uint16)


def store_tensor(values: npt.NDArray[np.generic], layout: Layout) -> bytes:
    """One tensor (H, W, C) exactly as the firmware stores it: uint8 image, 0/1 bits or int32 logits."""
    if layout is Layout.HWC_BYTES:
        return np.ascontiguousarray(values, np.uint8).tobytes()
    if layout is Layout.HWC_INT32:
        return np.ascontiguousarray(values, "<i4").tobytes()
    bits = np.ascontiguousarray(values, np.uint8)
    if layout is Layout.PIXEL_PLANES:
        bits = np.ascontiguousarray(bits.reshape(-1, bits.shape[-1]).T)
    return pack_words(bits).astype("<u4").tobytes()


def load_tensor(data: bytes, shape: Shape, layout: Layout) -> npt.NDArray[np.generic]:
    """Inverse of :func:`store_tensor`: (H, W, C) as uint8 values, 0/1 bits or int32."""
    extent = (shape.height, shape.width, shape.channels)
    if layout is Layout.HWC_BYTES:
        return np.frombuffer(data, np.uint8).reshape(extent)
    if layout is Layout.HWC_INT32:
        return np.frombuffer(data, "<i4").astype(np.int32).reshape(extent)
    if layout is Layout.PIXEL_PLANES:
        planes = np.frombuffer(data, "<u4").reshape(shape.channels, -1).astype(np.uint32)
        return np.ascontiguousarray(unpack_words(planes, shape.height * shape.width).T).reshape(extent)
    words = np.frombuffer(data, "<u4").reshape(shape.height, shape.width, -1)
    return unpack_words(words.astype(np.uint32), shape.channels)
