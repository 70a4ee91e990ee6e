# SPDX-License-Identifier: Apache-2.0
"""The `.bnn` file: same program, same bytes; a damaged file is refused and never partly loaded."""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen import bnn_file
from picobnn.codegen.bnn_file import model_hash, program_from_bytes, program_to_bytes, read_bnn, write_bnn
from picobnn.codegen.program import BinaryConv2dStep, Density, InputConv2dStep, Program
from picobnn.codegen.vocabulary import ElementKind
from picobnn.errors import ErrorId, PicobnnError
from tests.support.random_programs import GENERAL, TINY_GENERAL, programs, random_program
from tests.support.small_programs import two_layers

FILE_ERRORS = {ErrorId.BNN_FORMAT, ErrorId.BNN_VERSION, ErrorId.BNN_CHECKSUM}
HEADER_ERRORS = {ErrorId.BNN_FORMAT, ErrorId.PROGRAM_INVALID}


def example() -> Program:
    """A small program that has every kind of step, pool and epilogue, groups and removed taps, with statistics."""
    for seed in range(10_000):
        program = random_program(np.random.default_rng(seed), TINY_GENERAL)
        convs = [step for step in program.steps if isinstance(step, BinaryConv2dStep)]
        if len({type(step) for step in program.steps}) == 3 and any(
            step.pool and step.groups > 1 and step.kept is not None for step in convs
        ):
            return replace(program, statistics=(Density(1, 3, 10), Density(2, 0, 4)))
    raise AssertionError("no example")


EXAMPLE = example()
DATA = program_to_bytes(EXAMPLE)


def rebuilt(header: bytes, data: bytes = DATA) -> bytes:
    """``data`` with another header and a right checksum."""
    _, version, size = struct.unpack_from("<4sHI", data)
    old = data[10 + size : -32]
    tensors = old[-(10 + size) % 8 :]
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


def test_header_rebuilder_is_faithful() -> None:
    assert rebuilt(canonical(header_of(DATA))) == DATA


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


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["bit", "u8", "scale", "threshold", "acc", "zero", "\ud800", "\n"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths to everything inside a JSON value, itself included."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


PLACES = places(header_of(DATA))


@settings(deadline=None, max_examples=600)
@given(st.lists(st.tuples(st.sampled_from(PLACES[1:]), json_values, st.integers(0, 3)), min_size=1, max_size=3))
def test_mutated_headers_never_escape(changes: list[tuple[tuple[str | int, ...], Any, int]]) -> None:
    """Replace, delete, add next to or nudge anything in the header, under a right checksum."""
    header = copy.deepcopy(header_of(DATA))
    for path, value, action in changes:
        parent: Any = header
        try:
            for key in path[:-1]:
                parent = parent[key]
            old = parent[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
        if isinstance(parent, str):  # an earlier change put it there
            continue
        if action == 0:
            parent[path[-1]] = value
        elif action == 1:
            del parent[path[-1]]
        elif action == 2 and isinstance(parent, dict):
            parent[str(value)[:6]] = value
        elif type(old) is int:
            parent[path[-1]] = old + (1 if isinstance(value, bool) else -1)
    data = rebuilt(canonical(header))
    outcome = load(data)
    if isinstance(outcome, PicobnnError):
        assert outcome.error_id in HEADER_ERRORS
    else:
        assert program_to_bytes(outcome) == data


def change(path: tuple[str | int, ...], value: object) -> bytes:
    header = header_of(DATA)
    parent: Any = header
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return rebuilt(canonical(header))


@pytest.mark.parametrize(
    ("path", "value", "error_id", "said"),
    [
        (("unknown",), 1, ErrorId.BNN_FORMAT, "unknown key 'unknown'"),
        (("name",), 3, ErrorId.BNN_FORMAT, "name is not a string"),
        (("name",), "a\nb", ErrorId.PROGRAM_INVALID, "printable"),
        (("input_zero_point",), 256, ErrorId.PROGRAM_INVALID, "zero point"),
        (("input_zero_point",), 1.0, ErrorId.BNN_FORMAT, "not an integer"),
        (("steps", 0, "op"), "matmul", ErrorId.BNN_FORMAT, "op is none of"),
        (("steps", 0, "op"), ["matmul"], ErrorId.BNN_FORMAT, "op is none of"),
        (("steps", 0, "weights"), [2**40, 2**40, 2**40, 2**40], ErrorId.BNN_FORMAT, "are left"),
        (("steps", 0, "weights"), [1, 1, 1], ErrorId.BNN_FORMAT, "does not hold 4 integers"),
        (("steps", 0, "window", "pad_top"), 2**62, ErrorId.PROGRAM_INVALID, "window pad_top"),
        (("steps", 1, "groups"), 11, ErrorId.PROGRAM_INVALID, "11 groups"),
        (("steps", 1, "groups"), 0, ErrorId.PROGRAM_INVALID, "group count"),
        (("steps", 1, "domain", "shift"), 16, ErrorId.PROGRAM_INVALID, "weight shift"),
        (("steps", 1, "domain", "ratio"), 2**40, ErrorId.PROGRAM_INVALID, "weight ratio"),
        (("steps", 1, "kept"), False, ErrorId.BNN_FORMAT, "kept is not true"),
        (("steps", 0, "kept"), True, ErrorId.BNN_FORMAT, "unknown key 'kept'"),
        (("tensors", 0, "shape"), [2**60, 1, 1], ErrorId.PROGRAM_INVALID, "height"),
        (("tensors", 1, "kind"), "f32", ErrorId.BNN_FORMAT, "kind is none of"),
        (("tensors",), {}, ErrorId.BNN_FORMAT, "not an array"),
        (("tensors", 0), 5, ErrorId.BNN_FORMAT, "not an object"),
        (("statistics", 0, "ones"), 11, ErrorId.PROGRAM_INVALID, "ones of a density"),
        (("steps",), [], ErrorId.BNN_FORMAT, "behind the last tensor"),
    ],
)
def test_header_errors_say_what_is_wrong(
    path: tuple[str | int, ...], value: object, error_id: ErrorId, said: str
) -> None:
    error = refusal(change(path, value))
    assert error.error_id is error_id
    assert said in error.what


def test_missing_key_is_named() -> None:
    header = header_of(DATA)
    del header["steps"][0]["window"]
    assert "lacks 'window'" in refusal(rebuilt(canonical(header))).what


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 600 + b"1" + b"}" * 600,
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":NaN}',
        b'{"a":-0}',
        json.dumps(header_of(DATA), sort_keys=True).encode(),
        canonical(header_of(DATA)).replace(b'"input":0', b'"input":0,"input":0', 1),
    ],
)
def test_uncanonical_headers_are_refused(header: bytes) -> None:
    assert refusal(rebuilt(header)).error_id is ErrorId.BNN_FORMAT


