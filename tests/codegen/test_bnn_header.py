# SPDX-License-Identifier: Apache-2.0
"""The header of a `.bnn` file: whatever stands there under a right checksum is refused or is a program."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picobnn.codegen.bnn_file import program_to_bytes
from picobnn.errors import ErrorId, PicobnnError
from tests.support.bnn_example import DATA, canonical, header_of, load, rebuilt, refusal

HEADER_ERRORS = {ErrorId.BNN_FORMAT, ErrorId.PROGRAM_INVALID}


def test_header_rebuilder_is_faithful() -> None:
    assert rebuilt(canonical(header_of(DATA))) == DATA


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
    assert header != header_of(DATA)
    assert refusal(rebuilt(canonical(header))).error_id in HEADER_ERRORS
