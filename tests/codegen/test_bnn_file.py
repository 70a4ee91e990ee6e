# SPDX-License-Identifier: Apache-2.0
"""The `.bnn` file: same program, same bytes; a damaged file is refused and never partly loaded."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen import bnn_file
from picobnn.codegen.bnn_file import model_hash, program_from_bytes, program_to_bytes, read_bnn, write_bnn
from picobnn.codegen.program import InputConv2dStep, Program
from picobnn.codegen.vocabulary import ElementKind
from picobnn.errors import ErrorId, PicobnnError
from tests.support.bnn_example import DATA, EXAMPLE, canonical, header_of, load, refusal
from tests.support.random_programs import GENERAL, programs
from tests.support.small_programs import two_layers

FILE_ERRORS = {ErrorId.BNN_FORMAT, ErrorId.BNN_VERSION, ErrorId.BNN_CHECKSUM}


@settings(deadline=None, max_examples=60)
@given(programs(GENERAL))
def test_round_trip_gives_the_same_bytes_and_hash(program: Program) -> None:
    data = program_to_bytes(program)
    loaded = program_from_bytes(data, "x")
    assert program_to_bytes(loaded) == data
    assert model_hash(loaded) == model_hash(program)
    assert loaded.tensors == program.tensors
    for one, two in zip(loaded.steps, program.steps, strict=True):
        assert type(one) is type(two)
        np.testing.assert_array_equal(one.weights, two.weights)
        if not isinstance(one, InputConv2dStep) and not isinstance(two, InputConv2dStep):
            assert (one.domain, one.kept is None) == (two.domain, two.kept is None)
            np.testing.assert_array_equal(one.kept, two.kept)


def test_layout_is_as_documented() -> None:
    magic, version, size = struct.unpack_from("<4sHI", DATA)
    assert (magic, version) == (b"PBNN", 1)
    assert DATA[10 : 10 + size] == canonical(header_of(DATA))
    assert len(DATA) % 8 == 0
    assert hashlib.sha256(DATA[:-32]).digest() == DATA[-32:]
    step = EXAMPLE.steps[0]
    begin = (10 + size + 7) // 8 * 8
    packed = DATA[begin : begin + (step.weights.size + 7) // 8]
    assert packed == np.packbits(step.weights, bitorder="little").tobytes()


def test_every_truncation_is_refused() -> None:
    for length in range(len(DATA)):
        assert refusal(DATA[:length]).error_id in FILE_ERRORS


def test_every_single_bit_flip_is_refused() -> None:
    for index in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[index] ^= 1 << index % 8
        assert refusal(bytes(damaged)).error_id in FILE_ERRORS


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(1, 255)), min_size=1, max_size=8, unique=True))
def test_damage_with_a_right_checksum_never_escapes(changes: list[tuple[int, int]]) -> None:
    body = bytearray(DATA[:-32])
    for index, mask in changes:
        body[index % len(body)] ^= mask
    data = bytes(body) + hashlib.sha256(body).digest()
    outcome = load(data)
    assert isinstance(outcome, PicobnnError) or program_to_bytes(outcome) == data


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_refused(data: bytes, prefixed: bool) -> None:
    if prefixed:
        data = b"PBNN\x01\x00" + data
        data += hashlib.sha256(data).digest()
    assert refusal(data).error_id in FILE_ERRORS


def test_header_length_beyond_the_file_is_refused() -> None:
    body = struct.pack("<4sHI", b"PBNN", 1, 2**32 - 1) + DATA[10:-32]
    assert "claims" in refusal(body + hashlib.sha256(body).digest()).what


def test_padding_must_be_zero() -> None:
    """Neither padding bytes nor the unused bits of a packed tensor may carry anything."""
    size = struct.unpack_from("<4sHI", DATA)[2]
    begin = (10 + size + 7) // 8 * 8
    end = begin + -(-EXAMPLE.steps[0].weights.size // 8)
    assert begin > 10 + size
    assert end % 8
    for place, mask, said in (
        (10 + size, 1, "padding in front"),
        (end, 1, "padding in front"),
        (end - 1, 0x80, "padding bits"),
    ):
        body = bytearray(DATA[:-32])
        body[place] ^= mask
        assert said in refusal(bytes(body) + hashlib.sha256(body).digest()).what


def test_other_version_is_named() -> None:
    data = DATA[:4] + struct.pack("<H", 2) + DATA[6:]
    error = refusal(data)
    assert error.error_id is ErrorId.BNN_VERSION
    assert "version 2" in error.what


def test_hash_ignores_names_and_statistics_only() -> None:
    first = EXAMPLE.steps[0]
    tensors = tuple(replace(tensor, name=f"t{index}") for index, tensor in enumerate(EXAMPLE.tensors))
    steps = tuple(replace(step, name=f"s{index}", source="x.y") for index, step in enumerate(EXAMPLE.steps))
    renamed = replace(EXAMPLE, name="other", tensors=tensors, steps=steps, statistics=())
    assert model_hash(renamed) == model_hash(EXAMPLE)
    assert program_to_bytes(renamed) != DATA
    weights = first.weights.copy()
    weights.flat[0] ^= 1
    others = [
        replace(EXAMPLE, steps=(replace(first, weights=weights), *EXAMPLE.steps[1:])),
        replace(EXAMPLE, input_zero_point=EXAMPLE.input_zero_point ^ 1),
    ]
    assert len({model_hash(program) for program in (EXAMPLE, *others)}) == 3
    assert len(model_hash(EXAMPLE)) == 32


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.bnn"
    write_bnn(EXAMPLE, path)
    assert path.read_bytes() == DATA
    assert program_to_bytes(read_bnn(path)) == DATA
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(PicobnnError) as caught:
        read_bnn(tmp_path / "absent.bnn")
    assert caught.value.error_id is ErrorId.FILE_MISSING


def test_invalid_program_leaves_no_file(tmp_path: Path) -> None:
    tensors = (replace(EXAMPLE.tensors[0], kind=ElementKind.BIT), *EXAMPLE.tensors[1:])
    with pytest.raises(PicobnnError):
        write_bnn(replace(EXAMPLE, tensors=tensors), tmp_path / "model.bnn")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["sparse file", "endless device"])
def test_a_huge_file_is_refused_before_it_is_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("/dev/zero")
    if kind == "sparse file":
        path = tmp_path / "huge.bnn"
        with path.open("wb") as stream:
            stream.truncate(2**40)
        monkeypatch.setattr(bnn_file, "read_bytes", None)
    with pytest.raises(PicobnnError, match="at most 67,108,864 bytes") as caught:
        read_bnn(path)
    assert caught.value.error_id is ErrorId.BNN_FORMAT


def test_a_file_that_nobody_would_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bnn_file, "MAX_FILE_BYTES", len(DATA) - 1)
    with pytest.raises(PicobnnError) as caught:
        write_bnn(program_from_bytes(DATA, "data"), tmp_path / "model.bnn")
    assert caught.value.error_id is ErrorId.BNN_FORMAT
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(bnn_file, "MAX_FILE_BYTES", len(DATA))
    write_bnn(program_from_bytes(DATA, "data"), tmp_path / "model.bnn")
    assert read_bnn(tmp_path / "model.bnn").name


def test_files_without_masks_have_the_bytes_of_earlier_versions() -> None:
    """The hash of a plain program, as the version before groups, values and masks gave it."""
    assert model_hash(two_layers()).hex() == "00413edf2da14deda751a51263a08789d7038554b9a0cf27ba0d63f0ed8b4d3a"
