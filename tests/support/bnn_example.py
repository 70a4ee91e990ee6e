# SPDX-License-Identifier: Apache-2.0
"""A `.bnn` file to damage, and what puts it together again."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from picobnn.codegen.bnn_file import program_from_bytes, program_to_bytes
from picobnn.codegen.program import BinaryConv2dStep, Density, InputConv2dStep, Program
from picobnn.errors import PicobnnError
from tests.support.random_programs import TINY_GENERAL, random_program


def example() -> Program:
    """A small program that has every kind of step, pool and epilogue, groups, steps with and without removed taps, and
    statistics. Its first tensor has unused bits and padding behind it, its header has padding."""
    for seed in range(10_000):
        program = random_program(np.random.default_rng(seed), TINY_GENERAL)
        convs = [step for step in program.steps if isinstance(step, BinaryConv2dStep)]
        masks = {step.kept is None for step in program.steps if not isinstance(step, InputConv2dStep)}
        bits = program.steps[0].weights.size
        if (
            len({type(step) for step in program.steps}) == 3
            and any(step.pool and step.groups > 1 and step.kept is not None for step in convs)
            and masks == {False, True}
            and bits % 8
            and -(-bits // 8) % 8
        ):
            program = replace(program, statistics=(Density(1, 3, 10), Density(2, 0, 4)))
            named = [replace(program, name=name) for name in ("example", "an example")]
            return next(each for each in named if header_padding(program_to_bytes(each)))
    raise AssertionError("no example")


def header_padding(data: bytes) -> int:
    """Bytes between the header and the first tensor."""
    return -(10 + struct.unpack_from("<4sHI", data)[2]) % 8


EXAMPLE = example()
DATA = program_to_bytes(EXAMPLE)


def rebuilt(header: bytes, data: bytes = DATA) -> bytes:
    """``data`` with another header and a right checksum."""
    _, version, size = struct.unpack_from("<4sHI", data)
    tensors = data[10 + size + header_padding(data) : -32]
    body = struct.pack("<4sHI", b"PBNN", version, len(header)) + header
    body += bytes(-len(body) % 8) + tensors
    return body + hashlib.sha256(body).digest()


def header_of(data: bytes) -> dict[str, Any]:
    size = struct.unpack_from("<4sHI", data)[2]
    return json.loads(data[10 : 10 + size])


def canonical(header: object) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def refusal(data: bytes) -> PicobnnError:
    with pytest.raises(PicobnnError) as caught:
        program_from_bytes(data, "model.bnn")
    assert caught.value.where.startswith("model.bnn")
    assert caught.value.exit_code == 2
    return caught.value


def load(data: bytes) -> Program | PicobnnError:
    try:
        return program_from_bytes(data, "model.bnn")
    except PicobnnError as error:
        return error