def test_header_length_beyond_the_file_is_refused() -> None:
    body = struct.pack("<4sHI", b"PBNN", 1, 2**32 - 1) + DATA[10:-32]
    assert "claims" in refusal(body + hashlib.sha256(body).digest()).what


def test_padding_must_be_zero() -> None:
    """Neither padding bytes nor the unused bits of a packed tensor may carry anything."""
    size = struct.unpack_from("<4sHI", DATA)[2]
    step = EXAMPLE.steps[0]
    begin = (10 + size + 7) // 8 * 8
    places_ = [begin + (step.weights.size + 7) // 8]
    assert -places_[0] % 8, "the example's first tensor ends with padding"
    if -(10 + size) % 8:
        places_.append(10 + size)
    for place in places_:
        body = bytearray(DATA[:-32])
        body[place] ^= 1
        assert "padding" in refusal(bytes(body) + hashlib.sha256(body).digest()).what
    if step.weights.size % 8:
        body = bytearray(DATA[:-32])
        body[places_[0] - 1] ^= 0x80
        assert "padding bits" in refusal(bytes(body) + hashlib.sha256(body).digest()).what


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


def test_a_mask_needs_its_bytes() -> None:
    """A header that claims a mask the file does not hold, and one that hides a mask."""
    header = header_of(DATA)
    masked = [step for step in header["steps"] if "kept" in step]
    assert masked
    del masked[0]["kept"]
    assert refusal(rebuilt(canonical(header))).error_id in HEADER_ERRORS
    header = header_of(DATA)
    for step in header["steps"][1:]:
        step["kept"] = True
    if header != header_of(DATA):
        assert refusal(rebuilt(canonical(header))).error_id in HEADER_ERRORS


def test_files_without_masks_have_the_bytes_of_earlier_versions() -> None:
    """The hash of a plain program, as the version before groups, values and masks gave it."""
    assert model_hash(two_layers()).hex() == "00413edf2da14deda751a51263a08789d7038554b9a0cf27ba0d63f0ed8b4d3a"
